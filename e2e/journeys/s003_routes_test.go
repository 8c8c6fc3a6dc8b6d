//go:build cluster

package journeys

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/echo"
)

// The document's sample as it stands there: its indentation is lost.
const sampleAsPrinted = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
name: test_application
namespace: test_app
spec:
parentRefs:
- name: flex-gateway
  sectionName: http
  namespace: envoy-gateway-system
hostnames:
- "test_application.sjc.your.domain.tld"
rules:
  - backendRefs:
    - name: test_application
      port: 8774
`

// The same, indented; %s stands for how its things are called.
const sample = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %[1]s
spec:
  parentRefs:
  - name: flex-gateway
    sectionName: http
    namespace: s003-sample
  hostnames:
  - "%[1]s.sjc.your.domain.tld"
  rules:
    - backendRefs:
      - name: %[2]s
        port: 3000
`

func TestS003_08SampleIsRefusedUntilItIsRight(t *testing.T) {
	j := begin(t, "s003-sample")
	j.serve(t)
	j.put(t, gateway("flex-gateway"))
	for manifest, wanted := range map[string][]string{
		sampleAsPrinted: {"name"},
		fmt.Sprintf(sample, "test_application", "test_application"): {`"test_application"`, "lowercase RFC 1123"},
		fmt.Sprintf(sample, "test-application", "test_application"): {}, // the name of a Service is not looked at
	} {
		err := j.Apply(t.Context(), []byte(manifest), "--namespace="+j.namespace)
		if (err == nil) != (len(wanted) == 0) {
			t.Errorf("the API server says %v of%s", err, manifest)
		}
		for _, words := range wanted {
			if err != nil && !strings.Contains(err.Error(), words) {
				t.Errorf("the API server does not say %q of%s: %v", words, manifest, err)
			}
		}
	}
	address := j.Programmed(t, j.namespace, "flex-gateway")
	j.condition(t, "httproute/test-application", parents, "ResolvedRefs", "False", "BackendNotFound")
	j.put(t, fmt.Sprintf(sample, "test-application", "svc-backend"))
	j.AwaitEcho(t, address, "test-application.sjc.your.domain.tld", "/")
	j.condition(t, "httproute/test-application", parents, "ResolvedRefs", "True", "ResolvedRefs")
}

// What to check on a 404: hostname, sectionName, port.
func TestS003_18RoutesThatMissTheirListenerSaySo(t *testing.T) {
	const good = "app.cluster.local"
	j := begin(t, "s003-missed")
	j.serve(t)
	j.put(t, flexGateway)
	address := j.Programmed(t, j.namespace, "flex-gateway")
	for _, wrong := range []struct{ name, old, new, reason, words string }{
		{"hostname", good, "app.your.domain.tld", "NoMatchingListenerHostname", "hostname"},
		{"section", "sectionName: cluster-http", "sectionName: http", "NoMatchingParent", "sectionName"},
		{"port", "sectionName: cluster-http", "port: 8080", "NoMatchingParent", "port"},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			right := route("app", "flex-gateway", "cluster-http", good)
			j.put(t, strings.Replace(right, wrong.old, wrong.new, 1))
			j.condition(t, "httproute/app", parents, "Accepted", "False", wrong.reason)
			j.message(t, "httproute/app", parents, "Accepted", wrong.words)
			j.AwaitStatus(t, 404, address, good, "/")
			j.put(t, right)
			j.condition(t, "httproute/app", parents, "Accepted", "True", "Accepted")
			j.AwaitEcho(t, address, good, "/")
		})
	}
}

// A route of one namespace to a Gateway of another, and an answer that is silent for longer than the limit of routes that
// name none.
func TestS003_14LongPollAcrossNamespaces(t *testing.T) {
	const host, silence = "prometheus.your.domain.tld", 20 * time.Second
	j := begin(t, "s003-prometheus")
	j.Scratch(t, "s003-shared")
	j.serve(t)
	j.Put(t, gateway("flex-gateway"), "--namespace=s003-shared")
	across := strings.NewReplacer("{name: flex-gateway,", "{name: flex-gateway, namespace: s003-shared,", "rules: [{", "rules: [{timeouts: {request: 0s}, ").
		Replace(route("prometheus-gateway-route", "flex-gateway", "http", host))
	j.put(t, across)
	j.condition(t, "httproute/prometheus-gateway-route", parents, "Accepted", "False", "NotAllowedByListeners")
	j.Put(t, strings.Replace(gateway("flex-gateway"), "port: 80", "port: 80, allowedRoutes: {namespaces: {from: All}}", 1), "--namespace=s003-shared")
	j.condition(t, "httproute/prometheus-gateway-route", parents, "Accepted", "True", "Accepted")
	address := j.Programmed(t, "s003-shared", "flex-gateway")
	j.AwaitEcho(t, address, host, "/")

	client := j.HTTPClient()
	client.Timeout = 2 * silence
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://%s/api/v1/query?delay=%v", address, silence), nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	asked := time.Now()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer echo.Answer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != 200 || answer.Namespace != j.namespace {
		t.Errorf("%s, %v, %+v", response.Status, err, answer)
	}
	if took := time.Since(asked); took < silence {
		t.Errorf("the backend was silent for %v only", took)
	}
}

const sharedGateway = `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: nginx-gateway
resources: [internal-gateway-api.yaml]
`

// The namespace is made first; the Gateway comes out of a folder in which its version is edited by hand.
func TestS003_06NamespaceIsThereAndVersionsAreEdited(t *testing.T) {
	const namespace, host = "nginx-gateway", "app.cluster.local"
	b := bed.Attach(t)
	b.InstallDefinitions(t)
	b.Uninstall(t)
	b.Scratch(t, namespace)
	b.InstallInto(t, namespace, "--create-namespace=false", "--wait", "--timeout=5m", takeover)
	b.Cleanup(t, func(ctx context.Context) {
		_, _ = b.Helm(ctx, "uninstall", bed.Release, "--namespace="+namespace, "--wait")
	})
	j := &journey{Bed: b, namespace: namespace}
	j.takeClass(t)
	j.serve(t)
	dir := t.TempDir()
	write(t, dir, "kustomization.yaml", sharedGateway)
	address := ""
	for _, version := range []string{"v1beta1", "v1"} {
		write(t, dir, "internal-gateway-api.yaml", strings.Replace(flexGateway, "k8s.io/v1\n", "k8s.io/"+version+"\n", 1))
		b.Put(t, b.Kubectl(t, "kustomize", dir))
		j.put(t, strings.Replace(route("app", "flex-gateway", "cluster-http", host), "k8s.io/v1\n", "k8s.io/"+version+"\n", 1))
		given := j.Programmed(t, namespace, "flex-gateway")
		if address != "" && given != address {
			t.Errorf("the address was %s and is %s", address, given)
		}
		address = given
		j.AwaitEcho(t, address, host, "/")
	}
	if generation := j.kubectl(t, "get", "gateway", "flex-gateway", "--output=jsonpath={.metadata.generation}"); generation != "1" {
		t.Errorf("the same Gateway in another version is of generation %s", generation)
	}
}

const localTraffic = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: local}
spec:
  provider:
    type: Kubernetes
    kubernetes:
      envoyService: {externalTrafficPolicy: Local}
      envoyDeployment: {pod: {nodeSelector: {kubernetes.io/hostname: %s}}}
`

// Why a Gateway has no address, or one that leads nowhere: a pool that does not exist, and a load balancer that asks for
// a proxy on the node that announces the address.
func TestS003_17MissingAddressesAreExplained(t *testing.T) {
	j := begin(t, "s003-addresses")
	t.Run("a pool that does not exist", func(t *testing.T) {
		inPool := func(pool string) string {
			return strings.Replace(gateway("pool"), "gatewayClassName: eg",
				"gatewayClassName: eg\n  infrastructure: {annotations: {metallb.io/address-pool: "+pool+"}}", 1)
		}
		j.put(t, inPool("missing"))
		j.condition(t, "gateway/pool", ".status.conditions", "Programmed", "False", "AddressNotAssigned")
		j.message(t, "gateway/pool", ".status.conditions", "Programmed", "s003-addresses/pool-eg has no address", "AllocationFailed", `"missing"`)
		j.put(t, inPool("internal"))
		j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "pool"), "any.example.com", "/")
	})
	t.Run("no proxy on the node that announces", func(t *testing.T) {
		j.put(t, fmt.Sprintf(localTraffic, "elsewhere")+"---"+strings.Replace(gateway("local"), "gatewayClassName: eg",
			"gatewayClassName: eg\n  infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: local}}", 1))
		j.condition(t, "gateway/local", ".status.conditions", "Programmed", "False", "NoResources")
		j.message(t, "gateway/local", ".status.conditions", "Programmed", "no proxy is ready", "waits for a node")
		j.put(t, fmt.Sprintf(localTraffic, "node"))
		j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "local"), "any.example.com", "/")
		if policy := j.kubectl(t, "get", "service", "local-eg", "--output=jsonpath={.spec.externalTrafficPolicy}"); policy != "Local" {
			t.Errorf("the Service's policy is %s", policy)
		}
	})
}
