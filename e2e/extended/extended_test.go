//go:build cluster

// What Gateway API has and the conformance suite has no test for, or a thin one, on a real cluster.
package extended

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster/pki"
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

// Pods are backends by their labels alone: no Service is needed, and those that come serve.
func TestPodsByTheirLabels(t *testing.T) {
	w := begin(t, "extended-pods")
	w.put(t, `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackend
metadata: {name: pods}
spec:
  type: EndpointSelector
  port: {number: 3000}
  endpointSelector: {matchLabels: {app: echo}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: pods}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pods}
spec:
  parentRefs: [{name: pods}]
  rules: [{backendRefs: [{group: gateway.networking.x-k8s.io, kind: XBackend, name: pods}]}]
`)
	address := w.Programmed(t, w.namespace, "pods")
	w.AwaitEcho(t, address, "any.example.com", "/")
	w.Kubectl(t, "--namespace="+w.namespace, "delete", "service", "echo")
	w.Kubectl(t, "--namespace="+w.namespace, "scale", "deployment/echo", "--replicas=3")
	seen := map[string]bool{}
	w.Await(t, "answers of three pods", func(context.Context) error {
		seen[w.AwaitEcho(t, address, "any.example.com", "/").Pod] = true
		if len(seen) < 3 {
			return fmt.Errorf("so far %v", seen)
		}
		return nil
	})
	w.Condition(t, w.namespace, "xbackend/pods", ".status.ancestors[0].conditions", "Accepted", "True", "Accepted")
}

// A listener's filter is asked before a route is chosen: what it says of a request is what routes match.
func TestFiltersOfListeners(t *testing.T) {
	w := begin(t, "extended-filters")
	w.put(t, strings.ReplaceAll(backend, "echo}", "auth}"))
	w.Rolled(t, w.namespace, "auth")
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: filters}
spec:
  gatewayClassName: gatehouse
  listeners:
    - name: http
      protocol: HTTP
      port: 80
      filters:
        requests:
          - type: ExternalAuth
            externalAuth:
              protocol: HTTP
              backendRef: {name: auth, port: 3000}
              http: {allowedHeaders: [X-Echo-Set-Header], allowedResponseHeaders: [X-Team]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: red}
spec:
  parentRefs: [{name: filters}]
  rules:
    - matches: [{headers: [{name: x-team, value: red}]}]
      backendRefs: [{name: echo, port: 3000}]
`)
	address := w.Programmed(t, w.namespace, "filters")
	// The server is the echo: it gives back the header that it is told to.
	w.Await(t, "a request of the team to be routed", func(ctx context.Context) error {
		response, body, err := w.Get(ctx, address, "any.example.com", "/", "X-Echo-Set-Header", "X-Team:red")
		if err != nil || response.StatusCode != 200 || !strings.Contains(string(body), `"echo-`) {
			return fmt.Errorf("%v %v %.300s", response, err, body)
		}
		return nil
	})
	w.AwaitStatus(t, 404, address, "any.example.com", "/")
	w.Kubectl(t, "--namespace="+w.namespace, "delete", "service", "auth")
	w.AwaitStatus(t, 500, address, "any.example.com", "/")
	w.Condition(t, w.namespace, "gateway/filters", ".status.listeners[0].conditions", "ResolvedRefs", "False", "InvalidListenerFilterRef")
}

// Authorities of backends come from a bundle of the cluster.
func TestTrustBundles(t *testing.T) {
	w := begin(t, "extended-bundles")
	authority, err := pki.NewAuthority("extended")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("secure.example.com", nil, "secure.example.com")
	if err != nil {
		t.Fatal(err)
	}
	const bundle = "gatehouse-extended"
	w.Cleanup(t, func(ctx context.Context) {
		_, _ = w.Cluster.Kubectl(ctx, "delete", "clustertrustbundle", bundle, "--ignore-not-found")
	})
	w.put(t, secure+documents(
		map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "secure"}, "type": "kubernetes.io/tls",
			"stringData": map[string]any{"tls.crt": string(pair.Public), "tls.key": string(pair.Private)},
		},
	))
	address := w.Programmed(t, w.namespace, "secure")
	w.AwaitStatus(t, 500, address, "any.example.com", "/")
	w.Condition(t, w.namespace, "backendtlspolicy/secure", ".status.ancestors[0].conditions", "Accepted", "False", "NoValidCACertificate")
	w.Put(t, documents(map[string]any{
		"apiVersion": w.trustBundles(t), "kind": "ClusterTrustBundle", "metadata": map[string]any{"name": bundle},
		"spec": map[string]any{"trustBundle": string(authority.Public)},
	}))
	if answer := w.AwaitEcho(t, address, "any.example.com", "/"); answer.TLS == nil || answer.TLS.ServerName != "secure.example.com" {
		t.Errorf("the backend saw %+v", answer)
	}
	w.Condition(t, w.namespace, "backendtlspolicy/secure", ".status.ancestors[0].conditions", "Accepted", "True", "Accepted")
}

// trustBundles is the version in which the API server has them.
func (w *world) trustBundles(t *testing.T) string {
	t.Helper()
	for _, version := range []string{"v1", "v1beta1", "v1alpha1"} {
		group := "certificates.k8s.io/" + version
		if found, err := w.Cluster.Kubectl(t.Context(), "get", "--raw", "/apis/"+group); err == nil && strings.Contains(found, "clustertrustbundles") {
			return group
		}
	}
	t.Fatal("the API server has no ClusterTrustBundles")
	return ""
}

const secure = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: secure}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: secure}
spec:
  parentRefs: [{name: secure}]
  rules: [{backendRefs: [{name: secure, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: secure}
spec:
  targetRefs: [{group: "", kind: Service, name: secure}]
  validation:
    hostname: secure.example.com
    caCertificateRefs: [{group: certificates.k8s.io, kind: ClusterTrustBundle, name: gatehouse-extended}]
---
apiVersion: v1
kind: Service
metadata: {name: secure}
spec: {selector: {app: secure}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: secure}
spec:
  selector: {matchLabels: {app: secure}}
  template:
    metadata: {labels: {app: secure}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: secure
          image: registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0
          env:
            - {name: TLS_SERVER_CERT, value: /tls/tls.crt}
            - {name: TLS_SERVER_PRIVKEY, value: /tls/tls.key}
          volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
      volumes: [{name: tls, secret: {secretName: secure}}]
`

// documents are objects as YAML, each after a separator.
func documents(objects ...map[string]any) string {
	var all strings.Builder
	for _, object := range objects {
		text, err := json.Marshal(object)
		if err != nil {
			panic(err) // what can be written down can be encoded
		}
		fmt.Fprintf(&all, "\n---\n%s\n", text)
	}
	return all.String()
}
