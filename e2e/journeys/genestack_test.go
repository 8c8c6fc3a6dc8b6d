//go:build cluster

package journeys

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/cluster/pki"
	"gatehouse.dev/e2e/load"
)

// A Gateway of OpenStack's services as Genestack has it: two listeners, then 26 more by patch, and 28 routes, each of
// which names its listener.
const (
	genestackDomain  = "your.domain.tld"
	genestackGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: flex-gateway
  namespace: envoy-gateway
  annotations:
    cert-manager.io/cluster-issuer: flex-gateway-issuer
    acme.cert-manager.io/http01-edit-in-place: "true"
spec:
  gatewayClassName: eg
  infrastructure:
    annotations:
      metallb.io/address-pool: external
  listeners:
    - name: cluster-http
      port: 80
      protocol: HTTP
      hostname: "*.cluster.local"
      allowedRoutes:
        namespaces:
          from: All
    - name: cluster-tls
      port: 443
      protocol: HTTPS
      hostname: "*.cluster.local"
      allowedRoutes:
        namespaces:
          from: All
      tls:
        mode: Terminate
        certificateRefs:
          - kind: Secret
            name: wildcard-cluster-tls-secret
`
	genestackRedirect = `
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: http2https-route, namespace: openstack}
spec:
  parentRefs: [{name: flex-gateway, namespace: envoy-gateway, sectionName: http-wildcard-listener}]
  hostnames: ["*.your.domain.tld"]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]}]
`
)

// genestackRoute is one of the set; what is left out follows from its name.
type genestackRoute struct {
	name, namespace, section, service string
	port                              int
	hosts                             []string
	session                           string
}

// genestackRoutes are the 28 but for the redirect. Each of those with HTTPS has a listener of its own.
func genestackRoutes() []genestackRoute {
	routes := []genestackRoute{
		{name: "barbican", service: "barbican-api", port: 9311},
		{name: "blazar", service: "blazar-api", port: 1234},
		{name: "cinder", service: "cinder-api", port: 8776},
		{name: "cloudformation", service: "heat-cfn", port: 8000},
		{name: "cloudkitty", service: "cloudkitty-api", port: 8089},
		{name: "designate", service: "designate-api", port: 9001},
		{name: "freezer", service: "freezer-api", port: 9090},
		{name: "glance", service: "glance-api", port: 9292},
		{name: "gnocchi", service: "gnocchi-api", port: 8041},
		{name: "grafana", namespace: "monitoring", service: "grafana", port: 80,
			hosts: []string{"grafana." + genestackDomain, "grafana.cluster.local", "grafana", "grafana.grafana", "grafana.grafana.svc.cluster.local"}},
		{name: "heat", service: "heat-api", port: 8004},
		{name: "ironic", service: "ironic-api", port: 6385},
		{name: "keystone", service: "keystone-api", port: 5000, session: "KeystoneSession"},
		{name: "magnum", service: "magnum-api", port: 9511},
		{name: "manila", service: "manila-api", port: 8786},
		{name: "masakari", service: "masakari-api", port: 15868},
		{name: "metadata", service: "nova-metadata", port: 8775},
		{name: "neutron", service: "neutron-server", port: 9696},
		{name: "nova", service: "nova-api", port: 8774},
		{name: "novnc", service: "nova-novncproxy", port: 6080},
		{name: "octavia", service: "octavia-api", port: 9876},
		{name: "placement", service: "placement-api", port: 8778},
		{name: "skyline", service: "skyline-api", port: 9999, session: "SkylineSession"},
		{name: "zaqar", service: "zaqar-api", port: 8888},
		{name: "alertmanager", namespace: "monitoring", section: "http-wildcard-listener", service: "kube-prometheus-stack-alertmanager", port: 9093},
		{name: "prometheus", namespace: "monitoring", section: "http-wildcard-listener", service: "kube-prometheus-stack-prometheus", port: 9090},
		{name: "loki", namespace: "monitoring", section: "loki-http", service: "loki-gateway", port: 80,
			hosts: []string{"internal.loki-gateway." + genestackDomain}},
	}
	for i := range routes {
		r := &routes[i]
		if r.namespace == "" {
			r.namespace = "openstack"
		}
		if r.section == "" {
			r.section = r.name + "-https"
		}
		if r.hosts == nil {
			r.hosts = []string{r.name + "." + genestackDomain}
		}
	}
	return routes
}

func (r genestackRoute) https() bool { return r.section == r.name+"-https" }

// manifest is the route with the Service that it leads to. Sessions are written as Gateway API v1.7.0 has them.
func (r genestackRoute) manifest() string {
	session := ""
	if r.session != "" {
		session = fmt.Sprintf("\n      sessionPersistence: {type: Cookie, absoluteTimeout: 300s, cookie: {name: %s, lifetimeType: Permanent}}", r.session)
	}
	return fmt.Sprintf(`
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: custom-%[1]s-gateway-route, namespace: %[2]s, labels: {application: gateway-api, service: HTTPRoute, route: %[1]s}}
spec:
  parentRefs: [{name: flex-gateway, namespace: envoy-gateway, sectionName: %[3]s}]
  hostnames: [%[4]s]
  rules:
    - backendRefs: [{name: %[5]s, port: %[6]d}]%[7]s
---
apiVersion: v1
kind: Service
metadata: {name: %[5]s, namespace: %[2]s}
spec: {selector: {app: backend}, ports: [{port: %[6]d, targetPort: 3000}]}
`, r.name, r.namespace, r.section, strings.Join(r.hosts, ", "), r.service, r.port, session)
}

// listener is the patch that adds the listener of a route.
func (r genestackRoute) listener() map[string]any {
	value := map[string]any{
		"name": r.section, "port": 80, "protocol": "HTTP", "hostname": r.hosts[0],
		"allowedRoutes": map[string]any{"namespaces": map[string]any{"from": "All"}},
	}
	if r.https() {
		value["port"], value["protocol"] = 443, "HTTPS"
		value["tls"] = map[string]any{"mode": "Terminate", "certificateRefs": []any{
			map[string]any{"group": "", "kind": "Secret", "name": r.name + "-gw-tls-secret"}}}
	}
	if r.section == "http-wildcard-listener" {
		value["hostname"] = "*." + genestackDomain
	}
	return map[string]any{"op": "add", "path": "/spec/listeners/-", "value": value}
}

// genestack is the set on a cluster.
type genestack struct {
	*journey
	routes  []genestackRoute
	trust   *x509.CertPool
	address string
}

func TestGenestackReplay(t *testing.T) {
	g := newGenestack(t)
	g.everythingAnswers(t)
	t.Run("the controllers are started again under traffic", g.restart)
	t.Run("nothing happens when nothing has changed", g.again)
}

func newGenestack(t *testing.T) *genestack {
	t.Helper()
	j := &journey{Bed: bed.New(t, takeover), namespace: "envoy-gateway"}
	j.InstallExperimental(t) // for sessionPersistence
	for _, namespace := range []string{"envoy-gateway", "openstack", "monitoring"} {
		j.Scratch(t, namespace)
	}
	j.Cleanup(t, func(ctx context.Context) {
		_, _ = j.Cluster.Kubectl(ctx, "delete", "gatewayclass", "eg", "--ignore-not-found")
	})
	j.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
	j.Kubectl(t, "label", "node", "--all", "node-role.kubernetes.io/worker=worker", "--overwrite")
	for _, namespace := range []string{"openstack", "monitoring"} {
		j.Put(t, backends, "--namespace="+namespace)
	}
	g := &genestack{journey: j, routes: genestackRoutes(), trust: x509.NewCertPool()}
	j.Put(t, g.certificates(t))
	j.Put(t, documentsParameters+"---"+genestackGateway)
	j.Programmed(t, j.namespace, "flex-gateway")
	g.patchListeners(t)
	j.Put(t, g.manifests())
	for _, namespace := range []string{"openstack", "monitoring"} {
		j.Rolled(t, namespace, "backend")
	}
	j.proxies(t, "gateway.networking.k8s.io/gateway-name=flex-gateway", 2)
	g.address = j.Programmed(t, j.namespace, "flex-gateway")
	return g
}

func (g *genestack) manifests() string {
	all := genestackRedirect
	for _, r := range g.routes {
		all += r.manifest()
	}
	return all
}

// patchListeners does what the documents do with jq: one patch of all files.
func (g *genestack) patchListeners(t *testing.T) {
	t.Helper()
	var patches []map[string]any
	for _, r := range g.routes {
		if r.name != "alertmanager" { // it shares its listener with the other one that has no listener of its own
			patches = append(patches, r.listener())
		}
	}
	if len(patches) != 26 {
		t.Fatalf("there are %d listeners to add", len(patches))
	}
	text, err := json.Marshal(patches)
	if err != nil {
		t.Fatal(err)
	}
	g.kubectl(t, "patch", "gateway", "flex-gateway", "--type=json", "--patch="+string(text))
}

// certificates are Secrets for the listeners with HTTPS.
func (g *genestack) certificates(t *testing.T) string {
	t.Helper()
	authority, err := pki.NewAuthority("genestack")
	if err != nil {
		t.Fatal(err)
	}
	g.trust.AppendCertsFromPEM(authority.Public)
	hosts := map[string]string{"wildcard-cluster-tls-secret": "*.cluster.local"}
	for _, r := range g.routes {
		if r.https() {
			hosts[r.name+"-gw-tls-secret"] = r.hosts[0]
		}
	}
	var secrets strings.Builder
	for name, host := range hosts {
		pair, err := authority.Issue(host, nil, host)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&secrets, "---\n{apiVersion: v1, kind: Secret, type: kubernetes.io/tls, metadata: {name: %s, namespace: envoy-gateway}, data: {tls.crt: %s, tls.key: %s}}\n",
			name, base64.StdEncoding.EncodeToString(pair.Public), base64.StdEncoding.EncodeToString(pair.Private))
	}
	return secrets.String()
}

// everythingAnswers asks each route, over a verified connection where it is one of HTTPS, and reads all statuses.
func (g *genestack) everythingAnswers(t *testing.T) {
	t.Helper()
	for _, r := range g.routes {
		if !r.https() {
			g.AwaitEcho(t, g.address, r.hosts[0], "/")
			continue
		}
		g.Await(t, "https://"+r.hosts[0], func(ctx context.Context) error { return g.answers(ctx, r) })
	}
	g.AwaitStatus(t, 301, g.address, "keystone."+genestackDomain, "/")
	g.Await(t, "all routes to be accepted", func(ctx context.Context) error {
		said, err := g.Cluster.Kubectl(ctx, "get", "httproutes", "--all-namespaces", "--output=jsonpath="+
			`{range .items[?(@.spec.parentRefs[0].name=="flex-gateway")]}{.status.parents[*].conditions[?(@.type=="Accepted")].status}{.status.parents[*].conditions[?(@.type=="ResolvedRefs")].status} {end}`)
		if routes := strings.Fields(said); err == nil && (len(routes) != 28 || slices.ContainsFunc(routes, func(s string) bool { return s != "TrueTrue" })) {
			err = fmt.Errorf("%d: %v", len(routes), routes)
		}
		return err
	})
	g.Await(t, "all listeners to be programmed", func(ctx context.Context) error {
		said, err := g.Cluster.Kubectl(ctx, "--namespace="+g.namespace, "get", "gateway", "flex-gateway",
			`--output=jsonpath={.status.listeners[*].conditions[?(@.type=="Programmed")].status}`)
		if listeners := strings.Fields(said); err == nil && (len(listeners) != 28 || slices.Contains(listeners, "False")) {
			err = fmt.Errorf("%d: %v", len(listeners), listeners)
		}
		return err
	})
}

// trusting connects with a host's name and believes only the authority of the set.
func (g *genestack) trusting(host string) *tls.Config {
	return &tls.Config{RootCAs: g.trust, ServerName: host}
}

func (g *genestack) answers(ctx context.Context, r genestackRoute) error {
	host := r.hosts[0]
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   g.trusting(host),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return g.DialContext(ctx, network, g.address+":443")
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	for _, cookie := range response.Cookies() {
		if cookie.Name == r.session && cookie.MaxAge == 300 {
			return nil
		}
	}
	if r.session != "" {
		return fmt.Errorf("the cookies are %v", response.Cookies())
	}
	return nil
}

// restart rolls the controllers out again: requests and the console's WebSocket do not notice.
func (g *genestack) restart(t *testing.T) {
	const requests = 10_000
	console, err := g.console("novnc." + genestackDomain)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	host := "nova." + genestackDomain
	traffic := load.Start(load.Config{Address: g.address + ":443", Host: host, Path: "/", Rate: 400, TLS: g.trusting(host)})
	g.Kubectl(t, "--namespace="+bed.Namespace, "rollout", "restart", "deployment", bed.Release)
	g.Rolled(t, bed.Namespace, bed.Release)
	g.Await(t, "requests", func(context.Context) error { return traffic.Enough(requests) })
	if answer, err := exchange(console, "after"); err != nil || answer != "after" {
		t.Errorf("the WebSocket answers %q, %v", answer, err)
	}
	result := traffic.Stop()
	t.Logf("%.0f requests a second: %v", float64(result.Requests)/result.Duration.Seconds(), result)
	if result.Failed > 0 {
		t.Errorf("%d requests failed", result.Failed)
	}
}

// console opens a WebSocket over TLS, as noVNC does, and uses it once.
func (g *genestack) console(host string) (*websocket.Conn, error) {
	configuration, err := websocket.NewConfig("wss://"+host+"/ws", "https://"+host)
	if err != nil {
		return nil, err
	}
	conn, err := tls.Dial("tcp", g.address+":443", g.trusting(host))
	if err != nil {
		return nil, err
	}
	console, err := websocket.NewClient(configuration, conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if answer, err := exchange(console, "before"); err != nil || answer != "before" {
		return nil, errors.Join(fmt.Errorf("the WebSocket answers %q", answer), err, conn.Close())
	}
	return console, nil
}

func exchange(console *websocket.Conn, message string) (answer string, err error) {
	if err := console.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return "", err
	}
	if err := websocket.Message.Send(console, message); err != nil {
		return "", err
	}
	err = websocket.Message.Receive(console, &answer)
	return answer, err
}

// again applies the whole set as it is: no status is written, and proxies are sent nothing.
func (g *genestack) again(t *testing.T) {
	g.Await(t, "the proxies at the new leader", func(context.Context) error {
		if streams := g.Metrics(t).Sum("gatehouse_xds_streams"); streams < 2 {
			return fmt.Errorf("there are %v", streams)
		}
		return nil
	})
	activity := func() string {
		now := g.Metrics(t)
		return fmt.Sprintf("%v statuses written, %v responses sent", now.Sum("gatehouse_status_writes_total", `result="written"`),
			now.Sum("gatehouse_xds_responses_total"))
	}
	before := ""
	g.Await(t, "rest", func(ctx context.Context) error {
		first := activity()
		time.Sleep(2 * time.Second) // rest is when nothing happens for a while
		if before = activity(); before != first {
			return fmt.Errorf("%s, then %s", first, before)
		}
		return nil
	})
	g.Put(t, documentsParameters+"---"+genestackGateway+g.manifests())
	time.Sleep(5 * time.Second) // nothing is to happen
	after := activity()
	t.Logf("before: %s; after: %s", before, after)
	if after != before {
		t.Errorf("%s before the unchanged set was applied, then %s", before, after)
	}
	// One change, so that the counters are known to count.
	g.Kubectl(t, "--namespace=openstack", "patch", "httproute", "custom-nova-gateway-route", "--type=json",
		`--patch=[{"op": "add", "path": "/spec/rules/0/timeouts", "value": {"request": "30s"}}]`)
	g.Await(t, "one status and a response for each proxy", func(context.Context) error {
		now := g.Metrics(t)
		written, sent := now.Sum("gatehouse_status_writes_total", `result="written"`), now.Sum("gatehouse_xds_responses_total")
		t.Logf("after a change: %v statuses written, %v responses sent", written, sent)
		if written < 1 || sent < 2 {
			return errors.New("not yet")
		}
		return nil
	})
}
