// Package traffic proves that gatehouse loses no request: real gatehouse, real Envoy, real clients,
// files that change all the time.
package traffic

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse.dev/e2e/echo"
	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

const (
	className   = "gatehouse"
	gatewayName = "gw"
	// Listeners use unprivileged ports; port maps are the conformance test's business.
	listenerPort = 10080
	backendPort  = 3000
)

// tlsHost is the name that HTTPS clients ask for.
var tlsHost = host("certificate")

// world is one gatehouse on one folder, with backends.
type world struct {
	*gatehouse.Process
	dir     manifest.Dir
	address string
}

// Every world has addresses of its own, so that no test meets the remains of another.
var worlds atomic.Int32

// newWorld starts gatehouse with a Gateway, the backends a and b, and further objects.
func newWorld(t *testing.T, objects ...manifest.Object) *world {
	t.Helper()
	n := worlds.Add(1)
	w := &world{dir: manifest.Dir(t.TempDir()), address: fmt.Sprintf("127.40.%d.1", n)}
	w.write(t,
		manifest.Class(className, gatehouse.ControllerName),
		manifest.Gateway(gatewayName, className, w.address, httpListener),
	)
	for i, name := range []string{"a", "b"} {
		w.write(t, manifest.Service(name), manifest.Slice(name, backendPort, w.backend(t, name, i)))
	}
	w.write(t, objects...)
	w.Process = gatehouse.Start(t, gatehouse.Options{Dir: string(w.dir)})
	return w
}

var httpListener = fmt.Sprintf(`{name: http, port: %d, protocol: HTTP}`, listenerPort)

// backend starts an echo server that marks its answers and returns its address.
func (w *world) backend(t *testing.T, name string, index int) string {
	t.Helper()
	ip := net.ParseIP(w.address).To4()
	address := fmt.Sprintf("127.41.%d.%d", ip[2], index+1)
	server, err := echo.Start(echo.Config{
		IP: address, HTTPPort: backendPort, HTTP2: true, Pod: name, Header: map[string]string{"X-Backend": name},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return address
}

func (w *world) write(t testing.TB, objects ...manifest.Object) {
	t.Helper()
	for _, object := range objects {
		if err := w.dir.Write(object); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) remove(t testing.TB, object manifest.Object) {
	t.Helper()
	if err := w.dir.Remove(object); err != nil {
		t.Fatal(err)
	}
}

// otherAddress is a further address for Gateways; the world's own is the first.
func (w *world) otherAddress(n int) string {
	return fmt.Sprintf("%s.%d", strings.TrimSuffix(w.address, ".1"), n)
}

// listener is the host:port of the Gateway's main listener.
func (w *world) listener() string { return fmt.Sprintf("%s:%d", w.address, listenerPort) }

// awaitReply polls until a reply satisfies the condition; it returns how long that took.
func (w *world) awaitReply(t testing.TB, limit time.Duration, what string, q request, wanted func(*reply) bool) time.Duration {
	t.Helper()
	client := newClient()
	defer client.CloseIdleConnections()
	began := time.Now()
	var last *reply
	for time.Since(began) < limit {
		last = q.send(client, w.listener())
		if wanted(last) {
			return time.Since(began)
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("not within %s: %s; last reply:\n%s", limit, what, last)
	return 0
}

// awaitStatus polls the statuses until a condition on an object holds.
func (w *world) awaitStatus(t testing.TB, limit time.Duration, what, kind, name string, wanted func(map[string]gatehouse.Condition) bool) {
	t.Helper()
	var last map[string]gatehouse.Condition
	for began := time.Now(); time.Since(began) < limit; time.Sleep(10 * time.Millisecond) {
		document, err := w.Status(context.Background())
		if err != nil {
			continue
		}
		namespace := "default"
		if kind == "GatewayClass" {
			namespace = ""
		}
		last = document.Find(kind, namespace, name).Conditions()
		if wanted(last) {
			return
		}
	}
	t.Fatalf("not within %s: %s; last conditions of %s %s: %+v", limit, what, kind, name, last)
}

// eventually polls until nothing is wrong; it returns how long that took.
func eventually(t testing.TB, limit time.Duration, what string, wrong func() error) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := wrong()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > limit {
			t.Fatalf("not within %s: %s: %v", limit, what, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// awaitDocument polls the statuses until nothing is wrong with them.
func (w *world) awaitDocument(t testing.TB, limit time.Duration, what string, wrong func(*gatehouse.Document) error) {
	t.Helper()
	eventually(t, limit, what, func() error {
		document, err := w.Status(context.Background())
		if err != nil {
			return err
		}
		return wrong(document)
	})
}

func status(code int) func(*reply) bool {
	return func(r *reply) bool { return r.err == nil && r.code == code }
}

// connections counts the connections that a client opened.
type connections struct{ opened atomic.Int32 }

func (c *connections) dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err == nil {
		c.opened.Add(1)
	}
	return conn, err
}

func newClient() *http.Client {
	client, _ := newCountingClient()
	return client
}

func newCountingClient() (*http.Client, *connections) {
	count := &connections{}
	return &http.Client{
		Timeout: 20 * time.Second,
		Transport: &http.Transport{
			DialContext: count.dial, MaxIdleConnsPerHost: 4, DisableCompression: true,
			// Certificates are self-signed; tests look at which one came.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: tlsHost},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, count
}

func transport(client *http.Client) *http.Transport { return client.Transport.(*http.Transport) }
