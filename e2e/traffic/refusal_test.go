package traffic

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// TestRegularExpressionsAreServedOrComplainedAbout uses Go's regexp as the oracle: it accepts what RE2
// accepts (`\C` apart). A mistake must show on its own route within two seconds, a good one must be served, and
// no other route may wait for either.
func TestRegularExpressionsAreServedOrComplainedAbout(t *testing.T) {
	w := newWorld(t)
	for n, expression := range []string{
		"/((", "/x{1000}", "/x{1001}", "/(x{100}){100}", "/x**", `/\1`, "/(?=x)x", `/\p{Greek}?x`, `/\p{Klingon}x`,
		"/(?i)X", "/(?P<name>x)", "/[[:alpha:]]", "/[[:nonsense:]]", "/[z-a]", "/x{2,1}", `/\Qx\E`, "/x|", "/(?s).*",
		`/\d+\z`, "/x*+", "/[a&&b]x?", `/\u0041`, "/(?x) x", "/[a--b]?x?", `/x\`,
	} {
		_, invalid := regexp.Compile(expression)
		name := fmt.Sprintf("regex-%d", n)
		w.write(t, manifest.Route(name, gatewayName, host(name), fmt.Sprintf(
			`{matches: [{path: {type: RegularExpression, value: %q}}], backendRefs: [{name: a, port: 80}]}`, expression)))
		if invalid != nil {
			w.awaitStatus(t, 2*time.Second, fmt.Sprintf("a complaint about %q (%v)", expression, invalid), "HTTPRoute", name, hasComplaint)
		} else {
			w.awaitStatus(t, 2*time.Second, fmt.Sprintf("%q is accepted", expression), "HTTPRoute", name,
				func(c map[string]gatehouse.Condition) bool { return c["Accepted"].Status == "True" && !hasComplaint(c) })
		}
		mustBeEditable(t, w, "good", n)
	}
}

// TestOccupiedPortHoldsNobody gives a listener a port that another program has. Only the proxy can know,
// so this is a refusal in Envoy's own words.
func TestOccupiedPortHoldsNobody(t *testing.T) {
	w := newWorld(t, marked("good", 0))
	w.awaitReply(t, 10*time.Second, "the route", request{host: host("good"), path: "/"}, status(200))
	const occupied = listenerPort + 5
	other, err := net.Listen("tcp", fmt.Sprintf("%s:%d", w.address, occupied))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	w.write(t, manifest.Gateway(gatewayName, className, w.address, httpListener,
		fmt.Sprintf(`{name: occupied, port: %d, protocol: HTTP}`, occupied)))
	for edit := range 5 {
		mustBeEditable(t, w, "good", edit+1)
	}
	w.awaitProgrammed(t, 2*time.Second, "occupied", "False", "bind")
	if condition := listenerCondition(w, "http", "Programmed"); condition.Status != "True" {
		t.Errorf("the good listener is not programmed: %+v", condition)
	}
	w.write(t, manifest.Gateway(gatewayName, className, w.address, httpListener,
		fmt.Sprintf(`{name: occupied, port: %d, protocol: HTTP}`, occupied+1)))
	w.awaitReply(t, time.Second, "the good listener after the bad one was mended",
		request{host: host("good"), path: "/"}, status(200))
	w.awaitStatus(t, 2*time.Second, "the Gateway is programmed again", "Gateway", gatewayName,
		func(c map[string]gatehouse.Condition) bool { return c["Programmed"].Status == "True" })
}

// TestRefusedCertificateHoldsNobody gives a listener a certificate whose key may not be used for TLS. It belongs
// to its key and can be read, so that only Envoy says no.
func TestRefusedCertificateHoldsNobody(t *testing.T) {
	w := newWorld(t, marked("good", 0), certificate(t, "first"))
	w.write(t, manifest.Gateway(gatewayName, className, w.address, httpListener, httpsListener))
	w.awaitProgrammed(t, 10*time.Second, "https", "True", "")
	serves := func(wanted string) {
		t.Helper()
		client := newClient()
		defer client.CloseIdleConnections()
		r := request{host: host("good"), path: "/", tls: true}.send(client, w.tlsListener())
		if r.code != 200 || r.certificate != wanted {
			t.Errorf("want 200 with certificate %q:\n%s", wanted, r)
		}
	}
	serves("first")

	w.write(t, certificateFor(t, "refused", x509.KeyUsageCertSign))
	w.awaitProgrammed(t, 2*time.Second, "https", "False", "refused by the proxy: ")
	t.Log(listenerCondition(w, "https", "Programmed").Message)
	serves("first")
	mustBeEditable(t, w, "good", 1)
	if condition := listenerCondition(w, "http", "Programmed"); condition.Status != "True" {
		t.Errorf("the other listener is not programmed: %+v", condition)
	}

	w.write(t, certificate(t, "mended"))
	w.awaitProgrammed(t, 2*time.Second, "https", "True", "")
	w.awaitCertificate(t, "mended")
	mustBeEditable(t, w, "good", 2)
}

// awaitCertificate waits until new connections get a certificate of this common name.
func (w *world) awaitCertificate(t *testing.T, wanted string) {
	t.Helper()
	var last *reply
	for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(10 * time.Millisecond) {
		client := newClient()
		last = request{host: host("good"), path: "/", tls: true}.send(client, w.tlsListener())
		client.CloseIdleConnections()
		if last.certificate == wanted {
			return
		}
	}
	t.Fatalf("certificate %q is not served; last reply:\n%s", wanted, last)
}

// awaitProgrammed waits until a listener's Programmed has a status, with a text in its message.
func (w *world) awaitProgrammed(t *testing.T, limit time.Duration, listener, status, text string) {
	t.Helper()
	var last gatehouse.Condition
	for began := time.Now(); time.Since(began) < limit; time.Sleep(10 * time.Millisecond) {
		last = listenerCondition(w, listener, "Programmed")
		if last.Status == status && strings.Contains(last.Message, text) {
			return
		}
	}
	t.Fatalf("not within %s: listener %s with Programmed=%s and %q; last: %+v", limit, listener, status, text, last)
}

// listenerCondition reads a condition of one of the Gateway's listeners.
func listenerCondition(w *world, listener, kind string) gatehouse.Condition {
	document, err := w.Status(context.Background())
	if err != nil {
		return gatehouse.Condition{}
	}
	return document.Find("Gateway", "default", gatewayName).Listeners()[listener].Conditions[kind]
}
