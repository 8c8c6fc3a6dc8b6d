package traffic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
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
	const tlsPort = listenerPort + 2
	w.write(t, manifest.Gateway(gatewayName, className, w.address, httpListener, fmt.Sprintf(
		`{name: https, port: %d, protocol: HTTPS, tls: {certificateRefs: [{name: late-secret}]}}`, tlsPort)))
	for edit := range 5 {
		mustBeEditable(t, w, "good", edit)
	}
	w.write(t, certificate(t, "late-secret", host("good")))
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: host("good")},
	}}
	deadline := time.Now().Add(2 * time.Second)
	for {
		httpRequest, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("https://%s:%d/", w.address, tlsPort), nil)
		httpRequest.Host = host("good")
		response, err := client.Do(httpRequest)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				break
			}
			err = fmt.Errorf("status %s", response.Status)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the secret came, but after 2 s HTTPS still fails: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	mustBeEditable(t, w, "good", 9)
}

// certificate is a self-signed Secret.
func certificate(t *testing.T, name, hostname string) manifest.Object {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{hostname},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return manifest.Parse(`
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: %s, namespace: default}
data: {tls.crt: %s, tls.key: %s}`, name, block("CERTIFICATE", public), block("PRIVATE KEY", encoded))
}
