package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/cluster/oci"
)

// addonPatience is long because the machine may be busy; it takes seconds.
const addonPatience = 3 * time.Minute

// metalLB is what is applied of MetalLB's manifest, and the image that it names.
type metalLB struct {
	manifest []byte
	image    string
}

// readMetalLB drops the speaker: kube-proxy answers on the addresses, and nobody is outside to be told of them.
func readMetalLB(p parts) (metalLB, error) {
	text, err := os.ReadFile(filepath.Join(p.metallb, "metallb-native.yaml"))
	if err != nil {
		return metalLB{}, err
	}
	var result metalLB
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return metalLB{}, err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(document, &kind); err != nil {
			return metalLB{}, err
		}
		switch kind.Kind {
		case "DaemonSet":
			continue
		case "Deployment":
			var controller appsv1.Deployment
			if err := yaml.Unmarshal(document, &controller); err != nil {
				return metalLB{}, err
			}
			result.image = controller.Spec.Template.Spec.Containers[0].Image
		}
		result.manifest = append(append(result.manifest, "---\n"...), document...)
	}
	if result.image == "" {
		return metalLB{}, errors.New("MetalLB's manifest has no Deployment")
	}
	return result, nil
}

func (c *Cluster) loadOwnImages(ctx context.Context, p parts, metallb metalLB) error {
	for _, image := range []struct{ reference, binary, target string }{
		{"localhost/pause:cluster", p.pause, "/pause"},
		{"localhost/coredns:cluster", filepath.Join(p.coredns, "coredns"), "/coredns"},
		{metallb.image, filepath.Join(p.metallb, "controller"), "/controller"},
	} {
		made, err := oci.ForBinary(image.binary, image.target, image.reference)
		if err != nil {
			return err
		}
		if err := c.LoadImage(ctx, made); err != nil {
			return err
		}
	}
	return nil
}

// applyAddons gives the cluster names (CoreDNS) and addresses (MetalLB).
func (c *Cluster) applyAddons(ctx context.Context, metallb metalLB) error {
	coredns, err := embedded.ReadFile("manifests/coredns.yaml")
	if err != nil {
		return err
	}
	addresses, err := embedded.ReadFile("manifests/addresses.yaml")
	if err != nil {
		return err
	}
	for _, manifest := range [][]byte{coredns, metallb.manifest} {
		if err := c.Apply(ctx, manifest); err != nil {
			return err
		}
	}
	for namespace, deployment := range map[string]string{"kube-system": "coredns", "metallb-system": "controller"} {
		_, err := c.Kubectl(ctx, "--namespace="+namespace, "rollout", "status", "deployment/"+deployment,
			fmt.Sprintf("--timeout=%v", addonPatience))
		if err != nil {
			return err
		}
	}
	// The webhook that checks the pools answers a little later than its pod is ready.
	return Poll(ctx, addonPatience, "MetalLB's address pools", func(ctx context.Context) error { return c.Apply(ctx, addresses) })
}
