package traffic

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/manifest"
)

// scenario is one thing that is edited again and again, with the traffic that must not notice more
// of it than it may.
type scenario struct {
	name string
	// objects are the files of a version; a nil entry in gone is a file that the version lacks.
	objects func(version int) (present, absent []manifest.Object)
	// requests of the traffic; the number counts up.
	request func(number int) request
	// check tells whether a reply is right for a version.
	check func(version int, r *reply) error
	// between tells whether a reply is right while one version replaces another, though for neither.
	between func(r *reply) bool
	// address overrides where the requests go.
	address string
	// clients is the number of concurrent clients (at least one), fresh says that each request has a
	// connection of its own, reconnects that connections are kept and may be closed.
	clients    int
	fresh      bool
	reconnects bool
	// also send other requests, which the same edits concern.
	also []*scenario

	timeline timeline
	version  int
}

// withAlso is each scenario, followed by those that share its edits.
func withAlso(scenarios []*scenario) []*scenario {
	var all []*scenario
	for _, s := range scenarios {
		all = append(append(all, s), s.also...)
	}
	return all
}

// edit writes the next version.
func (s *scenario) edit(t testing.TB, w *world) {
	t.Helper()
	present, absent := s.objects(s.version)
	for _, sharing := range withAlso([]*scenario{s}) {
		sharing.timeline.began(s.version, describe(present, absent))
	}
	w.write(t, present...)
	for _, object := range absent {
		w.remove(t, object)
	}
	for _, sharing := range withAlso([]*scenario{s}) {
		sharing.timeline.ended()
	}
	s.version++
}

func describe(present, absent []manifest.Object) string {
	var b strings.Builder
	for _, object := range present {
		if object["kind"] == "Secret" {
			fmt.Fprintf(&b, "--- a Secret: %s\n", manifest.FileName(object))
			continue
		}
		text, _ := yaml.Marshal(object)
		fmt.Fprintf(&b, "---\n%s", text)
	}
	for _, object := range absent {
		fmt.Fprintf(&b, "--- removed: %s\n", manifest.FileName(object))
	}
	return b.String()
}

// verify fails with the whole story when no version in force explains the reply.
func (s *scenario) verify(r *reply) error {
	versions := s.timeline.inForce(r.start, r.end)
	if len(versions) > 1 && s.between != nil && s.between(r) {
		return nil
	}
	var reasons []error
	for _, w := range versions {
		err := s.check(w.version, r)
		if err == nil {
			return nil
		}
		reasons = append(reasons, fmt.Errorf("version %d, written %s: %w; its files:\n%s",
			w.version, w.at.Format("15:04:05.000"), err, w.text))
	}
	return fmt.Errorf("scenario %q: no version in force explains this reply:\n%s%w", s.name, r, errors.Join(reasons...))
}

// settle waits until the last version, and only that, is served.
func (s *scenario) settle(w *world, limit time.Duration) error {
	client, _ := s.client()
	defer client.CloseIdleConnections()
	last := s.timeline.last()
	var failure error
	for began := time.Now(); time.Since(began) < limit; time.Sleep(5 * time.Millisecond) {
		r := s.request(0).send(client, s.target(w))
		if failure = s.check(last.version, r); failure == nil {
			return nil
		}
		failure = fmt.Errorf("%w\n%s", failure, r)
	}
	return fmt.Errorf("scenario %q: version %d is not served %s after it was written: %w; its files:\n%s",
		s.name, last.version, limit, failure, last.text)
}

func (s *scenario) target(w *world) string {
	if s.address != "" {
		return s.address
	}
	return w.listener()
}

func (s *scenario) client() (*http.Client, *connections) {
	client, count := newCountingClient()
	if s.fresh {
		transport(client).DisableKeepAlives = true
	}
	return client, count
}

// load runs the clients of scenarios until it is stopped; the first unexpected reply ends it.
type load struct {
	stop    chan struct{}
	clients sync.WaitGroup
	once    sync.Once
	// failed is closed with the failure set.
	failed  chan struct{}
	failure error

	mu      sync.Mutex
	counts  map[string]int
	dropped []string
}

func startLoad(w *world, scenarios []*scenario) *load {
	l := &load{stop: make(chan struct{}), failed: make(chan struct{}), counts: map[string]int{}}
	for _, s := range scenarios {
		for range max(1, s.clients) {
			l.clients.Go(func() { l.run(w, s) })
		}
	}
	return l
}

func (l *load) run(w *world, s *scenario) {
	client, connections := s.client()
	defer client.CloseIdleConnections()
	sent := 0
	defer func() { l.note(s, sent, int(connections.opened.Load())) }()
	for {
		select {
		case <-l.stop:
			return
		case <-l.failed:
			return
		// The clients share two cores with Envoy and gatehouse; flooding would only measure itself.
		case <-time.After(4 * time.Millisecond):
		}
		if err := s.verify(s.request(sent).send(client, s.target(w))); err != nil {
			l.fail(err)
			return
		}
		sent++
	}
}

// note adds up a client's work. A client that keeps its connection must have needed only one: Go
// sends a request again, without a word, when an idle connection turns out to be closed, so a
// drained listener shows only here.
func (l *load) note(s *scenario, sent, opened int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[s.name] += sent
	if !s.fresh && !s.reconnects && opened > 1 {
		l.dropped = append(l.dropped, fmt.Sprintf("a client of scenario %q needed %d connections for %d requests", s.name, opened, sent))
	}
}

func (l *load) fail(err error) {
	l.once.Do(func() {
		l.failure = err
		close(l.failed)
	})
}

// hold keeps everything as it is for a time, or until something failed.
func (l *load) hold(d time.Duration) {
	select {
	case <-l.failed:
	case <-time.After(d):
	}
}

// end stops the clients, waits for the requests under way and reports.
func (l *load) end(t testing.TB) {
	t.Helper()
	close(l.stop)
	l.clients.Wait()
	if l.failure != nil {
		t.Fatalf("first unexpected reply: %v", l.failure)
	}
	for _, complaint := range l.dropped {
		t.Errorf("connections were closed: %s", complaint)
	}
	for name, count := range l.counts {
		if count == 0 {
			t.Errorf("scenario %q sent no request: the test proves nothing", name)
		}
	}
	t.Logf("requests: %v", l.counts)
}
