package traffic

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// sharing is a route among many on one hostname; its rule carries the edit that it is at.
func sharing(n, edit int, matches string) manifest.Object {
	return manifest.Route(fmt.Sprintf("shared-%d", n), gatewayName, host("shared"), fmt.Sprintf(
		`{matches: [{path: {type: PathPrefix, value: /p%d}%s}], backendRefs: [{name: a, port: 80}],
		filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Edit, value: "%d"}]}}]}`,
		n, matches, edit))
}

// TestRuleThatOnlyTheProxyRefuses puts an expression that is valid RE2, but larger than the proxy's RE2 allows,
// into one of a thousand rules of one hostname: all of them are one resource, and the refusal names none.
func TestRuleThatOnlyTheProxyRefuses(t *testing.T) {
	const count = 1000
	var routes []manifest.Object
	for n := range count {
		routes = append(routes, sharing(n, 0, ""))
	}
	w := newWorld(t, routes...)
	at := func(n int) request { return request{host: host("shared"), path: fmt.Sprintf("/p%d", n)} }
	edited := func(edit int) func(*reply) bool {
		return func(r *reply) bool { return r.code == 200 && r.header.Get("X-Edit") == fmt.Sprint(edit) }
	}
	w.awaitReply(t, 30*time.Second, "a thousand rules", at(count-1), edited(0))

	tooLarge := strings.Repeat(".{1000}", 500)
	w.write(t, sharing(500, 1, fmt.Sprintf(`, headers: [{type: RegularExpression, name: x, value: %q}]`, tooLarge)))
	w.awaitStatus(t, 2*time.Second, "the refused route says so in the proxy's words", "HTTPRoute", "shared-500",
		func(c map[string]gatehouse.Condition) bool {
			programmed := c["gatehouse.dev/Programmed"]
			return programmed.Status == "False" && strings.Contains(programmed.Message, "too large") &&
				c["Accepted"].Status == "True"
		})
	// The edit asked for less than before, and what it asked for cannot be had: nothing is served in its place.
	w.awaitReply(t, time.Second, "the refused rule is closed", at(500), status(404))
	for edit, n := range []int{1, 499, 501, count - 1} {
		w.write(t, sharing(n, edit+10, ""))
		w.awaitReply(t, time.Second, fmt.Sprintf("an edit of rule %d beside the refused one", n), at(n), edited(edit+10))
	}
	w.write(t, sharing(500, 3, ""))
	w.awaitReply(t, time.Second, "the mended rule", at(500), edited(3))
	w.awaitStatus(t, 2*time.Second, "the mended route is clear again", "HTTPRoute", "shared-500",
		func(c map[string]gatehouse.Condition) bool { return len(c) > 0 && !hasComplaint(c) })
}
