//go:build cluster

package journeys

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/load"
)

const flexGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: flex-gateway}
spec:
  gatewayClassName: eg
  listeners:
    - name: cluster-http
      port: 80
      protocol: HTTP
      hostname: "*.cluster.local"
      allowedRoutes: {namespaces: {from: All}}
`

// route is a route of one hostname to the walkthrough's first backend.
func route(name, gateway, section, host string) string {
	return fmt.Sprintf(`
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: %s, sectionName: %s}]
  hostnames: [%s]
  rules: [{backendRefs: [{name: svc-backend, port: 3000}]}]
`, name, gateway, section, host)
}

// listenerPatch adds one listener; most of them are of the given port.
func listenerPatch(i int) (name, host, patch string) {
	name = fmt.Sprintf("service-%d", i)
	host = fmt.Sprintf("service-%d.your.domain.tld", i)
	return name, host, fmt.Sprintf(`[{"op": "add", "path": "/spec/listeners/-", "value": {"name": "%s", "port": %d, "protocol": "HTTP",
	  "hostname": "%s", "allowedRoutes": {"namespaces": {"from": "All"}}}}]`, name, 80+i%2*8000, host)
}

// 26 listeners come one by one, on a port that is open and on one that is not yet.
func TestS003_11ListenersAreAddedByPatchUnderTraffic(t *testing.T) {
	const listeners, requests = 26, 10_000
	j := begin(t, "s003-listeners")
	j.serve(t)
	j.put(t, flexGateway+route("first", "flex-gateway", "cluster-http", "first.cluster.local"))
	address := j.Programmed(t, j.namespace, "flex-gateway")
	j.AwaitEcho(t, address, "first.cluster.local", "/")
	pods := j.Pods(t, j.namespace, "gateway.networking.k8s.io/gateway-name=flex-gateway")

	traffic := load.Start(load.Config{Address: address + ":80", Host: "first.cluster.local", Path: "/", Rate: 200})
	for i := range listeners {
		name, host, patch := listenerPatch(i)
		j.kubectl(t, "patch", "gateway", "flex-gateway", "--type=json", "--patch="+patch)
		j.put(t, route(name, "flex-gateway", name, host))
	}
	j.Programmed(t, j.namespace, "flex-gateway")
	for i := range listeners {
		_, host, _ := listenerPatch(i)
		j.AwaitEcho(t, fmt.Sprintf("%s:%d", address, 80+i%2*8000), host, "/")
	}
	j.Await(t, "traffic", func(context.Context) error { return traffic.Enough(requests) })
	result := traffic.Stop()
	t.Log(result)
	if result.Failed > 0 {
		t.Errorf("%d requests failed", result.Failed)
	}
	if after := j.Pods(t, j.namespace, "gateway.networking.k8s.io/gateway-name=flex-gateway"); fmt.Sprint(after) != fmt.Sprint(pods) {
		t.Errorf("the pods were %v and are %v", pods, after)
	}
}

const redirectToHTTPS = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: http2https-route}
spec:
  parentRefs: [{name: flex-gateway, sectionName: http-wildcard-listener}]
  hostnames: ["*.your.domain.tld"]
  rules:
    - filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: solver}
spec:
  parentRefs: [{name: flex-gateway}]
  hostnames: [x.your.domain.tld]
  rules:
    - matches: [{path: {type: Exact, value: /.well-known/acme-challenge/token}}]
      backendRefs: [{name: svc-backend, port: 3000}]
`

func TestS003_12RedirectToHTTPSLeavesTheChallengeAlone(t *testing.T) {
	j := begin(t, "s003-redirect")
	j.serve(t)
	j.put(t, flexGateway)
	j.kubectl(t, "patch", "gateway", "flex-gateway", "--type=json", `--patch=[{"op":"add","path":"/spec/listeners/-","value":{
	  "name":"http-wildcard-listener","port":80,"protocol":"HTTP","hostname":"*.your.domain.tld","allowedRoutes":{"namespaces":{"from":"All"}}}}]`)
	j.put(t, redirectToHTTPS)
	address := j.Programmed(t, j.namespace, "flex-gateway")
	j.AwaitStatus(t, 301, address, "y.your.domain.tld", "/some?query=1")
	response, _, err := j.Get(t.Context(), address, "y.your.domain.tld", "/some?query=1")
	if err != nil {
		t.Fatal(err)
	}
	if location := response.Header.Get("Location"); location != "https://y.your.domain.tld/some?query=1" {
		t.Errorf("redirected to %s", location)
	}
	j.AwaitEcho(t, address, "x.your.domain.tld", "/.well-known/acme-challenge/token")
}

func TestS003_13AnnotationsOfOthersChangeNothing(t *testing.T) {
	j := begin(t, "s003-annotations")
	j.serve(t)
	j.put(t, flexGateway+route("first", "flex-gateway", "cluster-http", "first.cluster.local"))
	address := j.Programmed(t, j.namespace, "flex-gateway")
	j.AwaitEcho(t, address, "first.cluster.local", "/")
	state := func() string {
		return j.kubectl(t, "get", "gateway/flex-gateway", "deployment/flex-gateway-eg", "service/flex-gateway-eg", "--output=jsonpath="+
			`{range .items[*]}{.kind} {.metadata.generation} {.status.conditions[*].lastTransitionTime}{"\n"}{end}`)
	}
	pushes := func() string {
		var counters string
		err := j.WithPortForward(t.Context(), j.namespace, "deployment/flex-gateway-eg", "19000", func(admin string) error {
			_, body, err := j.Get(t.Context(), admin, admin, `/stats?filter=(cds|lds|rds|vhds|sds).*update_(success|attempt)$`)
			counters = string(body)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return counters
	}
	before, pushed := state(), pushes()
	j.kubectl(t, "annotate", "gateway", "flex-gateway", "acme.cert-manager.io/http01-edit-in-place=true", "cert-manager.io/cluster-issuer=letsencrypt-prod")
	time.Sleep(5 * time.Second) // nothing is to happen
	if after := state(); after != before {
		t.Errorf("the objects were\n%s\nand are\n%s", before, after)
	}
	if after := pushes(); after != pushed || pushed == "" {
		t.Errorf("Envoy's counters were\n%s\nand are\n%s", pushed, after)
	}
}

// Two Gateways of one class, for inside and outside: MetalLB has a pool for each.
func TestS003_15AddressesOfTwoPools(t *testing.T) {
	j := begin(t, "s003-pools")
	j.serve(t)
	for pool, prefix := range map[string]string{"internal": "172.30.10.0/24", "external": "172.30.20.0/24"} {
		j.put(t, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %[1]s}
spec:
  gatewayClassName: eg
  infrastructure:
    labels: {side: %[1]s}
    annotations: {metallb.io/address-pool: %[1]s}
  listeners: [{name: http, protocol: HTTP, port: 80}]
`, pool)+route(pool, pool, "http", pool+".example.com"))
		address := j.Programmed(t, j.namespace, pool)
		if !netip.MustParsePrefix(prefix).Contains(netip.MustParseAddr(address)) {
			t.Errorf("Gateway %s got %s", pool, address)
		}
		j.AwaitEcho(t, address, pool+".example.com", "/")
		if got := j.kubectl(t, "get", "service,deployment,pod", "--selector=side="+pool, "--output=name"); strings.Count(got, "\n") < 2 {
			t.Errorf("the label reached only %s", got)
		}
	}
}

// All routes at once, as `sed ... && kubectl apply` of a folder does: each is written once for each change of it.
func TestS003_09RoutesInBulkAreAcceptedByOneWriteEach(t *testing.T) {
	const routes = 28
	j := begin(t, "s003-bulk")
	j.serve(t)
	j.put(t, flexGateway)
	address := j.Programmed(t, j.namespace, "flex-gateway")
	all := func(domain string) string {
		var all strings.Builder
		for i := range routes {
			all.WriteString(route(fmt.Sprintf("route-%d", i), "flex-gateway", "cluster-http", fmt.Sprintf("r%d.%s", i, domain)))
		}
		return all.String()
	}
	var events map[string]int
	for _, domain := range []string{"cluster.local", "your.cluster.local", "your.cluster.local"} {
		stop := j.watchRoutes(t)
		j.put(t, all(domain))
		for i := range routes {
			j.AwaitEcho(t, address, fmt.Sprintf("r%d.%s", i, domain), "/")
		}
		j.Await(t, "the statuses", func(ctx context.Context) error {
			said, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get", "httproutes", `--output=jsonpath={range .items[*]}`+
				`{.metadata.generation}/{.status.parents[*].conditions[?(@.type=="Accepted")].observedGeneration}`+
				`{.status.parents[*].conditions[?(@.type=="Accepted")].status}{"\n"}{end}`)
			if accepted := strings.Count(said, "1/1True") + strings.Count(said, "2/2True"); err == nil && accepted != routes {
				err = fmt.Errorf("%d are accepted as they are now", accepted)
			}
			return err
		})
		time.Sleep(3 * time.Second) // nothing more is to happen
		events = stop()
		for name, count := range events {
			if count > 2 { // what the user wrote, and its status
				t.Errorf("%s was written %d times", name, count)
			}
		}
		t.Logf("hosts of %s: %d routes were written", domain, len(events))
	}
	if len(events) > 0 {
		t.Errorf("routes were written though nothing had changed: %v", events)
	}
}

// watchRoutes counts the writes of each route, until the function that it gives is called.
func (j *journey) watchRoutes(t *testing.T) (stop func() map[string]int) {
	t.Helper()
	config, err := j.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	routes := client.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace(j.namespace)
	now, err := routes.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	watch, err := routes.Watch(t.Context(), metav1.ListOptions{ResourceVersion: now.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan map[string]int, 1)
	go func() {
		counts := map[string]int{}
		for event := range watch.ResultChan() {
			if object, err := meta.Accessor(event.Object); err == nil {
				counts[object.GetName()]++
			}
		}
		written <- counts
	}()
	return func() map[string]int {
		watch.Stop()
		return <-written
	}
}

const postRenderer = `
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [rendered.yaml]
labels: [{pairs: {team: platform}}]
`

// Tools that render charts themselves run no hooks and look nothing up.
func TestS003_02And07RenderedChartPassesKustomizeAndServes(t *testing.T) {
	const namespace = "rendered"
	b := bed.Attach(t)
	b.InstallDefinitions(t)
	b.Uninstall(t)
	b.Scratch(t, namespace)
	rendered := b.Render(t, "other", namespace, "--set=gatewayClass.create=true")
	dir := t.TempDir()
	write(t, dir, "rendered.yaml", rendered)
	write(t, dir, "kustomization.yaml", postRenderer)
	built := b.Kubectl(t, "kustomize", dir)
	write(t, dir, "built.yaml", built)
	b.Cleanup(t, func(ctx context.Context) {
		_, _ = b.Cluster.Kubectl(ctx, "delete", "--filename="+dir+"/built.yaml", "--ignore-not-found", "--timeout=2m")
	})
	b.Put(t, built)
	b.Rolled(t, namespace, "other-gatehouse")
	b.Put(t, strings.Replace(gateway("rendered"), "gatewayClassName: eg", "gatewayClassName: gatehouse", 1), "--namespace="+namespace)
	b.AwaitStatus(t, 404, b.Programmed(t, namespace, "rendered"), "any.example.com", "/")
}
