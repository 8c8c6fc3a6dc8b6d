//go:build cluster

package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"gatehouse.dev/e2e/cluster"
)

const (
	gatehouseImage = "localhost/gatehouse:dev"
	proxyImage     = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
)

// install loads the images and installs the chart, or upgrades what an earlier run left.
func install(ctx context.Context, c *cluster.Cluster, placement string) error {
	programs := map[string]string{}
	for _, variable := range []string{"GATEHOUSE_BIN", "GATEHOUSE_ENVOY", "E2E_CHART"} {
		if programs[variable] = os.Getenv(variable); programs[variable] == "" {
			return fmt.Errorf("%s is not set: use make conformance", variable)
		}
	}
	if err := c.InstallGatewayAPI(ctx, "experimental"); err != nil {
		return err
	}
	if err := c.LoadBinary(ctx, programs["GATEHOUSE_BIN"], "/usr/local/bin/gatehouse", gatehouseImage); err != nil {
		return err
	}
	if err := c.LoadBinary(ctx, programs["GATEHOUSE_ENVOY"], "/usr/local/bin/envoy", proxyImage); err != nil {
		return err
	}
	if err := c.LoadConformanceBackend(ctx); err != nil {
		return err
	}
	digest, err := digest(programs["GATEHOUSE_BIN"])
	if err != nil {
		return err
	}
	_, err = c.Helm(ctx, "upgrade", "--install", "gatehouse", programs["E2E_CHART"],
		"--namespace=gatehouse-system", "--create-namespace", "--wait", "--timeout=3m",
		"--set=image.registry=localhost,image.tag=dev,gatewayClass.create=true,gatewayClass.name="+gatewayClass,
		"--set=placement="+placement,
		// The tag does not tell a new binary from the old one.
		"--set-string=podAnnotations.binary="+digest)
	return err
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)[:8]), nil
}
