//go:build cluster

package journeys

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rules is a route of the claims' Gateway.
func rules(name, host string, rules ...string) string {
	return fmt.Sprintf(`
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s}
spec:
  parentRefs: [{name: eg}]
  hostnames: [%s]
  rules:
    - %s
`, name, host, strings.Join(rules, "\n    - "))
}

// versions shares requests between the two versions of an application.
func versions(first, second int) string {
	return fmt.Sprintf("{backendRefs: [{name: svc-backend, port: 3000, weight: %d}, {name: svc-backend2, port: 3000, weight: %d}]}", first, second)
}

// marked is a rule by whose mark the backend's answer tells that it was taken.
func marked(mark, match string) string {
	return fmt.Sprintf("{matches: [%s], filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-rule, value: %s}]}}], "+
		"backendRefs: [{name: svc-backend, port: 3000}]}", match, mark)
}

// What the article says that one can do with routes.
func TestS004Claims(t *testing.T) {
	j := begin(t, "s004-claims")
	j.serve(t)
	j.put(t, gateway("eg"))
	address := j.Programmed(t, j.namespace, "eg")

	// share is how many of the requests the first version answered.
	share := func(t *testing.T, host string, requests int) int {
		t.Helper()
		first := 0
		for range requests {
			if strings.HasPrefix(j.echo(t, address, host, "/").Pod, "backend-") {
				first++
			}
		}
		return first
	}
	t.Run("S004-09 versions change places", func(t *testing.T) {
		const host, requests = "versions.example.com", 40
		j.put(t, rules("versions", host, versions(100, 0)))
		j.AwaitEcho(t, address, host, "/")
		if first := share(t, host, requests); first != requests {
			t.Errorf("the version of weight 0 answered %d times", requests-first)
		}
		j.put(t, rules("versions", host, versions(50, 50)))
		j.Await(t, "both versions to answer", func(context.Context) error {
			if first := share(t, host, requests); first == 0 || first == requests {
				return fmt.Errorf("the first one answered %d of %d times", first, requests)
			}
			return nil
		})
		j.put(t, rules("versions", host, versions(0, 100)))
		j.Await(t, "the second version to answer alone", func(context.Context) error {
			if first := share(t, host, requests); first != 0 {
				return fmt.Errorf("the first one answered %d of %d times", first, requests)
			}
			return nil
		})
	})
	t.Run("S004-10 A/B test by weights, but for who chose", func(t *testing.T) {
		const host, requests, half = "ab.example.com", 1000, 0.5
		chosen := func(group, service string) string {
			return fmt.Sprintf("{matches: [{headers: [{name: x-group, value: %s}]}], backendRefs: [{name: %s, port: 3000}]}", group, service)
		}
		j.put(t, rules("ab", host, versions(1, 1), chosen("a", "svc-backend"), chosen("b", "svc-backend2")))
		j.AwaitEcho(t, address, host, "/")
		for group, pod := range map[string]string{"a": "backend-", "b": "backend2-"} {
			for range 10 {
				if got := j.echo(t, address, host, "/", "x-group", group); !strings.HasPrefix(got.Pod, pod) {
					t.Fatalf("group %s was answered by %s", group, got.Pod)
				}
			}
		}
		first := share(t, host, requests)
		// Four standard deviations: one run in 15,000 is that far off.
		if deviation := 4 * math.Sqrt(requests*half*(1-half)); math.Abs(float64(first)-requests*half) > deviation {
			t.Errorf("%d of %d requests went to the first of two equal backends", first, requests)
		}
	})
	t.Run("S004-11 path, header, query", func(t *testing.T) {
		const host = "match.example.com"
		j.put(t, rules("match", host,
			marked("exact", "{path: {type: Exact, value: /exact}}"),
			marked("prefix", "{path: {type: PathPrefix, value: /prefix}}"),
			marked("expression", `{path: {type: RegularExpression, value: "/v[0-9]+/users"}}`),
			marked("header", "{path: {value: /}, headers: [{name: x-version, value: beta}]}"),
			marked("header-expression", `{path: {value: /}, headers: [{name: x-user, type: RegularExpression, value: "[a-m].*"}]}`),
			marked("query", "{path: {value: /}, queryParams: [{name: version, value: beta}]}"),
			marked("method", "{path: {value: /}, method: DELETE}")))
		j.AwaitEcho(t, address, host, "/exact")
		for _, ask := range []struct {
			path   string
			header []string
			mark   string
		}{
			{"/exact", nil, "exact"}, {"/exact/", nil, ""}, {"/exactly", nil, ""},
			{"/prefix", nil, "prefix"}, {"/prefix/x", nil, "prefix"}, {"/prefixed", nil, ""},
			{"/v12/users", nil, "expression"}, {"/v/users", nil, ""}, {"/v1/users/x", nil, ""},
			{"/", []string{"x-version", "beta"}, "header"}, {"/", []string{"X-Version", "beta"}, "header"}, {"/", []string{"x-version", "Beta"}, ""},
			{"/", []string{"x-user", "anna"}, "header-expression"}, {"/", []string{"x-user", "zoe"}, ""},
			{"/?version=beta", nil, "query"}, {"/?x=1&version=beta", nil, "query"}, {"/?version=betas", nil, ""},
			{"/", nil, ""},
		} {
			if got := j.taken(t, address, host, ask.path, ask.header...); got != ask.mark {
				t.Errorf("%s %v was taken by rule %q, not %q", ask.path, ask.header, got, ask.mark)
			}
		}
	})
	t.Run("S004-12 redirects of old addresses", func(t *testing.T) {
		const host = "old.example.com"
		redirect := func(match, how string) string {
			return fmt.Sprintf("{matches: [{path: {type: %s}}], filters: [{type: RequestRedirect, requestRedirect: {%s}}]}", match, how)
		}
		j.put(t, rules("old", host,
			redirect("Exact, value: /page", "path: {type: ReplaceFullPath, replaceFullPath: /new/page}, statusCode: 301"),
			redirect("PathPrefix, value: /shop", "path: {type: ReplacePrefixMatch, replacePrefixMatch: /store}"),
			redirect("PathPrefix, value: /", "hostname: new.example.com, statusCode: 301")))
		j.AwaitStatus(t, http.StatusMovedPermanently, address, host, "/page")
		for path, wanted := range map[string]string{
			"/page?a=b":      "301 http://old.example.com/new/page?a=b",
			"/shop/cart?a=b": "302 http://old.example.com/store/cart?a=b",
			"/shop":          "302 http://old.example.com/store",
			"/x/y?a=b":       "301 http://new.example.com/x/y?a=b",
		} {
			response, _, err := j.Get(t.Context(), address, host, path)
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprint(response.StatusCode, " ", response.Header.Get("Location")); got != wanted {
				t.Errorf("%s: %s, not %s", path, got, wanted)
			}
		}
	})
	// The article says that rules are tried from top to bottom.
	t.Run("S004-13 the most specific rule wins wherever it stands", func(t *testing.T) {
		const host = "order.example.com"
		j.put(t, rules("order", host,
			marked("any", "{path: {value: /}}"),
			marked("short", "{path: {value: /a}}"),
			marked("long", "{path: {value: /a/long}}"),
			marked("exact", "{path: {type: Exact, value: /a}}"),
			marked("one-query", "{path: {value: /q}, queryParams: [{name: a, value: b}]}"),
			marked("two-queries", "{path: {value: /q}, queryParams: [{name: a, value: b}, {name: c, value: d}]}"),
			marked("one-header", "{path: {value: /q}, headers: [{name: x-a, value: b}]}"),
			marked("two-headers", "{path: {value: /q}, headers: [{name: x-a, value: b}, {name: x-c, value: d}]}"),
			marked("method", "{path: {value: /q}, method: GET}"),
			marked("twice-first", "{path: {value: /twice}}"),
			marked("twice-second", "{path: {value: /twice}}")))
		j.AwaitEcho(t, address, host, "/twice")
		for _, ask := range []struct {
			path   string
			header []string
			mark   string
		}{
			{"/b", nil, "any"}, {"/a/b", nil, "short"}, {"/a/long/b", nil, "long"}, {"/a", nil, "exact"},
			{"/q?a=b&c=d", []string{"x-a", "b", "x-c", "d"}, "method"},
			{"/twice", nil, "twice-first"},
		} {
			if got := j.taken(t, address, host, ask.path, ask.header...); got != ask.mark {
				t.Errorf("%s %v was taken by rule %q, not %q", ask.path, ask.header, got, ask.mark)
			}
		}
		// Without the rule for a method, headers count, and only then queries.
		j.put(t, rules("order", host,
			marked("one-query", "{path: {value: /q}, queryParams: [{name: a, value: b}]}"),
			marked("two-queries", "{path: {value: /q}, queryParams: [{name: a, value: b}, {name: c, value: d}]}"),
			marked("one-header", "{path: {value: /q}, headers: [{name: x-a, value: b}]}"),
			marked("two-headers", "{path: {value: /q}, headers: [{name: x-a, value: b}, {name: x-c, value: d}]}")))
		j.AwaitStatus(t, http.StatusNotFound, address, host, "/twice")
		for _, ask := range []struct {
			header []string
			mark   string
		}{
			{nil, "two-queries"}, {[]string{"x-a", "b"}, "one-header"}, {[]string{"x-a", "b", "x-c", "d"}, "two-headers"},
		} {
			if got := j.taken(t, address, host, "/q?a=b&c=d", ask.header...); got != ask.mark {
				t.Errorf("with headers %v rule %q was taken, not %q", ask.header, got, ask.mark)
			}
		}
		j.theOlderRouteWins(t, address)
	})
}

// taken is the mark of the rule that took a request, and empty if none did.
func (j *journey) taken(t *testing.T, address, host, path string, header ...string) string {
	t.Helper()
	if j.status(t, address, host, path, header...) == http.StatusNotFound {
		return ""
	}
	return strings.Join(j.echo(t, address, host, path, header...).Headers["X-Rule"], ",")
}

// theOlderRouteWins has two routes that say the same, of which the younger has the name that comes first.
func (j *journey) theOlderRouteWins(t *testing.T, address string) {
	t.Helper()
	const host = "age.example.com"
	j.put(t, rules("b-older", host, marked("older", "{path: {value: /}}")))
	j.AwaitEcho(t, address, host, "/")
	made, err := time.Parse(time.RFC3339, j.kubectl(t, "get", "httproute", "b-older", "--output=jsonpath={.metadata.creationTimestamp}"))
	if err != nil {
		t.Fatal(err)
	}
	j.Await(t, "another second, as objects tell their age in", func(context.Context) error {
		if now := time.Now().Truncate(time.Second); !now.After(made) {
			return fmt.Errorf("it is still %v", now)
		}
		return nil
	})
	j.put(t, rules("a-younger", host, marked("younger", "{path: {value: /}}"), marked("own", "{path: {value: /own}}")))
	j.Await(t, "the younger route", func(context.Context) error {
		if got := j.taken(t, address, host, "/own"); got != "own" {
			return fmt.Errorf("rule %q took the request", got)
		}
		return nil
	})
	if got := j.taken(t, address, host, "/"); got != "older" {
		t.Errorf("rule %q was taken", got)
	}
	j.kubectl(t, "delete", "httproute", "b-older")
	j.Await(t, "the younger route to take over", func(context.Context) error {
		if got := j.taken(t, address, host, "/"); got != "younger" {
			return fmt.Errorf("rule %q took the request", got)
		}
		return nil
	})
}
