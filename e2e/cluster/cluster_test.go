//go:build cluster

// Proves that the cluster is real: these tests need root and start clusters.
package cluster_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"gatehouse.dev/e2e/cluster"
	"gatehouse.dev/e2e/echo"
)

//go:embed testdata/backend.yaml
var backend []byte

const patience = 2 * time.Minute

func TestMain(m *testing.M) { cluster.Main(m) }

// fixture is a namespace of its own with the backend in it.
type fixture struct {
	*cluster.Cluster
	client    *kubernetes.Clientset
	namespace string
}

func deploy(t *testing.T, c *cluster.Cluster) *fixture {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Cluster: c, client: client}
	if err := c.LoadProgram(t.Context(), "gatehouse.dev/e2e/cmd/testpod", "localhost/testpod:e2e"); err != nil {
		t.Fatal(err)
	}
	namespace, err := client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "proof-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.namespace = namespace.Name
	t.Cleanup(func() {
		_ = client.CoreV1().Namespaces().Delete(context.Background(), f.namespace, metav1.DeleteOptions{})
	})
	c.CollectOnFailure(t)
	if err := c.Apply(t.Context(), backend, "--namespace="+f.namespace); err != nil {
		t.Fatal(err)
	}
	f.kubectl(t, "rollout", "status", "deployment/backend", "--timeout=2m")
	return f
}

func shared(t *testing.T) *fixture {
	t.Helper()
	c, err := cluster.Attach(cluster.NameFromEnvironment())
	if err != nil {
		t.Fatal(err)
	}
	return deploy(t, c)
}

func (f *fixture) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	text, err := f.Kubectl(t.Context(), append([]string{"--namespace=" + f.namespace}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// address waits for the address of a Service of type LoadBalancer.
func (f *fixture) address(t *testing.T, service string) netip.Addr {
	t.Helper()
	var address netip.Addr
	err := cluster.Poll(t.Context(), patience, "the address of Service "+service, func(ctx context.Context) error {
		found, err := f.client.CoreV1().Services(f.namespace).Get(ctx, service, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(found.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("it has none yet")
		}
		address, err = netip.ParseAddr(found.Status.LoadBalancer.Ingress[0].IP)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// awaitAnswer asks until the backend of this namespace answers.
func (f *fixture) awaitAnswer(t *testing.T, client *http.Client, address netip.Addr) {
	t.Helper()
	err := cluster.Poll(t.Context(), patience, "an answer of "+address.String(), func(context.Context) error {
		return f.ask(client, address)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) ask(client *http.Client, address netip.Addr) error {
	response, err := client.Get("http://" + address.String() + "/proof")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return f.check(text)
}

func (f *fixture) check(text []byte) error {
	var answer echo.Answer
	if err := json.Unmarshal(text, &answer); err != nil {
		return fmt.Errorf("%w: %s", err, text)
	}
	if answer.Namespace != f.namespace || !strings.HasPrefix(answer.Pod, "backend-") {
		return fmt.Errorf("the answer came from %s/%s", answer.Namespace, answer.Pod)
	}
	return nil
}

func TestServicesGetAnAddressOfTheirPoolAndAnswer(t *testing.T) {
	f := shared(t)
	for service, pool := range map[string]string{"external": "172.30.20.0/24", "internal": "172.30.10.0/24"} {
		address := f.address(t, service)
		if !netip.MustParsePrefix(pool).Contains(address) {
			t.Errorf("Service %s got %v, which is not in %s", service, address, pool)
		}
		// The default client: this very process is in the cluster's network.
		f.awaitAnswer(t, http.DefaultClient, address)
	}
}

func TestPodsFindServicesByName(t *testing.T) {
	f := shared(t)
	url := fmt.Sprintf("http://backend.%s.svc.cluster.local:3000/", f.namespace)
	fetch := func(ctx context.Context) error {
		answer, err := f.Kubectl(ctx, "--namespace="+f.namespace, "exec", "deployment/backend", "--", "/testpod", "fetch", url)
		if err != nil {
			return err
		}
		return f.check([]byte(answer))
	}
	// A Service answers soon after its pods are ready, not at once.
	if err := cluster.Poll(t.Context(), patience, "an answer to a pod", fetch); err != nil {
		t.Fatal(err)
	}
	for range 10 { // one of both pods asks itself through the Service, and the other
		if err := fetch(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAPIServerStopsAndStarts(t *testing.T) {
	f := shared(t)
	address := f.address(t, "external")
	f.awaitAnswer(t, http.DefaultClient, address)
	if err := f.StopComponent(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Discovery().ServerVersion(); err == nil {
		t.Error("the API server answers, though it was stopped")
	}
	if err := f.ask(http.DefaultClient, address); err != nil {
		t.Errorf("without an API server: %v", err)
	}
	if err := f.StartComponent(t.Context(), cluster.APIServer); err != nil {
		t.Fatal(err)
	}
	if err := f.AwaitAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.kubectl(t, "scale", "deployment/backend", "--replicas=3")
	f.kubectl(t, "rollout", "status", "deployment/backend", "--timeout=2m")
}

func TestKubeletStopsAndStarts(t *testing.T) {
	f := shared(t)
	if err := f.StopComponent(t.Context(), cluster.Kubelet); err != nil {
		t.Fatal(err)
	}
	f.kubectl(t, "scale", "deployment/backend", "--replicas=3")
	if _, err := f.Kubectl(t.Context(), "--namespace="+f.namespace, "rollout", "status", "deployment/backend", "--timeout=3s"); err == nil {
		t.Error("a pod became ready without a kubelet")
	}
	if err := f.StartComponent(t.Context(), cluster.Kubelet); err != nil {
		t.Fatal(err)
	}
	f.kubectl(t, "rollout", "status", "deployment/backend", "--timeout=2m")
}

func TestHelmInstallsAChart(t *testing.T) {
	f := shared(t)
	chart := filepath.Join(t.TempDir(), "sample")
	if _, err := f.Helm(t.Context(), "create", chart); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Helm(t.Context(), "--namespace", f.namespace, "install", "sample", chart,
		"--set=replicaCount=0", "--set=autoscaling.enabled=false"); err != nil {
		t.Fatal(err)
	}
	if got := f.kubectl(t, "get", "deployment", "sample", "--output=name"); strings.TrimSpace(got) != "deployment.apps/sample" {
		t.Errorf("the chart made %q", got)
	}
}

func TestGatewayAPIOfTheExperimentalChannelIsServed(t *testing.T) {
	f := shared(t)
	if err := f.InstallGatewayAPI(t.Context(), "experimental"); err != nil {
		t.Fatal(err)
	}
	kinds := f.kubectl(t, "api-resources", "--api-group=gateway.networking.k8s.io", "--output=name")
	for _, kind := range []string{"gateways", "httproutes", "listenersets", "tcproutes"} {
		if !strings.Contains(kinds, kind+".gateway.networking.k8s.io") {
			t.Errorf("%s are not served, but %s", kind, kinds)
		}
	}
}

func TestWhatIsKeptOfAFailureExplainsIt(t *testing.T) {
	f := shared(t)
	dir := t.TempDir()
	if err := f.Collect(t.Context(), dir); err != nil {
		t.Error(err)
	}
	for pattern, expected := range map[string]string{
		"events.txt":                         "Started",
		"pods.txt":                           "localhost/testpod:e2e",
		"objects-services.yaml":              "metallb.io/address-pool",
		"log/kubelet.log":                    "kubelet",
		"log/kube-apiserver.log":             "apiserver",
		"log/pods/" + f.namespace + "_*/*/*": "listening on port 3000",
	} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(found) == 0 {
			t.Errorf("%s: nothing is kept (%v)", pattern, err)
			continue
		}
		text, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), expected) {
			t.Errorf("%s does not speak of %q", pattern, expected)
		}
	}
}
