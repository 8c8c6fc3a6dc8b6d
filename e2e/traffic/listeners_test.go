package traffic

import (
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

const (
	// listenersLimit is how many listeners a Gateway or a ListenerSet may have.
	listenersLimit = 64
	sets           = 10
	firstOfMany    = 12000
)

// TestSixtyFourListenersAndSetsOfThem fills Gateways to the limit, with hostnames on one port and with ports, and adds
// ListenerSets as full.
func TestSixtyFourListenersAndSetsOfThem(t *testing.T) {
	w := newWorld(t)
	ports := w.otherAddress(2)
	began := time.Now()
	w.write(t, secureListeners(t, "full")...)
	w.write(t, manifest.Gateway("ports", className, ports, portListeners()...), anywhere("everywhere", "full", "ports"))
	w.write(t, fullGateway(w.address))
	w.awaitProgrammedListeners(t, "Gateway", "full", listenersLimit)
	w.awaitProgrammedListeners(t, "Gateway", "ports", listenersLimit)
	w.mustServe(t, "full")
	client := newClient()
	defer client.CloseIdleConnections()
	for n := range listenersLimit {
		address := fmt.Sprintf("%s:%d", ports, firstOfMany+n)
		eventually(t, awaitServed, "a port that is programmed is served", func() error {
			if r := (request{host: "any.test", path: "/"}).send(client, address); r.code != 200 {
				return fmt.Errorf("port %d:\n%s", firstOfMany+n, r)
			}
			return nil
		})
	}
	t.Logf("2 x %d listeners served %s after their files were written", listenersLimit, time.Since(began))

	began = time.Now()
	for n := range sets {
		name := fmt.Sprintf("set-%d", n)
		w.write(t, secureListeners(t, name)...)
		w.write(t, listenerSet(name), setRoute(name))
	}
	for n := range sets {
		w.awaitProgrammedListeners(t, "ListenerSet", fmt.Sprintf("set-%d", n), listenersLimit)
	}
	t.Logf("%d more listeners of %d sets programmed %s after their files were written", sets*listenersLimit, sets, time.Since(began))
	for n := range sets {
		w.mustServe(t, fmt.Sprintf("set-%d", n))
	}
	w.mustServe(t, "full")
	w.awaitDocument(t, 2*time.Second, "the Gateway counts its sets", func(d *gatehouse.Document) error {
		status := d.Find("Gateway", "default", "full").Status
		if attached, _ := status["attachedListenerSets"].(float64); attached != sets {
			return fmt.Errorf("attachedListenerSets is %v", status["attachedListenerSets"])
		}
		return nil
	})
	// One of many is as quick to change as one of few.
	began = time.Now()
	w.write(t, tlsSecret(t, "default", "set-5-7", "rotated", 0))
	eventually(t, 2*time.Second, "one of all certificates to be replaced", func() error { return w.certificateOf("7.set-5.test", "rotated") })
	t.Logf("one certificate of %d replaced after %s", (1+sets)*listenersLimit, time.Since(began))
}

// secureListeners are the Secrets of listeners of an owner.
func secureListeners(t *testing.T, owner string) []manifest.Object {
	var secrets []manifest.Object
	for n := range listenersLimit {
		secrets = append(secrets, tlsSecret(t, "default", fmt.Sprintf("%s-%d", owner, n), fmt.Sprintf("%d.%s.test", n, owner), 0))
	}
	return secrets
}

// hostListeners have hostnames and certificates of their own on one port.
func hostListeners(owner string) []string {
	var listeners []string
	for n := range listenersLimit {
		listeners = append(listeners, fmt.Sprintf(
			`{name: l%d, port: %d, protocol: HTTPS, hostname: %d.%s.test, tls: {certificateRefs: [{name: %s-%d}]}}`,
			n, tlsPort, n, owner, owner, n))
	}
	return listeners
}

func fullGateway(address string) manifest.Object {
	gateway := manifest.Gateway("full", className, address, hostListeners("full")...)
	gateway["spec"].(manifest.Object)["allowedListeners"] = manifest.Parse(`{namespaces: {from: Same}}`)
	return gateway
}

func portListeners() []string {
	var listeners []string
	for n := range listenersLimit {
		listeners = append(listeners, fmt.Sprintf(`{name: l%d, port: %d, protocol: HTTP}`, n, firstOfMany+n))
	}
	return listeners
}

func listenerSet(name string) manifest.Object {
	set := manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: %s, namespace: default}
spec: {parentRef: {name: full}}`, name)
	var listeners []any
	for _, text := range hostListeners(name) {
		listeners = append(listeners, manifest.Parse("%s", text))
	}
	set["spec"].(manifest.Object)["listeners"] = listeners
	return set
}

// anywhere is a route to all listeners of Gateways.
func anywhere(name string, gateways ...string) manifest.Object {
	route := manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: default}
spec: {rules: [{backendRefs: [{name: a, port: 80}]}]}`, name)
	var parents []any
	for _, gateway := range gateways {
		parents = append(parents, manifest.Object{"name": gateway})
	}
	route["spec"].(manifest.Object)["parentRefs"] = parents
	return route
}

func setRoute(set string) manifest.Object {
	route := anywhere(set)
	route["spec"].(manifest.Object)["parentRefs"] = []any{manifest.Parse(`{kind: ListenerSet, name: %s}`, set)}
	return route
}

// awaitProgrammedListeners waits until an object has so many listeners, all good and with one route.
func (w *world) awaitProgrammedListeners(t *testing.T, kind, name string, count int) {
	t.Helper()
	w.awaitDocument(t, 30*time.Second, kind+" "+name+" is programmed", func(d *gatehouse.Document) error {
		object := d.Find(kind, "default", name)
		listeners := object.Listeners()
		if len(listeners) != count {
			return fmt.Errorf("it has %d listeners", len(listeners))
		}
		for key, listener := range listeners {
			c := listener.Conditions
			if c["Programmed"].Status != "True" || c["ResolvedRefs"].Status != "True" || c["Conflicted"].Status != "False" || listener.AttachedRoutes != 1 {
				return fmt.Errorf("listener %s: %+v", key, listener)
			}
		}
		if c := object.Conditions(); c["Programmed"].Status != "True" || c["Accepted"].Status != "True" {
			return fmt.Errorf("conditions %+v", c)
		}
		return nil
	})
}

// awaitServed is for what an Envoy still warms after it took it: one that starts opens its ports last.
const awaitServed = 2 * time.Second

// mustServe asks every listener of an owner, which must show its own certificate.
func (w *world) mustServe(t *testing.T, owner string) {
	t.Helper()
	first := fmt.Sprintf("0.%s.test", owner)
	eventually(t, awaitServed, "listeners that are programmed are served", func() error { return w.certificateOf(first, first) })
	for n := range listenersLimit {
		name := fmt.Sprintf("%d.%s.test", n, owner)
		if err := w.certificateOf(name, name); err != nil {
			t.Error(err)
		}
	}
}

// certificateOf asks for a name over TLS, on a new connection; it says what is wrong.
func (w *world) certificateOf(host, wanted string) error {
	r := request{host: host, path: "/", tls: true}.sendTo(host, w.tlsListener())
	if r.err != nil || r.code != 200 || r.certificate != wanted {
		return fmt.Errorf("want 200 with certificate %q:\n%s", wanted, r)
	}
	return nil
}

// sendTo asks on a new connection, for which it names a server.
func (q request) sendTo(serverName, address string) *reply {
	client := newClient()
	defer client.CloseIdleConnections()
	transport(client).TLSClientConfig = &tls.Config{InsecureSkipVerify: true, ServerName: serverName}
	return q.send(client, address)
}
