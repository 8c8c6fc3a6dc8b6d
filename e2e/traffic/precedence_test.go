package traffic

import (
	"fmt"

	"gatehouse.dev/e2e/manifest"
)

// precedenceScenarios add and remove routes that take requests away from another one, which must be
// there without a gap.
func precedenceScenarios() []*scenario {
	return []*scenario{comingPath(), comingExactHost()}
}

// overlay is a route that never changes and one that comes and goes above it: requests go to b when
// the upper one is there, else to a, and never nowhere.
func overlay(name string, lower, upper manifest.Object, q func(number int) request) *scenario {
	return &scenario{
		name:    name,
		request: q,
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			if isPresent(version) {
				return []manifest.Object{lower, upper}, nil
			}
			return []manifest.Object{lower}, []manifest.Object{upper}
		},
		check: func(version int, r *reply) error {
			if isPresent(version) {
				return all(r, code(200), from("b"))
			}
			return all(r, code(200), from("a"))
		},
	}
}

func comingPath() *scenario {
	const name = "coming-path"
	return overlay(name,
		manifest.Route(name, gatewayName, host(name), `{backendRefs: [{name: a, port: 80}]}`),
		manifest.Route(name+"-special", gatewayName, host(name),
			`{matches: [{path: {type: PathPrefix, value: /special}}], backendRefs: [{name: b, port: 80}]}`),
		func(number int) request { return request{host: host(name), path: fmt.Sprintf("/special/%d", number)} })
}

func comingExactHost() *scenario {
	const name = "coming-host"
	return overlay(name,
		manifest.Route(name, gatewayName, "*.wild.test", `{backendRefs: [{name: a, port: 80}]}`),
		manifest.Route(name+"-exact", gatewayName, "exact.wild.test", `{backendRefs: [{name: b, port: 80}]}`),
		func(int) request { return request{host: "exact.wild.test", path: "/"} })
}
