package traffic

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// TestKilledGatehouseDropsNoConnection kills gatehouse under traffic and starts it again: Envoy goes
// on, and the new process takes it over.
func TestKilledGatehouseDropsNoConnection(t *testing.T) {
	w := newWorld(t, manifest.Route("sockets", gatewayName, host("sockets"), `{backendRefs: [{name: a, port: 80}]}`))
	scenarios := []*scenario{alternatingBackends("backends"), slow(alternatingBackends("slow-backends")), retries()}
	for _, s := range scenarios {
		// Envoy's back-off lets it find the new process up to two seconds later.
		s.timeline.grace = 4 * time.Second
		s.edit(t, w)
	}
	settleAll(t, w, scenarios, 10*time.Second)
	before := w.EnvoyPids()
	if len(before) != 1 {
		t.Fatalf("want one Envoy, found %v", before)
	}
	l := startLoad(w, scenarios)
	sockets, err := openWebSockets(w, l, host("sockets"), 5)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		time.Sleep(500 * time.Millisecond)
		w.Kill()
		// The proxy must live on without a controller for a while.
		time.Sleep(time.Second)
		w.Launch(t)
		for _, s := range scenarios {
			s.edit(t, w)
		}
		settleAll(t, w, scenarios, 5*time.Second)
	}
	if after := w.EnvoyPids(); !slices.Equal(before, after) {
		t.Errorf("Envoy was not taken over: before %v, after %v", before, after)
	}
	sockets.close()
	l.end(t)
	w.awaitStatus(t, 5*time.Second, "the Gateway is programmed", "Gateway", gatewayName,
		func(c map[string]gatehouse.Condition) bool { return c["Programmed"].Status == "True" })
}

// TestFilesChangedWhileGatehouseWasDeadTakeEffect edits and deletes while nobody watches.
func TestFilesChangedWhileGatehouseWasDeadTakeEffect(t *testing.T) {
	gone := marked("gone", 0)
	w := newWorld(t, gone, marked("stays", 0))
	for _, name := range []string{"gone", "stays"} {
		w.awaitReply(t, 10*time.Second, name, request{host: host(name), path: "/"}, status(200))
	}
	w.Kill()
	w.remove(t, gone)
	w.write(t, marked("stays", 1), marked("new", 0))
	w.Launch(t)
	w.awaitReply(t, 3*time.Second, "the new route", request{host: host("new"), path: "/"}, status(200))
	w.awaitReply(t, time.Second, "the edited route", request{host: host("stays"), path: "/"},
		func(r *reply) bool { return r.header.Get("X-Edit") == "1" })
	w.awaitReply(t, time.Second, "the deleted route", request{host: host("gone"), path: "/"}, status(404))
}

func TestKilledEnvoyComesBack(t *testing.T) {
	w := newWorld(t, marked("r", 0))
	q := request{host: host("r"), path: "/"}
	w.awaitReply(t, 10*time.Second, "the route", q, status(200))
	before := w.EnvoyPids()
	for _, pid := range before {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	took := w.awaitReply(t, 10*time.Second, "Envoy after a crash", q, status(200))
	t.Logf("served again after %s", took)
	if after := w.EnvoyPids(); len(after) != 1 || slices.Equal(before, after) {
		t.Errorf("want one new Envoy: before %v, after %v", before, after)
	}
	mustBeEditable(t, w, "r", 1)
}

// TestBrokenFileKeepsItsLastGoodContent writes what no YAML parser understands.
func TestBrokenFileKeepsItsLastGoodContent(t *testing.T) {
	w := newWorld(t, marked("r", 0))
	q := request{host: host("r"), path: "/"}
	w.awaitReply(t, 10*time.Second, "the route", q, status(200))
	if err := w.dir.WriteText(manifest.FileName(marked("r", 0)), []byte("spec: {rules: [\n\t%")); err != nil {
		t.Fatal(err)
	}
	for edit := range 3 {
		mustBeEditable(t, w, "other", edit)
	}
	client := newClient()
	for range 50 {
		if r := q.send(client, w.listener()); r.code != 200 || r.header.Get("X-Edit") != "0" {
			t.Fatalf("the last good content is not served:\n%s", r)
		}
		time.Sleep(10 * time.Millisecond)
	}
	mustBeEditable(t, w, "r", 1)
}
