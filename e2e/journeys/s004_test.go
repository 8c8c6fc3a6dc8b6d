//go:build cluster

package journeys

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster/pki"
)

// The quickstart, unchanged, and called by node port.
func TestS004Quickstart(t *testing.T) {
	const host = "www.example.com"
	j := &journey{Bed: bed.New(t, takeover), namespace: "default"}
	j.Cleanup(t, func(ctx context.Context) {
		_, _ = j.Cluster.Kubectl(ctx, "delete", "--ignore-not-found", "--filename="+bed.Root("manifests", "quickstart.yaml"))
	})
	t.Run("S004-01 definitions and controller", func(t *testing.T) {
		if found := j.kubectl(t, "get", "crd"); strings.Count(found, "networking.k8s.io") < 5 {
			t.Errorf("kubectl get crd: %s", found)
		}
		j.Rolled(t, bed.Namespace, bed.Release)
	})
	address := ""
	t.Run("S004-02 statuses", func(t *testing.T) {
		j.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
		j.PutFile(t, "manifests", "quickstart.yaml")
		address = j.Programmed(t, "default", "eg")
		if got := j.columns(t, "gatewayclass", "eg"); got["ACCEPTED"] != "True" {
			t.Errorf("kubectl get gatewayclass: %v", got)
		}
		if got := j.columns(t, "gateway", "eg"); got["CLASS"] != "eg" || got["ADDRESS"] != address || got["PROGRAMMED"] != "True" {
			t.Errorf("kubectl get gateway: %v", got)
		}
		if got := j.columns(t, "httproute", "backend"); got["HOSTNAMES"] != `["www.example.com"]` {
			t.Errorf("kubectl get httproute: %v", got)
		}
		j.AwaitEcho(t, address, host, "/get")
	})
	nodePort := ""
	t.Run("S004-03 one entrance", func(t *testing.T) {
		var entrances []string
		for line := range strings.Lines(j.kubectl(t, "get", "services")) {
			if strings.Contains(line, "LoadBalancer") {
				entrances = append(entrances, line)
			}
		}
		if len(entrances) != 1 {
			t.Fatalf("load balancers: %v", entrances)
		}
		nodePort = j.kubectl(t, "get", "service", "eg-eg", "--output=jsonpath={.spec.ports[0].nodePort}")
		if !strings.Contains(entrances[0], "80:"+nodePort+"/TCP") {
			t.Errorf("the entrance is %s", entrances[0])
		}
	})
	t.Run("S004-04 node port, host with and without it", func(t *testing.T) {
		node := j.kubectl(t, "get", "nodes", `--output=jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
		entrance := net.JoinHostPort(node, nodePort)
		for _, asked := range []string{host, net.JoinHostPort(host, nodePort)} {
			if got := j.echo(t, entrance, asked, "/get"); got.Path != "/get" {
				t.Errorf("host %s: %+v", asked, got)
			}
		}
	})
}

const twoListeners = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: Gateway
metadata: {name: gateway}
spec:
  gatewayClassName: eg
  listeners:
    - name: http
      hostname: www.gateway.example.com
      port: 8088
      protocol: HTTP
      allowedRoutes: {namespaces: {from: All}}
    - name: https
      hostname: www.gateway.example.com
      port: 8443
      protocol: HTTPS
      allowedRoutes: {namespaces: {from: All}}
      tls:
        mode: Terminate
        certificateRefs: [{kind: Secret, group: "", name: cafe-secret, namespace: s004-certificates}]
`

const grant = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: gateways, namespace: s004-certificates}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: s004}]
  to: [{group: "", kind: Secret}]
`

const routeA = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: route-a}
spec:
  parentRefs: [{name: gateway, namespace: s004, sectionName: http}]
  hostnames: [www.gateway.example.com]
  rules:
    - matches: [{path: {type: PathPrefix, value: /gateway}}]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {set: [{name: service, value: goodrain}]}
        - type: RequestRedirect
          requestRedirect: {scheme: https, hostname: www.baidu.com, port: 8443, statusCode: 301}
`

const routeB = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: route-b}
spec:
  parentRefs: [{name: gateway, namespace: s004, sectionName: https}]
  hostnames: [www.gateway.example.com]
  rules:
    - matches: [{headers: [{name: service, value: goodrain}]}]
      backendRefs:
        - {name: svc-backend, port: 3000, weight: 80}
        - {name: svc-backend2, port: 3000, weight: 20}
`

// The two listeners of the article: the certificate is in another namespace.
func TestS004ListenersAndRoutes(t *testing.T) {
	const host = "www.gateway.example.com"
	j := begin(t, "s004")
	j.Scratch(t, "s004-certificates")
	j.serve(t)
	certificate, key := keyPair(t, host)
	j.Kubectl(t, "--namespace=s004-certificates", "create", "secret", "tls", "cafe-secret", "--cert="+certificate, "--key="+key)
	j.put(t, twoListeners)
	j.put(t, routeA+"---"+routeB)
	address := ""
	https := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: host},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return j.DialContext(ctx, network, address+":8443")
		},
	}}
	ask := func(header string) (status int, pod string, err error) {
		request, err := http.NewRequest(http.MethodGet, "https://"+host+"/", nil)
		if err != nil {
			return 0, "", err
		}
		if header != "" {
			request.Header.Set("service", header)
		}
		response, err := https.Do(request)
		if err != nil {
			return 0, "", err
		}
		defer response.Body.Close()
		var answer struct{ Pod string }
		_ = json.NewDecoder(response.Body).Decode(&answer)
		return response.StatusCode, answer.Pod, nil
	}
	listener := func(name string) string { return fmt.Sprintf(`.status.listeners[?(@.name=="%s")].conditions`, name) }

	t.Run("S004-05 certificates need a grant, and lose it", func(t *testing.T) {
		j.condition(t, "gateway/gateway", listener("https"), "ResolvedRefs", "False", "RefNotPermitted")
		address = j.Programmed(t, j.namespace, "gateway")
		j.AwaitStatus(t, 301, address+":8088", host, "/gateway")
		if _, _, err := ask("goodrain"); err == nil {
			t.Error("HTTPS is served without a grant")
		}
		j.Put(t, grant)
		j.condition(t, "gateway/gateway", listener("https"), "ResolvedRefs", "True", "ResolvedRefs")
		served := func(context.Context) error {
			status, _, err := ask("goodrain")
			if err == nil && status != 200 {
				err = fmt.Errorf("status %d", status)
			}
			return err
		}
		j.Await(t, "HTTPS", served)
		j.Kubectl(t, "--namespace=s004-certificates", "delete", "referencegrant", "gateways")
		deleted := time.Now()
		j.Await(t, "the end of HTTPS", func(ctx context.Context) error {
			if served(ctx) == nil {
				return fmt.Errorf("it is still served")
			}
			return nil
		})
		t.Logf("HTTPS ended %v after its grant", time.Since(deleted).Round(time.Millisecond))
		if got := j.status(t, address+":8088", host, "/gateway"); got != 301 {
			t.Errorf("HTTP beside it: %d", got)
		}
		j.Put(t, grant)
		j.Await(t, "HTTPS again", served)
	})
	t.Run("S004-07 redirect", func(t *testing.T) {
		response, _, err := j.Get(t.Context(), address+":8088", host, "/gateway/x?a=b")
		if err != nil {
			t.Fatal(err)
		}
		if location := response.Header.Get("Location"); response.StatusCode != 301 || location != "https://www.baidu.com:8443/gateway/x?a=b" {
			t.Errorf("%s, %s", response.Status, location)
		}
	})
	t.Run("S004-08 weights", func(t *testing.T) {
		const requests, share = 1000, 0.8
		first := 0
		for range requests {
			status, pod, err := ask("goodrain")
			if err != nil || status != 200 {
				t.Fatal(status, err)
			}
			if strings.HasPrefix(pod, "backend-") {
				first++
			}
		}
		// Four standard deviations: one run in 15,000 is that far off.
		if deviation := 4 * math.Sqrt(requests*share*(1-share)); math.Abs(float64(first)-requests*share) > deviation {
			t.Errorf("%d of %d requests went to the backend of weight 80", first, requests)
		}
		if status, _, err := ask(""); err != nil || status != 404 {
			t.Errorf("without the header: %d, %v", status, err)
		}
	})
}

// keyPair writes a certificate and its key.
func keyPair(t *testing.T, host string) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	authority, err := pki.NewAuthority("journeys")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue(host, nil, host)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string][]byte{certificate: pair.Public, key: pair.Private} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// The roles of the article: an administrator writes Gateways, a developer routes, others look.
func TestS004_14RolesOfPeople(t *testing.T) {
	j := begin(t, "s004-roles")
	for role, may := range map[string]map[string]string{
		"admin": {"create gateways": "yes", "create httproutes": "yes", "get gateways": "yes"},
		"edit":  {"create gateways": "no", "create httproutes": "yes", "get gateways": "yes"},
		"view":  {"create gateways": "no", "create httproutes": "no", "get httproutes": "yes"},
	} {
		j.kubectl(t, "create", "rolebinding", role, "--clusterrole="+role, "--user="+role+"-user")
		for action, wanted := range may {
			verb, kind, _ := strings.Cut(action, " ")
			j.Await(t, fmt.Sprintf("%s to %s: %s", role, action, wanted), func(ctx context.Context) error {
				// It ends with 1 when the answer is no.
				said, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "auth", "can-i", verb, kind+".gateway.networking.k8s.io", "--as="+role+"-user")
				if strings.TrimSpace(said) != wanted {
					return fmt.Errorf("%q, %v", said, err)
				}
				return nil
			})
		}
	}
}

const foreign = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: foreign}
spec: {controllerName: example.net/other-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: foreign, namespace: s004-foreign}
spec:
  gatewayClassName: foreign
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both, namespace: s004-foreign}
spec:
  parentRefs: [{name: foreign}, {name: eg}]
  hostnames: [both.example.com]
  rules: [{backendRefs: [{name: svc-backend, port: 3000}]}]
`

// What the other controller wrote of the route, with a condition of its own kind.
const foreignStatus = `[{"op": "add", "path": "/status", "value": {"parents": [{
  "parentRef": {"name": "foreign"}, "controllerName": "example.net/other-controller",
  "conditions": [{"type": "Odd", "status": "Unknown", "reason": "Whatever", "message": "of the other", "lastTransitionTime": "2026-01-02T03:04:05Z"}]}]}}]`

// Two controllers in one cluster: each leaves alone what is the other's, and is still at rest.
func TestS004_15ForeignControllersObjectsAreLeftAlone(t *testing.T) {
	j := begin(t, "s004-foreign")
	j.Cleanup(t, func(ctx context.Context) {
		_, _ = j.Cluster.Kubectl(ctx, "delete", "gatewayclass", "foreign", "--ignore-not-found")
	})
	j.serve(t)
	j.Put(t, foreign)
	j.kubectl(t, "patch", "httproute", "both", "--subresource=status", "--type=json", "--patch="+foreignStatus)
	entry := func() string {
		return j.kubectl(t, "get", "httproute", "both", `--output=jsonpath={.status.parents[?(@.controllerName=="example.net/other-controller")]}`)
	}
	before := entry()
	j.put(t, gateway("eg"))
	address := j.Programmed(t, j.namespace, "eg")
	j.AwaitEcho(t, address, "both.example.com", "/")
	if after := entry(); after != before || before == "" {
		t.Errorf("the other's entry was %s and is %s", before, after)
	}
	for _, object := range []string{"gatewayclass/foreign", "gateway/foreign"} {
		reasons := strings.Fields(j.kubectl(t, "get", object, "--output=jsonpath={.status.conditions[*].reason}"))
		// These are defaults of the definitions.
		if slices.ContainsFunc(reasons, func(reason string) bool { return reason != "Pending" && reason != "Waiting" }) {
			t.Errorf("%s was given a status: %v", object, reasons)
		}
	}
	versions := func() string {
		// Elsewhere proxies of other tests may still end.
		return j.kubectl(t, "get", "gatewayclasses,gateways,httproutes,deployments,services",
			"--output=jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.resourceVersion}{\"\\n\"}{end}")
	}
	resting := versions()
	time.Sleep(20 * time.Second) // as long as it takes to see that nothing happens
	if now := versions(); now != resting {
		t.Errorf("objects were written at rest:\n%s\nand then\n%s", resting, now)
	}
}
