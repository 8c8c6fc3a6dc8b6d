package traffic

import (
	"fmt"
	"testing"

	"gatehouse.dev/e2e/manifest"
)

// backendScenarios change what stands behind the routes.
func backendScenarios(t *testing.T, w *world) []*scenario {
	protocolAddress := w.backend(t, "protocol", 30)
	releases := []string{w.backend(t, "release-0", 31), w.backend(t, "release-1", 32), w.backend(t, "release-2", 33)}
	return []*scenario{protocol(protocolAddress), releasedServices(releases), grant(w.backend(t, "granted", 34))}
}

// protocol changes the application protocol of a Service's port: another cluster for Envoy.
func protocol(address string) *scenario {
	const name = "protocol"
	return &scenario{
		name:    name,
		request: plainRequest(name),
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			service := manifest.Service(name)
			if version%2 == 1 {
				service["spec"].(manifest.Object)["ports"].([]any)[0].(manifest.Object)["appProtocol"] = "kubernetes.io/h2c"
			}
			slice := manifest.Slice(name, backendPort, address)
			return []manifest.Object{slice, manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: protocol, port: 80}]}`), service}, nil
		},
		check: func(version int, r *reply) error {
			if got, want := r.seen().Proto, []string{"HTTP/1.1", "HTTP/2.0"}[version%2]; r.err == nil && r.code == 200 && got != want {
				return fmt.Errorf("want %s to the backend, got %s", want, got)
			}
			return all(r, code(200), from(name))
		},
	}
}

// releasedServices moves a route to a new Service and deletes the old one in the same breath, while
// slow answers of the old one are under way.
func releasedServices(addresses []string) *scenario {
	const name = "release"
	service := func(version int) string { return fmt.Sprintf("release-%d", version%len(addresses)) }
	return slow(&scenario{
		name: name,
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			present := []manifest.Object{
				manifest.Slice(service(version), backendPort, addresses[version%len(addresses)]),
				manifest.Service(service(version)),
				manifest.Route(name, gatewayName, host(name), fmt.Sprintf(`{backendRefs: [{name: %s, port: 80}]}`, service(version))),
			}
			if version == 0 {
				return present, nil
			}
			old := service(version - 1)
			return present, []manifest.Object{manifest.Service(old), manifest.Slice(old, backendPort)}
		},
		check: func(version int, r *reply) error { return all(r, code(200), from(service(version))) },
	})
}

// grant gives and revokes the right to a Service of another namespace.
func grant(address string) *scenario {
	const name = "granted"
	inOther := func(object manifest.Object) manifest.Object {
		object["metadata"].(manifest.Object)["namespace"] = "other"
		return object
	}
	reference := manifest.Parse(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: granted, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]`)
	always := []manifest.Object{
		inOther(manifest.Slice(name, backendPort, address)), inOther(manifest.Service(name)),
		manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: granted, namespace: other, port: 80}]}`),
	}
	return &scenario{
		name:    name,
		request: plainRequest(name),
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			if isPresent(version) {
				return append([]manifest.Object{reference}, always...), nil
			}
			return always, []manifest.Object{reference}
		},
		check: func(version int, r *reply) error {
			if isPresent(version) {
				return all(r, code(200), from(name))
			}
			return all(r, code(500))
		},
	}
}
