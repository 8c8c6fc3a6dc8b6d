package traffic

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/manifest"
)

//go:embed testdata/rights.yaml
var rightsWorld string

// TestWithdrawnRightsEndWithinASecond deletes grants and removes labels of namespaces under load: what they allowed is served
// for another second at most, whoever needs no such right never notices, and a right that returns is served again.
func TestWithdrawnRightsEndWithinASecond(t *testing.T) {
	w := newWorld(t)
	w.write(t, tlsSecret(t, "vault", secretName, "vault", 0))
	w.write(t, manifest.All(strings.ReplaceAll(rightsWorld, "ADDRESS", w.address))...)
	withdrawn := rights(t, w)
	steady := &scenario{
		name: "needs no right", address: w.port(10086), request: plainRequest("steady"),
		objects: func(int) ([]manifest.Object, []manifest.Object) { return nil, nil },
		check:   func(_ int, r *reply) error { return all(r, code(200), from("a")) },
	}
	scenarios := append([]*scenario{steady}, withdrawn...)
	for _, s := range scenarios {
		s.edit(t, w)
	}
	settleAll(t, w, scenarios, 10*time.Second)
	l := startLoad(w, scenarios)
	for range 4 {
		for _, s := range withdrawn {
			began := time.Now()
			s.edit(t, w)
			settleAll(t, w, []*scenario{s}, 2*time.Second)
			t.Logf("%s, %s: served %s after it was written", s.name, []string{"withdrawn", "given"}[s.version%2], time.Since(began))
		}
		// Nothing of the version before is excused now, and the clients go on asking.
		l.hold(grace)
	}
	l.end(t)
}

// rights are those that are given in even versions, and what remains without them.
func rights(t *testing.T, w *world) []*scenario {
	granted := grant(w.backend(t, "granted", 34))
	return []*scenario{
		granted,
		right(w, "certificate of a Gateway", 10082, true, referenceGrant("Gateway", "default"), nil, refused),
		right(w, "certificate of a ListenerSet", 10085, true, referenceGrant("ListenerSet", "tenant"), nil, refused),
		right(w, "label of a route's namespace", 10083, false, namespace("labelled", "attach"), namespace("labelled", "nothing"),
			func(r *reply) error { return all(r, code(404)) }),
		right(w, "label of a ListenerSet's namespace", 10084, false, namespace("listening", "listen"), namespace("listening", "nothing"),
			// Kept connections may end a little later, but nothing is behind them any more.
			func(r *reply) error {
				if r.err != nil {
					return nil
				}
				return all(r, code(404))
			}),
	}
}

// right is an object that a listener's requests need: without it, or with the other in its place, they end otherwise.
func right(w *world, name string, port int, secure bool, given, otherwise manifest.Object, ended expectation) *scenario {
	return &scenario{
		name: name, address: w.port(port), fresh: secure, reconnects: true,
		request: func(int) request { return request{host: tlsHost, path: "/", tls: secure} },
		objects: func(version int) (present, absent []manifest.Object) {
			switch {
			case isPresent(version):
				return []manifest.Object{given}, nil
			case otherwise != nil:
				return []manifest.Object{otherwise}, nil
			default:
				return nil, []manifest.Object{given}
			}
		},
		check: func(version int, r *reply) error {
			if isPresent(version) {
				return all(r, code(200), from("a"))
			}
			return ended(r)
		},
		// A listener comes before its routes, and goes after them.
		between: func(r *reply) bool { return r.err != nil || r.code == 404 },
	}
}

func referenceGrant(kind, namespace string) manifest.Object {
	return manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: %s, namespace: vault}
spec:
  from: [{group: gateway.networking.k8s.io, kind: %s, namespace: %s}]
  to: [{group: "", kind: Secret}]`, strings.ToLower(kind), kind, namespace)
}

func namespace(name, may string) manifest.Object {
	return manifest.Parse(`{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {may: %s}}}`, name, may)
}

// port is the host:port of a listener with this port.
func (w *world) port(port int) string { return fmt.Sprintf("%s:%d", w.address, port) }
