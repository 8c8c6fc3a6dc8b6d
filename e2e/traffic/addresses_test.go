package traffic

import (
	_ "embed"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/echo"
	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

//go:embed testdata/addresses.yaml
var bothFamilies string

// TestBothFamiliesOfAddresses has a Gateway on ::1 and on an IPv4 address, with backends of both families, and clients who
// call it by its IPv6 address.
func TestBothFamiliesOfAddresses(t *testing.T) {
	w := newWorld(t, certificate(t, "both"))
	six, err := echo.Start(echo.Config{IP: "::1", HTTPPort: 3906, Pod: "six", Header: map[string]string{"X-Backend": "six"}})
	if err != nil {
		t.Fatalf("these tests need IPv6 on the loopback device: %v", err)
	}
	t.Cleanup(six.Close)
	four := w.otherAddress(2)
	w.write(t, manifest.All(strings.NewReplacer("ADDRESS", four, "BACKEND", w.backend(t, "four", 10)).Replace(bothFamilies))...)

	for _, address := range []string{"::1", four} {
		for _, path := range []string{"/service", "/backend"} {
			w.awaitAt(t, net.JoinHostPort(address, "10091"), request{host: "any.test", path: path}, from("six"))
		}
		for _, backend := range []string{"six", "four"} {
			w.awaitAt(t, net.JoinHostPort(address, "10091"), request{host: "any.test", path: "/dual"}, from(backend))
		}
	}
	for _, host := range []string{"[::1]", "[::1]:8080", "[::1]:10091", "[0:0:0:0:0:0:0:1]:1"} {
		w.awaitAt(t, "[::1]:10091", request{host: host, path: "/service"}, func(r *reply) error {
			if got := r.seen(); got.Host != host || strings.Join(got.Headers["X-Envoy-External-Address"], " ") != "::1" {
				return fmt.Errorf("the backend saw host %q and %v", got.Host, got.Headers)
			}
			return nil
		})
		bare := host[:strings.Index(host, "]")+1]
		for path, wanted := range map[string]string{"/itself": "http://" + bare + ":10091/service", "/secure": "https://" + bare + ":10092/secure"} {
			r := request{host: host, path: path}.sendTo("", "[::1]:10091")
			if err := all(r, code(http.StatusFound), header("Location", wanted)); err != nil {
				t.Errorf("%v\n%s", err, r)
			}
		}
	}
	// An address is no server name: such clients meet the listener without a hostname.
	w.awaitAt(t, "[::1]:10092", request{host: "[::1]:10092", path: "/service", tls: true}, from("six"))
	w.awaitAt(t, "[::1]:10093", request{host: "[::1]:10093", path: "/service"}, from("six"))
	w.awaitDocument(t, 2*time.Second, "addresses and claims are told", wrongAddresses)
}

// awaitAt asks an address until the answer is as expected; clients name no server.
func (w *world) awaitAt(t *testing.T, address string, q request, expected expectation) {
	t.Helper()
	eventually(t, 10*time.Second, address+" "+q.host+q.path, func() error { return all(q.sendTo("", address), code(200), expected) })
}

func wrongAddresses(d *gatehouse.Document) error {
	both, late := d.Find("Gateway", "default", "both"), d.Find("Gateway", "default", "late")
	if text := fmt.Sprint(both.Status["addresses"]); !strings.Contains(text, "value:::1]") || !strings.Contains(text, "value:127.") {
		return fmt.Errorf("addresses are %s", text)
	}
	for name, listener := range both.Listeners() {
		if listener.Conditions["Programmed"].Status != "True" {
			return fmt.Errorf("listener %s: %+v", name, listener)
		}
	}
	if taken := late.Listeners()["taken"].Conditions["Accepted"]; taken.Status != "False" || taken.Reason != "PortUnavailable" {
		return fmt.Errorf("the taken port: %+v", taken)
	}
	if free := late.Listeners()["free"].Conditions["Programmed"]; free.Status != "True" {
		return fmt.Errorf("the free port: %+v", free)
	}
	return nil
}
