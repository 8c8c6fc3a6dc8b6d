//go:build cluster

// What Gateway API's experimental channel has and the conformance suite has no test for, on a real cluster.
package extended

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"testing"

	"gatehouse.dev/e2e/bed"
)

const class = "gatehouse"

// backend is a Service echo of the suite's backend, port 3000.
//
//go:embed testdata/backend.yaml
var backend string

func TestMain(m *testing.M) { bed.Main(m) }

// world is one namespace, with a backend, on the shared installation.
type world struct {
	*bed.Bed
	namespace string
}

func begin(t *testing.T, namespace string) *world {
	t.Helper()
	w := &world{Bed: bed.Attach(t), namespace: namespace}
	w.InstallExperimental(t)
	w.Install(t, "--wait", "--timeout=5m", "--set=gatewayClass.create=true,gatewayClass.name="+class)
	w.Scratch(t, namespace)
	w.put(t, backend)
	w.Rolled(t, namespace, "echo")
	return w
}

func (w *world) put(t *testing.T, manifests string) {
	t.Helper()
	w.Put(t, manifests, "--namespace="+w.namespace)
}

// get reads an object.
func (w *world) get(t *testing.T, object string, into any) {
	t.Helper()
	text := w.Kubectl(t, "--namespace="+w.namespace, "get", object, "--output=json")
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

type gatewayStatus struct {
	Status struct {
		Addresses []struct{ Type, Value, Routability string }
	}
}

type service struct {
	Spec struct{ Type, ClusterIP string }
}

// An address of the cluster is that of the Service, which nothing outside reaches unless the Gateway asks for that, too.
func TestAddressesOfTheCluster(t *testing.T) {
	w := begin(t, "extended-addresses")
	const chosen = "10.96.0.77"
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: inside}
spec:
  gatewayClassName: gatehouse
  addresses: [{routability: Cluster}]
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: both}
spec:
  gatewayClassName: gatehouse
  addresses: [{type: IPAddress}, {type: IPAddress, routability: Cluster, value: `+chosen+`}]
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo}
spec:
  parentRefs: [{name: inside}, {name: both}]
  rules: [{backendRefs: [{name: echo, port: 3000}]}]
`)
	w.AwaitEcho(t, w.Programmed(t, w.namespace, "inside"), "any.example.com", "/")
	w.Programmed(t, w.namespace, "both")

	var inside, both gatewayStatus
	var made service
	w.get(t, "gateway/inside", &inside)
	w.get(t, "service/inside-"+class, &made)
	if made.Spec.Type != "ClusterIP" || len(inside.Status.Addresses) != 1 || inside.Status.Addresses[0].Value != made.Spec.ClusterIP ||
		inside.Status.Addresses[0].Routability != "Cluster" {
		t.Errorf("Service %+v, addresses %+v", made, inside)
	}
	w.get(t, "gateway/both", &both)
	external := netip.MustParsePrefix("172.30.20.0/24")
	outside, own := 0, 0
	for _, address := range both.Status.Addresses {
		w.AwaitEcho(t, address.Value, "any.example.com", "/")
		switch {
		case address.Routability == "Cluster" && address.Value == chosen:
			own++
		case address.Routability == "" && external.Contains(netip.MustParseAddr(address.Value)):
			outside++
		}
	}
	if outside != 1 || own != 1 || len(both.Status.Addresses) != 2 {
		t.Errorf("addresses %+v", both)
	}
}

// Routes that use default Gateways come to those that are made so, and leave those that are so no more.
func TestDefaultGateways(t *testing.T) {
	w := begin(t, "extended-defaults")
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo}
spec:
  useDefaultGateways: All
  hostnames: [default.example.com]
  rules: [{backendRefs: [{name: echo, port: 3000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: default}
spec:
  gatewayClassName: gatehouse
  defaultScope: All
  listeners: [{name: http, protocol: HTTP, port: 80}]
`)
	address := w.Programmed(t, w.namespace, "default")
	w.AwaitEcho(t, address, "default.example.com", "/")
	w.Condition(t, w.namespace, "gateway/default", ".status.conditions", "DefaultGateway", "True", "DefaultGateway")
	w.Condition(t, w.namespace, "httproute/echo", `.status.parents[?(@.parentRef.name=="default")].conditions`, "Accepted", "True", "Accepted")
	w.Kubectl(t, "--namespace="+w.namespace, "patch", "gateway", "default", "--type=merge", `--patch={"spec":{"defaultScope":"None"}}`)
	w.AwaitStatus(t, 404, address, "default.example.com", "/")
	w.Await(t, "the route to have no parent", func(ctx context.Context) error {
		parents, err := w.Cluster.Kubectl(ctx, "--namespace="+w.namespace, "get", "httproute/echo", "--output=jsonpath={.status.parents}")
		if err == nil && parents != "[]" {
			err = fmt.Errorf("it has %s", parents)
		}
		return err
	})
}
