// Package load sends requests without a pause and tells which of them failed.
//
// Every client is one goroutine with one transport, and repeats nothing on its own. Go does repeat a request without a
// word when a kept connection turns out to be closed, unless its body cannot be sent again: so the clients that keep
// their connection send such bodies. Over HTTP/2 Go repeats only what the server said it did not look at.
package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Patience is how long a request may take before it counts as failed.
const Patience = 15 * time.Second

// Config says whom to ask, and how often.
type Config struct {
	Address string // host:port to connect to
	Host    string // the Host header
	Path    string
	TLS     *tls.Config             // asks over HTTPS; nil for plain HTTP
	Rate    int                     // requests a second, of all clients together
	Check   func(body []byte) error // of a 200; nil for any body
}

// client is a way of asking.
type client struct {
	name     string
	count    int
	http2    bool
	fresh    bool          // a connection for each request
	slowness time.Duration // how long the backend is asked to wait, so that answers are under way at any time
}

var clients = []client{
	{name: "HTTP/1.1 kept", count: 4},
	{name: "HTTP/1.1 fresh", count: 3, fresh: true},
	{name: "HTTP/2 kept", count: 2, http2: true},
	{name: "HTTP/2 fresh", count: 1, http2: true, fresh: true},
	{name: "HTTP/1.1 slow", count: 2, slowness: 2 * time.Second},
}

// Load is traffic that goes on until Stop.
type Load struct {
	cfg     Config
	started time.Time
	cancel  context.CancelFunc
	ended   sync.WaitGroup
	sent    atomic.Int64

	mu     sync.Mutex
	result Result
}

// Result is what became of the requests.
type Result struct {
	Requests    int
	Connections int
	Failed      int
	Slowest     time.Duration // of those that were not to be slow
	Duration    time.Duration
	Failures    []string // the first ones
}

const failuresKept = 30

func (r Result) String() string {
	text := fmt.Sprintf("%d requests on %d connections in %.0f s, %d failed, the slowest took %v",
		r.Requests, r.Connections, r.Duration.Seconds(), r.Failed, r.Slowest.Round(time.Millisecond))
	return strings.Join(append([]string{text}, r.Failures...), "\n  ")
}

// Start starts all clients.
func Start(cfg Config) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cfg: cfg, started: time.Now(), cancel: cancel}
	paced := 0
	for _, kind := range clients {
		if kind.slowness == 0 {
			paced += kind.count
		}
	}
	interval := time.Duration(paced) * time.Second / time.Duration(cfg.Rate)
	for _, kind := range clients {
		for range kind.count {
			l.ended.Go(func() { l.run(ctx, kind, interval) })
		}
	}
	return l
}

// Enough is nil as soon as so many requests were sent.
func (l *Load) Enough(requests int) error {
	if sent := int(l.sent.Load()); sent < requests {
		return fmt.Errorf("%d of %d requests were sent", sent, requests)
	}
	return nil
}

// Stop lets the requests under way end, and tells what became of all.
func (l *Load) Stop() Result {
	l.cancel()
	l.ended.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result.Duration = time.Since(l.started)
	return l.result
}

// run asks until the context ends; a request that is under way then is waited for.
func (l *Load) run(ctx context.Context, kind client, interval time.Duration) {
	transport := l.transport(kind)
	defer transport.CloseIdleConnections()
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		started := time.Now()
		err := l.ask(transport, kind)
		took := time.Since(started)
		l.sent.Add(1)
		l.note(func(r *Result) {
			r.Requests++
			if kind.slowness == 0 {
				r.Slowest = max(r.Slowest, took)
			}
			if err == nil {
				return
			}
			r.Failed++
			if len(r.Failures) < failuresKept {
				r.Failures = append(r.Failures, fmt.Sprintf("%s %s after %v: %v",
					started.Format("15:04:05.000"), kind.name, took.Round(time.Millisecond), err))
			}
		})
	}
}

func (l *Load) note(change func(*Result)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.result)
}

func (l *Load) transport(kind client) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!kind.http2)
	protocols.SetUnencryptedHTTP2(kind.http2 && l.cfg.TLS == nil)
	protocols.SetHTTP2(kind.http2 && l.cfg.TLS != nil)
	return &http.Transport{
		Protocols:          protocols,
		TLSClientConfig:    l.cfg.TLS.Clone(),         // nil of nil
		DisableKeepAlives:  kind.fresh && !kind.http2, // over HTTP/2 it would only be a header
		DisableCompression: true,
		MaxIdleConns:       1,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, l.cfg.Address)
			if err == nil {
				l.note(func(r *Result) { r.Connections++ })
			}
			return conn, err
		},
	}
}

func (l *Load) ask(transport *http.Transport, kind client) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if kind.fresh {
		defer transport.CloseIdleConnections()
	}
	request, err := l.request(ctx, kind)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return fmt.Errorf("status %d, then %w", response.StatusCode, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.200q", response.StatusCode, body)
	}
	if l.cfg.Check == nil {
		return nil
	}
	return l.cfg.Check(body)
}

func (l *Load) request(ctx context.Context, kind client) (*http.Request, error) {
	url := "http://" + l.cfg.Host + l.cfg.Path
	if l.cfg.TLS != nil {
		url = "https://" + l.cfg.Host + l.cfg.Path
	}
	if kind.slowness > 0 {
		url += "?delay=" + kind.slowness.String()
	}
	if kind.fresh || kind.http2 {
		return http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	}
	// A reader that the client cannot rewind: see above.
	body := struct{ io.Reader }{strings.NewReader("once")}
	return http.NewRequestWithContext(ctx, http.MethodPost, url, body)
}
