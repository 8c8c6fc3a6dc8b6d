//go:build cluster

package extended

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster/pki"
)

// A Gateway as full as it may be has a Service as full, and all of it serves.
func TestSixtyFourPorts(t *testing.T) {
	const count, first = 64, 8001
	w := begin(t, "extended-ports")
	var listeners strings.Builder
	for n := range count {
		fmt.Fprintf(&listeners, "\n    - {name: l%d, protocol: HTTP, port: %d}", n, first+n)
	}
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ports}
spec:
  parentRefs: [{name: ports}]
  rules: [{backendRefs: [{name: echo, port: 3000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ports}
spec:
  gatewayClassName: gatehouse
  listeners:`+listeners.String())
	address := w.Programmed(t, w.namespace, "ports")
	for n := range count {
		w.AwaitEcho(t, fmt.Sprintf("%s:%d", address, first+n), "any.example.com", "/")
	}
	w.mustList(t, "service/ports-"+class, "{.spec.ports[*].port}", count)
	w.mustList(t, "gateway/ports", `{.status.listeners[?(@.attachedRoutes==1)].name}`, count)
	w.mustList(t, "gateway/ports", `{.status.listeners[*].conditions[?(@.type=="Programmed")].status}`, count)
	if text := w.Kubectl(t, "--namespace="+w.namespace, "get", "gateway/ports", `--output=jsonpath={.status.listeners[*].conditions[?(@.type=="Programmed")].status}`); strings.Contains(text, "False") {
		t.Errorf("Programmed is %s", text)
	}
}

// mustList wants so many items of an object.
func (w *world) mustList(t *testing.T, object, path string, count int) {
	t.Helper()
	w.Await(t, fmt.Sprintf("%d items %s of %s", count, path, object), func(ctx context.Context) error {
		text, err := w.Cluster.Kubectl(ctx, "--namespace="+w.namespace, "get", object, "--output=jsonpath="+path)
		if err == nil && len(strings.Fields(text)) != count {
			err = fmt.Errorf("they are %s", text)
		}
		return err
	})
}

// Names as long as the API server takes them; Services and label values may have 63 characters only.
func TestNamesAsLongAsTheyMayBe(t *testing.T) {
	label := strings.Repeat("n", 63)
	long := strings.Join([]string{label, label, label, strings.Repeat("n", 61)}, ".")
	host := strings.ReplaceAll(long, "n", "h")
	w := begin(t, label)
	w.Cleanup(t, func(ctx context.Context) {
		_, _ = w.Cluster.Kubectl(ctx, "delete", "gatewayclass", long, "--ignore-not-found", "--wait=false")
	})
	authority, err := pki.NewAuthority("long")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("long.example.com", nil, "long.example.com")
	if err != nil {
		t.Fatal(err)
	}
	pod := w.Kubectl(t, "--namespace="+label, "get", "pods", "--selector=app=echo", "--output=jsonpath={.items[0].status.podIP}")
	// The same objects as without a cluster.
	text, err := os.ReadFile(bed.Root("e2e", "traffic", "testdata", "names.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const address = "172.30.20.99"
	replace := strings.NewReplacer("LONG", long, "LABEL", label, "HOST", host, "ADDRESS", address, "BACKEND", pod)
	w.put(t, replace.Replace(string(text))+documents(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": long}, "type": "kubernetes.io/tls",
		"data": map[string]any{"tls.crt": base64.StdEncoding.EncodeToString(pair.Public), "tls.key": base64.StdEncoding.EncodeToString(pair.Private)},
	}))
	if got := w.Programmed(t, label, long); got != address {
		t.Errorf("the Gateway has address %s", got)
	}
	w.AwaitEcho(t, address+":10080", host, "/")
	for _, object := range []string{"gateway/" + long, "listenerset/" + long} {
		w.Condition(t, label, object, ".status.conditions", "Programmed", "True", "Programmed")
		w.Condition(t, label, object, fmt.Sprintf(`.status.listeners[?(@.name=="%s")].conditions`, long), "Programmed", "True", "Programmed")
	}
	w.Condition(t, label, "httproute/"+long, `.status.parents[?(@.parentRef.kind=="ListenerSet")].conditions`, "Accepted", "True", "Accepted")
	w.Condition(t, label, "gatewayclass/"+long, ".status.conditions", "Accepted", "True", "Accepted")
	for _, kind := range []string{"deployment", "service", "serviceaccount", "configmap"} {
		name := w.Kubectl(t, "--namespace="+label, "get", kind, "--selector=app.kubernetes.io/managed-by=gatehouse", "--output=jsonpath={.items[*].metadata.name}")
		t.Logf("%s: %s", kind, name)
		if len(name) > 63 {
			t.Errorf("%s has %d characters", kind, len(name))
		}
	}
}
