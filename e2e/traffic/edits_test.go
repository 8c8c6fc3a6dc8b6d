package traffic

import (
	"fmt"
	"testing"
	"time"

	"gatehouse.dev/e2e/manifest"
)

const (
	totalEdits = 500
	// pace is the time between two groups of edits, checkpoint the number of groups after which all
	// that was written must be served.
	pace       = 110 * time.Millisecond
	checkpoint = 25
)

// TestFiveHundredEditsLoseNoRequest edits everything that can be edited, while clients of every kind
// send requests: each reply must be right for a configuration that may be in force, and every
// WebSocket stays open.
func TestFiveHundredEditsLoseNoRequest(t *testing.T) {
	w, scenarios := editedWorld(t)
	for _, s := range scenarios {
		s.edit(t, w)
	}
	settleAll(t, w, scenarios, 10*time.Second)
	l := startLoad(w, scenarios)
	sockets := openAll(t, w, l)
	for edits, group := 0, 0; edits < totalEdits; group++ {
		select {
		case <-l.failed:
			l.end(t)
		case <-time.After(pace):
		}
		// Up to three edits of one thing hard on each other: what is under way is overtaken.
		for range 1 + group%3 {
			scenarios[group%len(scenarios)].edit(t, w)
			edits++
		}
		if group%checkpoint == checkpoint-1 {
			settleAll(t, w, scenarios, 2*time.Second)
		}
	}
	for _, s := range sockets {
		s.close()
	}
	l.end(t)
}

func editedWorld(t *testing.T) (*world, []*scenario) {
	w := newWorld(t,
		manifest.Service("pool"),
		manifest.Route("sockets", gatewayName, host("sockets"), `{backendRefs: [{name: a, port: 80}]}`),
	)
	var addresses []string
	for i := range 3 {
		addresses = append(addresses, w.backend(t, fmt.Sprintf("pool-%d", i+1), 10+i))
	}
	scenarios := append(routeScenarios(), topologyScenarios(w, addresses)...)
	scenarios = append(scenarios, precedenceScenarios()...)
	scenarios = append(scenarios, backendScenarios(t, w)...)
	return w, append(scenarios, rotatedCertificate(t, w), overTLS(w))
}

// openAll opens WebSockets on a route that nobody edits and on routes that are edited all the time,
// withdrawn backends included.
func openAll(t *testing.T, w *world, l *load) []*webSockets {
	t.Helper()
	w.awaitReply(t, 5*time.Second, "the route of the WebSockets", request{host: host("sockets"), path: "/"}, status(200))
	var sockets []*webSockets
	for name, n := range map[string]int{"sockets": 3, "header-filter": 2, "backends": 2, "timeouts": 1, "coming-hostname": 1} {
		s, err := openWebSockets(w, l, host(name), n)
		if err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, s)
	}
	return sockets
}

func settleAll(t *testing.T, w *world, scenarios []*scenario, limit time.Duration) {
	t.Helper()
	for _, s := range scenarios {
		if err := s.settle(w, limit); err != nil {
			t.Fatal(err)
		}
	}
}
