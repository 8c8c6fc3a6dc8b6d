package traffic

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// Hostnames of listeners (each on a port of its own) and of routes (each attached to all of them); the empty one is none. The
// routes of several labels tell that a wildcard stands for any number of them, those of `xn--` that names in punycode are
// names like others.
var (
	listenerHosts = []string{"", "*.wild.test", "a.wild.test", "*.b.wild.test", "xn--bcher-kva.test", "*.xn--bcher-kva.test"}
	routeHosts    = []string{
		"", "*.test", "*.wild.test", "a.wild.test", "b.wild.test", "*.b.wild.test", "c.b.wild.test", "wild.test",
		"xn--bcher-kva.test", "*.xn--bcher-kva.test", "x.xn--bcher-kva.test",
	}
	askedHosts = []string{
		"wild.test", "a.wild.test", "b.wild.test", "c.b.wild.test", "d.c.b.wild.test", "z.wild.test", "y.z.wild.test", "awild.test",
		"xn--bcher-kva.test", "x.xn--bcher-kva.test", "y.x.xn--bcher-kva.test", "elsewhere.test", "elsewhere.invalid", "127.0.0.1",
	}
)

// spellings of a host that mean the same.
var spellings = map[string]func(string) string{
	"as it is":           func(host string) string { return host },
	"in upper case":      strings.ToUpper,
	"with a port":        func(host string) string { return host + ":8080" },
	"upper, with a port": func(host string) string { return strings.ToUpper(host) + ":80" },
}

// covers is Gateway API's rule: a wildcard stands for one label or more, none for all hosts.
func covers(pattern, host string) bool {
	suffix, wild := strings.CutPrefix(pattern, "*")
	return pattern == "" || pattern == host || wild && strings.HasSuffix(host, suffix) && len(host) > len(suffix)
}

// wantedRoute is the hostname of the route that answers; false when none does. Of the routes whose hostname has something in
// common with the listener's, that whose own hostname is the most specific gets the request: an exact one, then the longest
// wildcard.
func wantedRoute(routes []string, listener, host string) (string, bool) {
	best, found := "", false
	for _, route := range routes {
		if !covers(listener, host) || !covers(route, host) {
			continue
		}
		rank := func(pattern string) int {
			if pattern != "" && !strings.HasPrefix(pattern, "*") {
				return 1000
			}
			return len(pattern)
		}
		if !found || rank(route) > rank(best) {
			best, found = route, true
		}
	}
	return best, found
}

// TestHostnamesOfListenersAndRoutes asks every listener for every host, and the routes for all that they have in common.
func TestHostnamesOfListenersAndRoutes(t *testing.T) {
	w := newWorld(t)
	var listeners []string
	for n, hostname := range listenerHosts {
		listeners = append(listeners, fmt.Sprintf(`{name: l%d, port: %d, protocol: HTTP%s}`, n, firstOfMany+n, field("hostname", hostname)))
	}
	w.write(t, manifest.Gateway(gatewayName, className, w.address, listeners...))
	for n, hostname := range routeHosts {
		w.write(t, hostRoute(fmt.Sprintf("r%d", n), hostname))
	}
	for n := range listenerHosts {
		for _, host := range askedHosts {
			for how, spell := range spellings {
				what := fmt.Sprintf("listener %q, host %s, %s", listenerHosts[n], host, how)
				eventually(t, 10*time.Second, what, func() error { return w.wrongHost(n, host, spell(host)) })
			}
		}
	}
	// A dot at the end is a character like others, as it is for Envoy Gateway: ClientTrafficPolicy has a field for that.
	if r := w.asks(1, "a.wild.test."); r.code != 404 {
		t.Errorf("a name with a dot at the end:\n%s", r)
	}
}

// field is a further one in YAML flow, unless it is empty.
func field(name, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf(", %s: %q", name, value)
}

// hostRoute answers with its own hostname.
func hostRoute(name, hostname string) manifest.Object {
	route := manifest.Route(name, gatewayName, hostname, fmt.Sprintf(`{backendRefs: [{name: a, port: 80}],
		filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Route, value: "of %s"}]}}]}`, cmp.Or(hostname, "all")))
	if hostname == "" {
		delete(route["spec"].(manifest.Object), "hostnames")
	}
	return route
}

func (w *world) asks(listener int, spelt string) *reply {
	client := newClient()
	defer client.CloseIdleConnections()
	return request{host: spelt, path: "/"}.send(client, w.port(firstOfMany+listener))
}

// wrongHost says what is wrong with the answer of a listener to a host.
func (w *world) wrongHost(listener int, host, spelt string) error {
	r := w.asks(listener, spelt)
	if route, found := wantedRoute(routeHosts, listenerHosts[listener], host); found {
		return all(r, code(200), header("X-Route", "of "+cmp.Or(route, "all")))
	}
	return all(r, code(404))
}

// TestServerNamesOfListeners is the same for names in TLS: the narrowest listener of the port shows its certificate.
func TestServerNamesOfListeners(t *testing.T) {
	hosts := []string{"", "*.wild.test", "a.wild.test", "*.b.wild.test", "xn--bcher-kva.test"}
	w := newWorld(t, anywhere("everywhere", gatewayName))
	var listeners []string
	for n, hostname := range hosts {
		name := fmt.Sprintf("l%d", n)
		w.write(t, tlsSecret(t, "default", name, "certificate of "+cmp.Or(hostname, "all"), 0))
		listeners = append(listeners, fmt.Sprintf(
			`{name: %s, port: %d, protocol: HTTPS%s, tls: {certificateRefs: [{name: %s}]}}`, name, tlsPort, field("hostname", hostname), name))
	}
	w.write(t, manifest.Gateway(gatewayName, className, w.address, listeners...))
	for asked, narrowest := range map[string]string{
		"a.wild.test": "a.wild.test", "z.wild.test": "*.wild.test", "y.z.wild.test": "*.wild.test", "b.wild.test": "*.wild.test",
		"c.b.wild.test": "*.b.wild.test", "d.c.b.wild.test": "*.b.wild.test", "wild.test": "", "awild.test": "",
		"xn--bcher-kva.test": "xn--bcher-kva.test", "x.xn--bcher-kva.test": "", "elsewhere.test": "",
	} {
		for how, spell := range spellings {
			name, _, _ := net.SplitHostPort(spell(asked))
			if name == "" {
				name = spell(asked)
			}
			eventually(t, 10*time.Second, asked+" "+how, func() error {
				r := request{host: spell(asked), path: "/", tls: true}.sendTo(name, w.tlsListener())
				if wanted := "certificate of " + cmp.Or(narrowest, "all"); r.err == nil && r.certificate != wanted {
					return fmt.Errorf("want %q, got %q", wanted, r.certificate)
				}
				return all(r, code(200), from("a"))
			})
		}
	}
}

// TestServerNamesOfStreams is the same for TLSRoutes: connections are told apart by their server name alone. Who has no route is
// not served.
func TestServerNamesOfStreams(t *testing.T) {
	w := newWorld(t, certificate(t, "streams"))
	routes := routeHosts[1:] // those of this kind must have a hostname
	var listeners []string
	for n, hostname := range listenerHosts {
		listeners = append(listeners, fmt.Sprintf(`{name: l%d, port: %d, protocol: TLS%s, tls: {mode: Terminate, certificateRefs: [{name: %s}]}}`,
			n, firstOfMany+n, field("hostname", hostname), secretName))
	}
	w.write(t, manifest.Gateway(gatewayName, className, w.address, listeners...))
	for n, hostname := range routes {
		name := fmt.Sprintf("stream-%d", n)
		w.write(t, manifest.Service(name), manifest.Slice(name, backendPort, w.backend(t, hostname, 50+n)), manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: %s, namespace: default}
spec:
  parentRefs: [{name: %s}]
  hostnames: [%q]
  rules: [{backendRefs: [{name: %s, port: 80}]}]`, name, gatewayName, hostname, name))
	}
	// Those that are served come first: before a listener is there, it serves nobody.
	for _, served := range []bool{true, false} {
		for n, listener := range listenerHosts {
			for _, name := range askedHosts[:len(askedHosts)-1] { // an address is no server name
				if route, found := wantedRoute(routes, listener, name); found == served {
					w.mustStream(t, n, name, route, found)
					w.mustStream(t, n, strings.ToUpper(name), route, found)
				}
			}
		}
	}
}

func (w *world) mustStream(t *testing.T, listener int, name, route string, found bool) {
	t.Helper()
	eventually(t, 10*time.Second, fmt.Sprintf("listener %q, server name %s", listenerHosts[listener], name), func() error {
		r := request{host: "any.test", path: "/", tls: true}.sendTo(name, w.port(firstOfMany+listener))
		if found {
			return all(r, code(200), from(route))
		}
		return refused(r)
	})
}

// TestHostnamesThatAreNoHostnames puts what the specification's schema refuses into one object: its file is refused with the
// field and the value, and nobody else notices.
func TestHostnamesThatAreNoHostnames(t *testing.T) {
	w := newWorld(t, marked("good", 0))
	w.awaitReply(t, 10*time.Second, "the route", request{host: host("good"), path: "/"}, status(200))
	for n, hostname := range []string{"bücher.test", "*.bücher.test", "UPPER.test", "a.*.test", "*", "127.0.0.1 ", "a..test", "a.test.", "a.test:80", "::1"} {
		bad := manifest.Route("bad", gatewayName, hostname, `{backendRefs: [{name: a, port: 80}]}`)
		w.write(t, bad)
		eventually(t, 2*time.Second, fmt.Sprintf("a complaint about %q", hostname), func() error {
			problems := w.problems(t)
			if !strings.Contains(problems, "spec.hostnames[0]") || !strings.Contains(problems, manifest.FileName(bad)) ||
				!strings.Contains(problems, strings.TrimSpace(hostname)) {
				return fmt.Errorf("problems are %s", problems)
			}
			return nil
		})
		mustBeEditable(t, w, "good", n+1)
	}
	t.Log(w.problems(t))
	gateway := manifest.Gateway("bad", className, w.otherAddress(2), fmt.Sprintf(`{name: http, port: %d, protocol: HTTP, hostname: bücher.test}`, listenerPort))
	w.write(t, gateway, marked("bad", 0))
	eventually(t, 2*time.Second, "a complaint about the Gateway", func() error {
		if problems := w.problems(t); !strings.Contains(problems, "spec.listeners[0].hostname") || strings.Contains(problems, "spec.hostnames") {
			return fmt.Errorf("problems are %s", problems)
		}
		return nil
	})
	w.awaitReply(t, time.Second, "the mended route", request{host: host("bad"), path: "/"}, status(200))
	w.awaitDocument(t, time.Second, "the bad Gateway does not exist", func(d *gatehouse.Document) error {
		if object := d.Find("Gateway", "default", "bad"); object != nil {
			return fmt.Errorf("%+v", object)
		}
		return nil
	})
	// Bytes that are no host's are answered, not passed on, and do no harm.
	if code := rawStatus(t, w.listener(), "GET / HTTP/1.1\r\nHost: b\xc3\xbccher.test\r\nConnection: close\r\n\r\n"); code != 400 && code != 404 {
		t.Errorf("a host of other bytes is answered %d", code)
	}
	mustBeEditable(t, w, "good", 100)
}

// problems are those of the files, as the admin interface tells them.
func (w *world) problems(t *testing.T) string {
	t.Helper()
	response, err := http.Get("http://" + w.Admin + "/debug/problems")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// rawStatus sends bytes and reads the status of the answer.
func rawStatus(t *testing.T, address, text string) int {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	var minor, code int
	if _, err := fmt.Fscanf(conn, "HTTP/1.%d %d", &minor, &code); err != nil {
		t.Fatal(err)
	}
	return code
}
