package traffic

import (
	"fmt"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// place is a listener that a route may be attached to, and how its clients ask.
type place struct {
	gateway, section string
	address          string
	host             string
	tls              bool
}

// move is a route between two places.
type move struct {
	name     string
	from, to place
}

// steps are the parents of a moving route by version: the new one is added and then the old one removed, there and back; then
// it moves in one edit, there and back.
var steps = [][]bool{{true, false}, {true, true}, {false, true}, {true, true}, {true, false}, {false, true}}

func (m move) at(version int) []place {
	var at []place
	for i, p := range []place{m.from, m.to} {
		if steps[version%len(steps)][i] {
			at = append(at, p)
		}
	}
	return at
}

// TestMovedRoutesLoseNoRequest moves routes from listener to listener and from Gateway to Gateway. Whoever asks where the
// route is gets its answer, whoever asks where it is not gets 404, and statuses follow.
func TestMovedRoutesLoseNoRequest(t *testing.T) {
	w := newWorld(t, certificate(t, "moved"))
	other := w.otherAddress(2)
	w.write(t,
		manifest.Gateway(gatewayName, className, w.address, httpListener, httpsListener,
			fmt.Sprintf(`{name: second, port: %d, protocol: HTTP}`, extraPort),
			fmt.Sprintf(`{name: left, port: %d, protocol: HTTP, hostname: left.test}`, extraPort),
			fmt.Sprintf(`{name: right, port: %d, protocol: HTTP, hostname: right.test}`, extraPort)),
		manifest.Gateway("other", className, other, httpListener))
	moves := []move{
		{"ports", w.place("http", listenerPort), w.place("second", extraPort)},
		{"protocols", w.place("http", listenerPort), place{gatewayName, "https", w.tlsListener(), "", true}},
		{"gateways", w.place("http", listenerPort), place{"other", "http", fmt.Sprintf("%s:%d", other, listenerPort), "", false}},
		{"hostnames", place{gatewayName, "left", w.port(extraPort), "left.test", false}, place{gatewayName, "right", w.port(extraPort), "right.test", false}},
	}
	var scenarios []*scenario
	for _, m := range moves {
		scenarios = append(scenarios, m.scenario())
	}
	for _, s := range scenarios {
		s.edit(t, w)
	}
	settleAll(t, w, withAlso(scenarios), 10*time.Second)
	l := startLoad(w, withAlso(scenarios))
	for range 1 + len(steps) {
		for _, s := range scenarios {
			s.edit(t, w)
		}
		settleAll(t, w, withAlso(scenarios), 2*time.Second)
		version := scenarios[0].version - 1
		w.awaitDocument(t, 2*time.Second, "statuses follow", func(d *gatehouse.Document) error { return wrongPlaces(d, moves, version) })
		// Nothing of the version before is excused now.
		l.hold(grace)
	}
	l.end(t)
}

func (w *world) place(section string, port int) place {
	return place{gatewayName, section, w.port(port), "", false}
}

// scenario has clients at both places.
func (m move) scenario() *scenario {
	name := "moved-" + m.name
	at := func(p place) *scenario {
		asked := p.host
		if asked == "" {
			asked = host(name)
		}
		return &scenario{
			name: name + " at " + p.gateway + "/" + p.section, address: p.address,
			request: func(int) request { return request{host: asked, path: "/", tls: p.tls} },
			check: func(version int, r *reply) error {
				for _, present := range m.at(version) {
					if present == p {
						return all(r, code(200), from("a"))
					}
				}
				return all(r, code(404))
			},
		}
	}
	s := at(m.from)
	s.also = []*scenario{at(m.to)}
	s.objects = func(version int) ([]manifest.Object, []manifest.Object) {
		route := manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: a, port: 80}]}`)
		spec := route["spec"].(manifest.Object)
		if m.from.host != "" {
			delete(spec, "hostnames")
		}
		var parents []any
		for _, p := range m.at(version) {
			parents = append(parents, manifest.Parse(`{name: %s, sectionName: %s}`, p.gateway, p.section))
		}
		spec["parentRefs"] = parents
		return []manifest.Object{route}, nil
	}
	return s
}

// wrongPlaces compares parents and attached routes with what the version says.
func wrongPlaces(d *gatehouse.Document, moves []move, version int) error {
	attached := map[string]int{}
	for _, m := range moves {
		parents := d.Find("HTTPRoute", "default", "moved-"+m.name).Parents()
		if len(parents) != len(m.at(version)) {
			return fmt.Errorf("version %d of %s has parents %v", version, m.name, parents)
		}
		for _, p := range m.at(version) {
			attached[p.gateway+"/"+p.section]++
			key := fmt.Sprintf("Gateway /%s/%s", p.gateway, p.section)
			if conditions := parents[key]; conditions["Accepted"].Status != "True" {
				return fmt.Errorf("version %d of %s: parent %s of %v", version, m.name, key, parents)
			}
		}
	}
	for _, gateway := range []string{gatewayName, "other"} {
		for name, listener := range d.Find("Gateway", "default", gateway).Listeners() {
			if key := gateway + "/" + name; listener.AttachedRoutes != attached[key] {
				return fmt.Errorf("version %d: listener %s has %d routes, want %d", version, key, listener.AttachedRoutes, attached[key])
			}
		}
	}
	return nil
}
