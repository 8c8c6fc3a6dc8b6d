package traffic

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse.dev/e2e/manifest"
)

// TestNewRoutesGoFrom404To200 adds routes whose second rule names a Service that does not exist; no
// poll may see anything but 404 and then 200.
func TestNewRoutesGoFrom404To200(t *testing.T) {
	w := newWorld(t)
	client := newClient()
	defer client.CloseIdleConnections()
	w.awaitReply(t, 10*time.Second, "the listener", request{host: "nobody.test", path: "/"}, status(404))
	var took []time.Duration
	for n := range 100 {
		name := fmt.Sprintf("route-%d", n)
		w.write(t, probeRoute(name, n))
		began := time.Now()
		q := request{host: host(name), path: fmt.Sprintf("/%d", n)}
		for {
			r := q.send(client, w.listener())
			if r.err == nil && r.code == 200 {
				break
			}
			if r.err != nil || r.code != 404 {
				t.Fatalf("%s: neither 404 nor 200 after %s:\n%s", name, time.Since(began), r)
			}
			if time.Since(began) > 5*time.Second {
				t.Fatalf("%s: still 404 after 5 s:\n%s", name, r)
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("file written to 200: median %s, longest %s", took[len(took)/2], took[len(took)-1])
}

func probeRoute(name string, n int) manifest.Object {
	filters := `filters: [
		{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Probe, value: probe}]}},
		{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Probe, value: probe}]}}]`
	return manifest.Route(name, gatewayName, host(name),
		fmt.Sprintf(`{matches: [{path: {type: PathPrefix, value: /%d}}], backendRefs: [{name: a, port: 80}], %s}`, n, filters),
		fmt.Sprintf(`{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: no-such-backend, port: 80}], %s}`, filters),
	)
}
