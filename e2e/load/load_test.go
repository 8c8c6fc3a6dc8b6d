package load

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// serve starts a server for both versions of HTTP and returns its address.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: handler, Protocols: protocols}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return listener.Addr().String()
}

// drive sends at least so many requests.
func drive(t *testing.T, cfg Config, requests int) Result {
	t.Helper()
	cfg.Rate = 1000
	l := Start(cfg)
	deadline := time.Now().Add(time.Minute)
	for l.Enough(requests) != nil && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	result := l.Stop()
	if result.Requests < requests {
		t.Fatalf("too few: %v", result)
	}
	return result
}

func TestEveryClientAsksAndNothingFails(t *testing.T) {
	var versions [3]atomic.Int64
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		versions[r.ProtoMajor].Add(1)
		if r.Host != "some.host" || r.URL.Path != "/there" {
			w.WriteHeader(http.StatusNotFound)
		}
		fmt.Fprint(w, "fine")
	})
	result := drive(t, Config{Address: address, Host: "some.host", Path: "/there"}, 300)
	if result.Failed > 0 {
		t.Error(result)
	}
	if versions[1].Load() == 0 || versions[2].Load() == 0 {
		t.Errorf("HTTP/1.1 %d times, HTTP/2 %d times", versions[1].Load(), versions[2].Load())
	}
	if result.Connections < 20 || result.Connections > result.Requests*2/3 {
		t.Errorf("some clients should keep their connection, others not: %v", result)
	}
}

func TestWrongStatusAndWrongBodyFail(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	if result := drive(t, Config{Address: address, Host: "h", Path: "/"}, 30); result.Failed != result.Requests {
		t.Error(result)
	}
	address = serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "somebody else") })
	check := func([]byte) error { return errors.New("not ours") }
	if result := drive(t, Config{Address: address, Host: "h", Path: "/", Check: check}, 30); result.Failed != result.Requests {
		t.Error(result)
	}
}

func TestConnectionClosedUnderARequestFails(t *testing.T) {
	var answered atomic.Int64
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		// Only kept connections are closed, and only after they answered: the case that Go would repeat in silence.
		if r.ProtoMajor == 1 && r.Method == http.MethodPost && answered.Add(1)%10 == 0 {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		fmt.Fprint(w, "fine")
	})
	result := drive(t, Config{Address: address, Host: "h", Path: "/"}, 500)
	if result.Failed < 10 {
		t.Error(result)
	}
}
