package traffic

import (
	"fmt"
	"strings"

	"gatehouse.dev/e2e/manifest"
)

// Every scenario has a route and a hostname of its own, both named after it.
func host(name string) string { return name + ".example.test" }

func plainRequest(name string) func(int) request {
	return func(number int) request { return request{host: host(name), path: fmt.Sprintf("/%d", number)} }
}

// slowRequest asks for answers that take 300 to 1500 ms.
func slowRequest(name string) func(int) request {
	return func(number int) request {
		return request{host: host(name), path: fmt.Sprintf("/?delay=%dms", 300+number*173%1200)}
	}
}

// routeScenario edits one HTTPRoute: rule gives the YAML of its only rule in a version.
func routeScenario(name string, rule func(version int) string, check func(version int, r *reply) error) *scenario {
	return &scenario{
		name:    name,
		request: plainRequest(name),
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			return []manifest.Object{manifest.Route(name, gatewayName, host(name), rule(version))}, nil
		},
		check: check,
	}
}

// backendOf alternates between the two backends.
func backendOf(version int) string { return []string{"a", "b"}[version%2] }

func slow(s *scenario) *scenario {
	s.request, s.clients = slowRequest(s.name), 3
	return s
}

// routeScenarios change HTTPRoutes in place.
func routeScenarios() []*scenario {
	return []*scenario{
		alternatingBackends("backends"),
		slow(alternatingBackends("slow-backends")),
		routeScenario("backend-filter",
			func(v int) string {
				if v%2 == 1 {
					return `{backendRefs: [{name: b, port: 80}]}`
				}
				return `{backendRefs: [{name: a, port: 80, filters: [{type: ResponseHeaderModifier,
					responseHeaderModifier: {set: [{name: X-Filter, value: "on"}]}}]}]}`
			},
			func(v int, r *reply) error {
				return all(r, code(200), from(backendOf(v)), header("X-Filter", []string{"on", ""}[v%2]))
			}),
		routeScenario("header-filter",
			func(v int) string {
				return fmt.Sprintf(`{backendRefs: [{name: a, port: 80}], filters: [
					{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Version, value: "v%d"}]}},
					{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: X-Version, value: "v%d"}]}}]}`, v, v)
			},
			func(v int, r *reply) error {
				version := fmt.Sprintf("v%d", v)
				return all(r, code(200), header("X-Version", version), requestHeader("X-Version", version))
			}),
		slow(routeScenario("timeouts",
			func(v int) string {
				return `{backendRefs: [{name: a, port: 80}]` +
					[]string{"", `, timeouts: {request: 5s}`, `, timeouts: {request: 10s, backendRequest: 4s}`}[v%3] + `}`
			},
			func(_ int, r *reply) error { return all(r, code(200), from("a")) })),
		routeScenario("weights",
			func(v int) string {
				weights := [][2]int{{9, 1}, {0, 1}, {1, 0}, {1, 1}}[v%4]
				return fmt.Sprintf(`{backendRefs: [{name: a, port: 80, weight: %d}, {name: b, port: 80, weight: %d}]}`, weights[0], weights[1])
			},
			func(v int, r *reply) error {
				return all(r, code(200), from([][]string{{"a", "b"}, {"b"}, {"a"}, {"a", "b"}}[v%4]...))
			}),
		routeScenario("persistence",
			func(v int) string {
				return `{backendRefs: [{name: pool, port: 80}]` +
					[]string{"", `, sessionPersistence: {type: Cookie, cookie: {name: sticky}}`}[v%2] + `}`
			},
			func(v int, r *reply) error {
				sticky := strings.HasPrefix(r.header.Get("Set-Cookie"), "sticky=")
				if r.err == nil && sticky != (v%2 == 1) {
					return fmt.Errorf("Set-Cookie is %q", r.header.Get("Set-Cookie"))
				}
				return all(r, code(200), from("pool-1", "pool-2", "pool-3"))
			}),
		cors(),
		retries(),
		routeScenario("rewrite",
			func(v int) string {
				return fmt.Sprintf(`{backendRefs: [{name: a, port: 80}], filters: [{type: URLRewrite,
					urlRewrite: {hostname: v%d.test, path: {type: ReplaceFullPath, replaceFullPath: /v%d}}}]}`, v, v)
			},
			func(v int, r *reply) error {
				if got := r.seen(); r.err == nil && (got.Path != fmt.Sprintf("/v%d", v) || got.Host != fmt.Sprintf("v%d.test", v)) {
					return fmt.Errorf("the backend saw %s%s", got.Host, got.Path)
				}
				return all(r, code(200), from("a"))
			}),
		routeScenario("redirect",
			func(v int) string {
				return []string{
					`{backendRefs: [{name: b, port: 80}]}`,
					`{filters: [{type: RequestRedirect, requestRedirect: {hostname: elsewhere.test, statusCode: 302}}]}`,
				}[v%2]
			},
			func(v int, r *reply) error {
				if v%2 == 1 {
					return all(r, code(302))
				}
				return all(r, code(200), from("b"))
			}),
	}
}

func alternatingBackends(name string) *scenario {
	return routeScenario(name,
		func(v int) string { return fmt.Sprintf(`{backendRefs: [{name: %s, port: 80}]}`, backendOf(v)) },
		func(v int, r *reply) error { return all(r, code(200), from(backendOf(v))) })
}

func cors() *scenario {
	s := routeScenario("cors",
		func(v int) string {
			return `{backendRefs: [{name: a, port: 80}]` +
				[]string{"", `, filters: [{type: CORS, cors: {allowOrigins: ["https://shop.test"]}}]`}[v%2] + `}`
		},
		func(v int, r *reply) error {
			return all(r, code(200), from("a"),
				header("Access-Control-Allow-Origin", []string{"", "https://shop.test"}[v%2]))
		})
	s.request = func(int) request {
		return request{host: host("cors"), path: "/", header: map[string]string{"Origin": "https://shop.test"}}
	}
	return s
}

// retries has requests that fail twice and are sent again by the proxy, after a back-off that must
// outlive any edit.
func retries() *scenario {
	s := routeScenario("retries",
		func(v int) string {
			return fmt.Sprintf(`{backendRefs: [{name: a, port: 80}],
				retry: {codes: [503], attempts: 4, backoff: %dms}}`, []int{100, 250}[v%2])
		},
		func(_ int, r *reply) error { return all(r, code(200), from("a")) })
	s.clients = 3
	s.request = func(int) request {
		return request{host: host("retries"), path: "/retry/?responseCode=503&succeedAfter=2&uuid=" + unique()}
	}
	return s
}
