package traffic

import (
	"fmt"
	"strconv"
	"sync/atomic"

	"gatehouse.dev/e2e/manifest"
)

var counter atomic.Int64

// unique tells the flaky backend one request from another.
func unique() string { return strconv.FormatInt(counter.Add(1), 10) }

// topologyScenarios add and remove routes, hostnames, listeners and endpoints.
func topologyScenarios(w *world, poolAddresses []string) []*scenario {
	return []*scenario{comingRoute(), comingHostname(), comingListeners(w), comingEndpoints(poolAddresses)}
}

// present is true in even versions.
func isPresent(version int) bool { return version%2 == 0 }

func comingRoute() *scenario {
	route := manifest.Route("coming-route", gatewayName, host("coming-route"), `{backendRefs: [{name: b, port: 80}]}`)
	return &scenario{
		name:    "coming-route",
		request: plainRequest("coming-route"),
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			if isPresent(version) {
				return []manifest.Object{route}, nil
			}
			return nil, []manifest.Object{route}
		},
		check: func(version int, r *reply) error {
			if isPresent(version) {
				return all(r, code(200), from("b"))
			}
			return all(r, code(404))
		},
	}
}

// comingHostname adds a hostname to a route whose first hostname must not notice.
func comingHostname() *scenario {
	const name = "coming-hostname"
	return &scenario{
		name: name,
		request: func(number int) request {
			return request{host: []string{host(name), "second." + host(name)}[number%2], path: "/"}
		},
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			route := manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: a, port: 80}]}`)
			if isPresent(version) {
				route["spec"].(manifest.Object)["hostnames"] = []any{host(name), "second." + host(name)}
			}
			return []manifest.Object{route}, nil
		},
		check: func(version int, r *reply) error {
			if r.request.host != host(name) && !isPresent(version) {
				return all(r, code(404))
			}
			return all(r, code(200), from("a"))
		},
	}
}

// extraPort is the port of the listener that comes and goes.
const extraPort = listenerPort + 1

// comingListeners edits the Gateway itself: a listener with a hostname on the shared port, and one
// with a port of its own, which each client meets on a new connection.
func comingListeners(w *world) *scenario {
	const name = "coming-listener"
	attach := manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: default}
spec:
  parentRefs: [{name: %s, sectionName: extra}]
  rules: [{backendRefs: [{name: b, port: 80}]}]`, name, gatewayName)
	return &scenario{
		name:    name,
		address: fmt.Sprintf("%s:%d", w.address, extraPort),
		fresh:   true,
		request: plainRequest(name),
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			listeners := []string{httpListener, httpsListener}
			if isPresent(version) {
				listeners = append(listeners,
					fmt.Sprintf(`{name: extra, port: %d, protocol: HTTP}`, extraPort),
					fmt.Sprintf(`{name: shared, port: %d, protocol: HTTP, hostname: shared.test}`, listenerPort))
			}
			return []manifest.Object{manifest.Gateway(gatewayName, className, w.address, listeners...), attach}, nil
		},
		check: func(version int, r *reply) error {
			if isPresent(version) {
				return all(r, code(200), from("b"))
			}
			return refused(r)
		},
		// The routes of a listener leave before it does.
		between: status(404),
	}
}

// comingEndpoints takes endpoints of a Service away and brings them back; they stay alive, as pods
// that terminate gracefully do.
func comingEndpoints(addresses []string) *scenario {
	const name = "coming-endpoints"
	pods := []string{"pool-1", "pool-2", "pool-3"}
	return slow(&scenario{
		name: name,
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			return []manifest.Object{
				manifest.Slice("pool", backendPort, addresses[:version%3+1]...),
				manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: pool, port: 80}]}`),
			}, nil
		},
		check: func(version int, r *reply) error {
			return all(r, code(200), from(pods[:version%3+1]...))
		},
	})
}
