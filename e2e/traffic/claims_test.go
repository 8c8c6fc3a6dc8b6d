package traffic

import (
	_ "embed"
	"fmt"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

//go:embed testdata/claims.yaml
var claimants string

// owner declares a listener.
type owner struct{ kind, namespace, name string }

// claim is a hostname or port that two owners want. In even versions the first is there and has it, in odd ones the second.
type claim struct {
	name          string
	first, second owner
	// object is the first owner with the listener, without its counterpart that lacks it, unless it then does not exist.
	object, without manifest.Object
	reason          string
}

// TestListenersThatWantTheSame has a Gateway and its ListenerSets claim the same hostnames and ports. The Gateway comes first,
// then the older set, then the one whose namespace and name come first; who loses says so, and serves as soon as the winner
// has gone. No other listener notices.
func TestListenersThatWantTheSame(t *testing.T) {
	w := newWorld(t, manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: sets, namespace: default}
spec:
  from:
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: x}
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: u}
    - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: z}
  to: [{group: "", kind: Service, name: a}]`), certificate(t, "secure"))
	w.write(t, manifest.All(claimants)...)
	claims := w.claims()
	var scenarios []*scenario
	for _, c := range claims {
		w.write(t, c.first.route(c.name), c.second.route(c.name))
		scenarios = append(scenarios, c.scenario(w))
	}
	scenarios[len(scenarios)-1] = claims[len(claims)-1].protocols(w)
	steady := append(scenarios, w.bystander("http", w.listener()), w.bystander("hostname", w.port(10083)))
	for _, s := range steady {
		s.edit(t, w)
	}
	settleAll(t, w, withAlso(steady), 10*time.Second)
	l := startLoad(w, withAlso(steady))
	for range 4 {
		for _, s := range scenarios {
			began := time.Now()
			s.edit(t, w)
			settleAll(t, w, withAlso([]*scenario{s}), 2*time.Second)
			t.Logf("%s: the other one serves after %s", s.name, time.Since(began))
		}
		version := scenarios[0].version - 1
		w.awaitDocument(t, 2*time.Second, "statuses follow", func(d *gatehouse.Document) error { return wrongClaims(d, claims, version) })
		// Nothing of the version before is excused now.
		l.hold(grace)
	}
	l.end(t)
}

func (w *world) claims() []claim {
	gateway := func(more ...string) manifest.Object {
		listeners := append([]string{httpListener, `{name: bystander, port: 10083, protocol: HTTP, hostname: bystander.test}`}, more...)
		object := manifest.Gateway(gatewayName, className, w.address, listeners...)
		object["spec"].(manifest.Object)["allowedListeners"] = manifest.Parse(`{namespaces: {from: All}}`)
		return object
	}
	own := owner{"Gateway", "default", gatewayName}
	set := func(namespace, name string) owner { return owner{"ListenerSet", namespace, name} }
	elder, twin, plain := set("u", "elder"), set("u", "b"), set("default", "plain")
	return []claim{
		{"gateway-first", own, set("x", "second"),
			gateway(`{name: gateway-first, port: 10083, protocol: HTTP, hostname: gateway-first.test}`), gateway(), "HostnameConflict"},
		{"older-first", elder, set("x", "younger"),
			elder.set("2026-01-02", `{name: older-first, port: 10083, protocol: HTTP, hostname: older-first.test}`), nil, "HostnameConflict"},
		{"names", twin, set("z", "a"),
			twin.set("2026-01-02", `{name: names, port: 10083, protocol: HTTP, hostname: names.test}`), nil, "HostnameConflict"},
		{"protocols", plain, set("default", "secure"),
			plain.set("2026-01-02", `{name: protocols, port: 10084, protocol: HTTP}`), nil, "ProtocolConflict"},
	}
}

func (o owner) set(day, listener string) manifest.Object {
	return manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: %s, namespace: %s, creationTimestamp: "%sT00:00:00Z"}
spec: {parentRef: {name: gw, namespace: default}, listeners: [%s]}`, o.name, o.namespace, day, listener)
}

func (o owner) String() string { return o.kind + "." + o.namespace + "." + o.name }

// route answers with the name of the owner.
func (o owner) route(section string) manifest.Object {
	return manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: %s}
spec:
  parentRefs: [{kind: %s, name: %s, sectionName: %s}]
  rules:
    - backendRefs: [{name: a, namespace: default, port: 80}]
      filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Owner, value: "%s"}]}}]`,
		section+"-"+o.name, o.namespace, o.kind, o.name, section, o)
}

func (c claim) scenario(w *world) *scenario {
	return &scenario{
		name: c.name, address: w.port(10083),
		request: func(int) request { return request{host: c.name + ".test", path: "/"} },
		objects: func(version int) (present, absent []manifest.Object) {
			switch {
			case isPresent(version):
				return []manifest.Object{c.object}, nil
			case c.without != nil:
				return []manifest.Object{c.without}, nil
			default:
				return nil, []manifest.Object{c.object}
			}
		},
		check: func(version int, r *reply) error {
			return all(r, code(200), header("X-Owner", fmt.Sprint([]owner{c.first, c.second}[version%2])))
		},
	}
}

// protocols has clients of both protocols, each of whom is served in turn.
func (c claim) protocols(w *world) *scenario {
	client := func(name string, secure bool, serves int) *scenario {
		s := c.scenario(w)
		s.name, s.address, s.fresh = name, w.port(10084), true
		s.request = func(int) request { return request{host: tlsHost, path: "/", tls: secure} }
		served := s.check
		s.check = func(version int, r *reply) error {
			if version%2 == serves {
				return served(version, r)
			}
			return refused(r)
		}
		// The routes of a listener leave before it does.
		s.between = func(r *reply) bool { return r.err != nil || r.code == 404 }
		return s
	}
	s := client(c.name, false, 0)
	s.also = []*scenario{client(c.name+" over TLS", true, 1)}
	return s
}

// bystander asks a listener that has no part in any claim.
func (w *world) bystander(name, address string) *scenario {
	asked := "bystander.test"
	return &scenario{
		name: "bystander-" + name, address: address,
		request: func(int) request { return request{host: asked, path: "/"} },
		objects: func(int) ([]manifest.Object, []manifest.Object) {
			return []manifest.Object{manifest.Route("bystander", gatewayName, asked, `{backendRefs: [{name: a, port: 80}]}`)}, nil
		},
		check: func(_ int, r *reply) error { return all(r, code(200), from("a")) },
	}
}

// wrongClaims compares the statuses with what the version says.
func wrongClaims(d *gatehouse.Document, claims []claim, version int) error {
	listener := func(o owner, name string) gatehouse.Listener {
		return d.Find(o.kind, o.namespace, o.name).Listeners()[name]
	}
	for _, c := range claims {
		second := listener(c.second, c.name)
		holder := second
		if isPresent(version) {
			holder = listener(c.first, c.name)
			conflicted, accepted := second.Conditions["Conflicted"], second.Conditions["Accepted"]
			if conflicted.Status != "True" || conflicted.Reason != c.reason || accepted.Status != "False" {
				return fmt.Errorf("%s: the one that lost says %+v", c.name, second)
			}
		}
		if holder.Conditions["Programmed"].Status != "True" || holder.Conditions["Conflicted"].Status != "False" || holder.AttachedRoutes != 1 {
			return fmt.Errorf("%s: the one that has it says %+v", c.name, holder)
		}
	}
	if tcp := listener(owner{"ListenerSet", "x", "second"}, "tcp").Conditions["Conflicted"]; tcp.Reason != "ProtocolConflict" {
		return fmt.Errorf("TCP on a port with HTTP: %+v", tcp)
	}
	return nil
}
