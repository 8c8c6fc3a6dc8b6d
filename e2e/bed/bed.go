// Package bed is a cluster with Gatehouse on it, installed as users do: the packaged chart, by Helm.
//
//	Main      starts the cluster and loads the images of what was built
//	New       Gateway API's definitions, helm upgrade --install
//	Kubectl, Put, Await...   what users then do
package bed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/cluster"
)

const (
	// Namespace and Release are where and as what Gatehouse is installed.
	Namespace = "gatehouse-system"
	Release   = "gatehouse"
	// image is made of the binary that GATEHOUSE_BIN names; NextTag is another tag of the same, to upgrade to.
	image   = "localhost/gatehouse"
	tag     = "dev"
	NextTag = "next"
	// Patience is for what takes seconds on an idle machine.
	Patience = 3 * time.Minute
)

// Values make the chart use the image that was loaded.
var Values = []string{"--set=image.registry=localhost", "--set=image.tag=" + tag}

// Bed is the cluster as one test uses it, with a client for the built-in kinds.
type Bed struct {
	*cluster.Cluster
	Client *kubernetes.Clientset

	kept sync.Once // what explains a failure
}

// Main is the TestMain of packages that test an installation.
func Main(m *testing.M) { cluster.Main(m, prepare) }

// prepare loads the images of the controller, the proxy and the quickstart's backend.
func prepare(ctx context.Context, c *cluster.Cluster) error {
	proxy, err := proxyImage()
	if err != nil {
		return err
	}
	for _, made := range []struct {
		variable, target string
		references       []string
	}{
		{"GATEHOUSE_BIN", "/usr/local/bin/gatehouse", []string{image + ":" + tag, image + ":" + NextTag}},
		{"GATEHOUSE_ENVOY", "/usr/local/bin/envoy", []string{proxy}},
	} {
		binary := os.Getenv(made.variable)
		if binary == "" {
			return fmt.Errorf("%s must name a program to make the image %s of", made.variable, made.references[0])
		}
		if err := c.LoadBinary(ctx, binary, made.target, made.references...); err != nil {
			return err
		}
	}
	return c.LoadConformanceBackend(ctx)
}

// Attach is the cluster as it is.
func Attach(t testing.TB) *Bed {
	t.Helper()
	c, err := cluster.Attach(cluster.NameFromEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bed{Cluster: c, Client: client}
	b.Cleanup(t, func(context.Context) {})
	return b
}

// Cleanup removes something when the test has ended, and what explains a failure has been kept.
func (b *Bed) Cleanup(t testing.TB, remove func(ctx context.Context)) {
	t.Cleanup(func() {
		b.kept.Do(func() { b.CollectIfFailed(t) })
		remove(context.Background())
	})
}

// Scratch makes a namespace that ends with the test. Nobody waits for its end but who wants one of the same name: proxies
// take their time to drain.
func (b *Bed) Scratch(t testing.TB, name string) {
	t.Helper()
	b.Await(t, "a new namespace "+name, func(ctx context.Context) error {
		phase, err := b.Cluster.Kubectl(ctx, "get", "namespace", name, "--ignore-not-found", "--output=jsonpath={.status.phase}")
		if err == nil && phase == "Terminating" {
			err = errors.New("the one of an earlier test has not ended")
		}
		return err
	})
	b.Put(t, "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
	b.Cleanup(t, func(ctx context.Context) {
		_, _ = b.Cluster.Kubectl(ctx, "delete", "namespace", name, "--ignore-not-found", "--wait=false")
	})
}

// New is the cluster with Gateway API and Gatehouse installed and ready; arguments are further ones for Helm. What an
// earlier test installed is used again, and becomes what is asked for.
func New(t testing.TB, arguments ...string) *Bed {
	t.Helper()
	b := Attach(t)
	b.InstallDefinitions(t)
	b.Install(t, append([]string{"--wait", "--timeout=5m"}, arguments...)...)
	return b
}

// InstallDefinitions installs Gateway API's standard channel, unless there is one already: one channel must not
// replace the other.
func (b *Bed) InstallDefinitions(t testing.TB) {
	t.Helper()
	if _, err := b.Cluster.Kubectl(t.Context(), "get", "crd", "gateways.gateway.networking.k8s.io"); err == nil {
		return
	}
	if err := b.InstallGatewayAPI(t.Context(), "standard"); err != nil {
		t.Fatal(err)
	}
}

// InstallExperimental installs Gateway API's experimental channel, over the standard one if that is there: the policy that
// comes with it and prevents that is removed, as its own words tell users to do.
func (b *Bed) InstallExperimental(t testing.TB) {
	t.Helper()
	b.RemoveSafeguard(t)
	if err := b.InstallGatewayAPI(t.Context(), "experimental"); err != nil {
		t.Fatal(err)
	}
}

// RemoveSafeguard removes the policy that lets nobody install experimental definitions over others, and waits until it has
// no effect any more.
func (b *Bed) RemoveSafeguard(t testing.TB) {
	t.Helper()
	const name = "safe-upgrades.gateway.networking.k8s.io"
	b.Kubectl(t, "delete", "--ignore-not-found", "validatingadmissionpolicybinding/"+name, "validatingadmissionpolicy/"+name)
	definitions := b.Definitions(t, "experimental")
	b.Await(t, "the end of "+name, func(ctx context.Context) error {
		return b.Apply(ctx, []byte(definitions), "--dry-run=server")
	})
}

// Definitions are those of a channel of Gateway API, as `kubectl kustomize` prints them.
func (b *Bed) Definitions(t testing.TB, channel string) string {
	t.Helper()
	dir, err := b.GatewayAPI(t.Context(), channel)
	if err != nil {
		t.Fatal(err)
	}
	return b.Kubectl(t, "kustomize", dir)
}

// RemoveDefinitions removes Gateway API's definitions, and with them every object of its kinds.
func (b *Bed) RemoveDefinitions(t testing.TB) {
	t.Helper()
	var found []string
	for name := range strings.FieldsSeq(b.Kubectl(t, "get", "crd", "--output=name")) {
		if strings.HasSuffix(name, ".gateway.networking.k8s.io") {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		b.Kubectl(t, append([]string{"delete", "--timeout=2m"}, found...)...)
	}
}

// Install installs or upgrades the chart; arguments are further ones for Helm.
func (b *Bed) Install(t testing.TB, arguments ...string) {
	t.Helper()
	b.InstallInto(t, Namespace, arguments...)
}

// Uninstall removes what Install installed, if anything.
func (b *Bed) Uninstall(t testing.TB) {
	t.Helper()
	if _, err := b.Helm(t.Context(), "uninstall", Release, "--namespace="+Namespace, "--ignore-not-found", "--wait"); err != nil {
		t.Fatal(err)
	}
}

// InstallInto is Install in any namespace.
func (b *Bed) InstallInto(t testing.TB, namespace string, arguments ...string) {
	t.Helper()
	chart, err := Chart()
	if err != nil {
		t.Fatal(err)
	}
	arguments = append(slices.Clone(Values), arguments...)
	// The tag does not tell a new binary from that of an earlier run on the same cluster.
	arguments = append(arguments, "--set-string=podAnnotations.binary="+digest(t))
	// The definitions of an earlier release stay when that goes.
	arguments = append([]string{"upgrade", Release, chart, "--install", "--take-ownership", "--create-namespace", "--namespace=" + namespace}, arguments...)
	if _, err := b.Helm(t.Context(), arguments...); err != nil {
		t.Fatal(err)
	}
}

// digest tells binaries apart.
func digest(t testing.TB) string {
	t.Helper()
	file, err := os.Open(os.Getenv("GATEHOUSE_BIN"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// Render is what Helm makes of the chart; arguments are further ones for Helm.
func (b *Bed) Render(t testing.TB, release, namespace string, arguments ...string) string {
	t.Helper()
	chart, err := Chart()
	if err != nil {
		t.Fatal(err)
	}
	arguments = slices.Concat([]string{"template", release, chart, "--namespace=" + namespace}, Values, arguments)
	rendered, err := b.Helm(t.Context(), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return rendered
}

// Chart is the folder of the packaged chart, which `make chart` makes.
func Chart() (string, error) {
	chart := os.Getenv("E2E_CHART")
	if chart == "" {
		built := os.Getenv("CARGO_TARGET_DIR")
		if built == "" {
			built = Root("target")
		}
		chart = filepath.Join(built, "chart", "gatehouse")
	}
	if _, err := os.Stat(filepath.Join(chart, "Chart.yaml")); err != nil {
		return "", fmt.Errorf("run `make chart`, or set E2E_CHART: %w", err)
	}
	return chart, nil
}

// Version is that of the chart.
func Version(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(Root("charts", "gatehouse", "Chart.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct{ AppVersion string }
	if err := yaml.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	return chart.AppVersion
}

// Root is a path in the checkout.
func Root(path ...string) string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(file), "..", ".."}, path...)...)
}

// ProxyImage is the image of the proxies.
func ProxyImage(t testing.TB) string {
	t.Helper()
	image, err := proxyImage()
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// proxyImage is what the chart names by default.
func proxyImage() (string, error) {
	text, err := os.ReadFile(Root("charts", "gatehouse", "values.yaml"))
	if err != nil {
		return "", err
	}
	var values struct {
		Proxy struct {
			Image struct{ Registry, Repository, Tag string }
		}
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return "", err
	}
	image := values.Proxy.Image
	return fmt.Sprintf("%s/%s:%s", image.Registry, image.Repository, image.Tag), nil
}
