package traffic

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

//go:embed testdata/names.yaml
var longNames string

// TestNamesAsLongAsTheyMayBe has names of 253 characters wherever they may have so many, and a hostname as long.
func TestNamesAsLongAsTheyMayBe(t *testing.T) {
	label := strings.Repeat("n", 63)
	long := strings.Join([]string{label, label, label, strings.Repeat("n", 61)}, ".")
	asked := strings.ReplaceAll(long, "n", "h")
	if len(long) != 253 {
		t.Fatalf("%d characters", len(long))
	}
	w := newWorld(t, tlsSecret(t, label, long, "long", 0))
	address := w.otherAddress(2)
	replace := strings.NewReplacer("LONG", long, "LABEL", label, "HOST", asked, "ADDRESS", address, "BACKEND", w.backend(t, "long", 10))
	w.write(t, manifest.All(replace.Replace(longNames))...)

	for port, secure := range map[int]bool{10080: false, 10082: true, 10083: true} {
		q := request{host: asked, path: "/", tls: secure}
		eventually(t, 10*time.Second, fmt.Sprintf("port %d", port), func() error {
			r := q.sendTo(asked, fmt.Sprintf("%s:%d", address, port))
			if secure && r.err == nil && r.certificate != "long" {
				return fmt.Errorf("certificate %q", r.certificate)
			}
			return all(r, code(200), from("long"))
		})
	}
	good := func(what string, c map[string]gatehouse.Condition, kinds ...string) error {
		for _, kind := range kinds {
			if c[kind].Status != "True" {
				return fmt.Errorf("%s: %+v", what, c)
			}
		}
		return nil
	}
	w.awaitDocument(t, 2*time.Second, "all statuses are good", func(d *gatehouse.Document) error {
		for _, kind := range []string{"Gateway", "ListenerSet"} {
			object := d.Find(kind, label, long)
			if err := good(kind, object.Conditions(), "Accepted", "Programmed"); err != nil {
				return err
			}
			listener := object.Listeners()[long]
			if err := good("listener of "+kind, listener.Conditions, "Accepted", "Programmed", "ResolvedRefs"); err != nil {
				return err
			}
			if listener.AttachedRoutes != 1 {
				return fmt.Errorf("listener of %s has %d routes", kind, listener.AttachedRoutes)
			}
		}
		parents := d.Find("HTTPRoute", label, long).Parents()
		if len(parents) != 3 {
			return fmt.Errorf("parents %v", parents)
		}
		for parent, conditions := range parents {
			if err := good(parent, conditions, "Accepted", "ResolvedRefs"); err != nil {
				return err
			}
		}
		return good("GatewayClass", d.Find("GatewayClass", "", long).Conditions(), "Accepted")
	})
}
