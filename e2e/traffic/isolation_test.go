package traffic

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// marked is a route that says which edit it is at.
func marked(name string, edit int) manifest.Object {
	return manifest.Route(name, gatewayName, host(name), fmt.Sprintf(`{backendRefs: [{name: a, port: 80}],
		filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Edit, value: "%d"}]}}]}`, edit))
}

// mustBeEditable edits a route and expects the edit to be served within a second.
func mustBeEditable(t *testing.T, w *world, name string, edit int) {
	t.Helper()
	w.write(t, marked(name, edit))
	w.awaitReply(t, time.Second, fmt.Sprintf("edit %d of %s", edit, name),
		request{host: host(name), path: "/"},
		func(r *reply) bool { return r.code == 200 && r.header.Get("X-Edit") == fmt.Sprint(edit) })
}

// TestBrokenRuleAmongAThousandHoldsNobody breaks the regular expression of one route of a thousand.
func TestBrokenRuleAmongAThousandHoldsNobody(t *testing.T) {
	const count = 1000
	var routes []manifest.Object
	for n := range count {
		routes = append(routes, marked(fmt.Sprintf("r%d", n), 0))
	}
	w := newWorld(t, routes...)
	last := fmt.Sprintf("r%d", count-1)
	w.awaitReply(t, 30*time.Second, "a thousand routes", request{host: host(last), path: "/"}, status(200))
	mustBeEditable(t, w, "r1", 1)

	w.write(t, manifest.Route("r500", gatewayName, host("r500"),
		`{matches: [{path: {type: RegularExpression, value: "/(("}}], backendRefs: [{name: a, port: 80}]}`))
	w.awaitStatus(t, 2*time.Second, "the broken route says so", "HTTPRoute", "r500", hasComplaint)
	for edit, name := range []string{"r1", "r499", "r501", last} {
		mustBeEditable(t, w, name, edit+10)
	}
	w.write(t, marked("new", 1))
	mustBeEditable(t, w, "new", 2)

	mustBeEditable(t, w, "r500", 3)
	w.awaitStatus(t, 2*time.Second, "the mended route is clear again", "HTTPRoute", "r500",
		func(c map[string]gatehouse.Condition) bool { return len(c) > 0 && !hasComplaint(c) })
}

// hasComplaint is true when some condition is not as it is on a good route, and tells why.
func hasComplaint(conditions map[string]gatehouse.Condition) bool {
	for kind, condition := range conditions {
		bad := "False"
		if strings.HasSuffix(kind, "PartiallyInvalid") {
			bad = "True"
		}
		if condition.Status == bad && condition.Message != "" {
			return true
		}
	}
	return false
}

func TestServiceWithoutEndpointsHoldsNobody(t *testing.T) {
	w := newWorld(t, manifest.Service("empty"), manifest.Slice("empty", backendPort),
		manifest.Route("lost", gatewayName, host("lost"), `{backendRefs: [{name: empty, port: 80}]}`))
	w.awaitReply(t, 10*time.Second, "no endpoint", request{host: host("lost"), path: "/"}, status(503))
	for edit := range 5 {
		mustBeEditable(t, w, "good", edit)
	}
	w.write(t, manifest.Slice("empty", backendPort, w.backend(t, "late", 20)))
	w.awaitReply(t, time.Second, "the endpoint that came", request{host: host("lost"), path: "/"}, status(200))
}

func TestMissingSecretHoldsNobody(t *testing.T) {
	w := newWorld(t)
	w.write(t, manifest.Gateway(gatewayName, className, w.address, httpListener, httpsListener))
	for edit := range 5 {
		mustBeEditable(t, w, "good", edit)
	}
	w.write(t, certificate(t, "late"))
	client := newClient()
	defer client.CloseIdleConnections()
	q := request{host: host("good"), path: "/", tls: true}
	var last *reply
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
		last = q.send(client, w.tlsListener())
		if last.code == 200 {
			break
		}
	}
	if last.code != 200 || last.certificate != "late" {
		t.Fatalf("the secret came, but not within 2 s HTTPS:\n%s", last)
	}
	mustBeEditable(t, w, "good", 9)
}
