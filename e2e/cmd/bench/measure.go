package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"gatehouse.dev/e2e/echo"
	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

const (
	className   = "gatehouse"
	gatewayName = "gw"
	address     = "127.50.0.1"
	port        = 10080
	backend     = "127.50.1.1"
	marker      = "X-Edit"
)

type result struct {
	gatehouse, floor []time.Duration
	bytesPerEdit     int
	residentKiB      int
}

// measure runs gatehouse with n routes, records what it sends, and plays that to a fresh Envoy.
func measure(n, edits int, shape string) (_ *result, err error) {
	t := &runner{}
	defer t.end()
	defer func() {
		if failure := recover(); failure != nil {
			if f, ok := failure.(fatal); ok {
				err = errors.New(string(f))
				return
			}
			panic(failure)
		}
	}()
	server, err := echo.Start(echo.Config{IP: backend, HTTPPort: echo.HTTPPort, Pod: "a"})
	if err != nil {
		return nil, err
	}
	defer server.Close()
	s, err := newSetup(n, shape)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(string(s.dir))
	process := gatehouse.Start(t, gatehouse.Options{Dir: string(s.dir)})
	if err := s.await(0, 120*time.Second); err != nil {
		return nil, err
	}
	out := &result{}
	if out.gatehouse, err = s.measure(edits, s.write); err != nil {
		return nil, fmt.Errorf("gatehouse: %w", err)
	}
	if out.residentKiB, err = gatehouse.ResidentKiB(process.Pid()); err != nil {
		return nil, err
	}
	recording, proxy, err := record(process, s)
	if err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	out.bytesPerEdit = recording.editBytes()
	t.end()
	floor, err := startFloor(recording, proxy)
	if err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	defer floor.close()
	if err := s.await(floor.version(), 120*time.Second); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	if out.floor, err = s.measure(edits, floor.edit); err != nil {
		return nil, fmt.Errorf("floor: %w", err)
	}
	return out, nil
}

// setup is the configuration: n routes, of which the one in the middle is edited.
type setup struct {
	dir   manifest.Dir
	n     int
	shape string
	http  http.Client
}

func newSetup(n int, shape string) (*setup, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	s := &setup{dir: manifest.Dir(dir), n: n, shape: shape}
	s.http.Timeout = 5 * time.Second
	objects := []manifest.Object{
		manifest.Class(className, gatehouse.ControllerName),
		manifest.Gateway(gatewayName, className, address, fmt.Sprintf(`{name: http, port: %d, protocol: HTTP}`, port)),
		manifest.Service("a"),
		manifest.Slice("a", echo.HTTPPort, backend),
	}
	for i := range n {
		objects = append(objects, s.route(i, 0))
	}
	for _, object := range objects {
		if err := s.dir.Write(object); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *setup) hostname(i int) string {
	if s.shape == "rules" {
		return "all.example.test"
	}
	return fmt.Sprintf("r%d.example.test", i)
}

func (s *setup) route(i, version int) manifest.Object {
	return manifest.Route(fmt.Sprintf("r%d", i), gatewayName, s.hostname(i), fmt.Sprintf(`{
		matches: [{path: {type: PathPrefix, value: /r%d}}], backendRefs: [{name: a, port: 80}],
		filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: %s, value: v%d}]}}]}`, i, marker, version))
}

// write edits the file of the route in the middle. Only two versions exist: the floor has no more.
func (s *setup) write(version int) error { return s.dir.Write(s.route(s.n/2, version)) }

// measure alternates between the versions 1 and 0 and times each from just before the change.
func (s *setup) measure(edits int, change func(version int) error) ([]time.Duration, error) {
	var out []time.Duration
	for edit := range edits + edits%2 {
		// The proxy is at rest when the next change comes.
		time.Sleep(150 * time.Millisecond)
		version := 1 - edit%2
		began := time.Now()
		if err := change(version); err != nil {
			return nil, err
		}
		if err := s.await(version, 20*time.Second); err != nil {
			return nil, err
		}
		out = append(out, time.Since(began))
	}
	return out, nil
}

// await polls every millisecond until a version is served.
func (s *setup) await(version int, limit time.Duration) error {
	i := s.n / 2
	wanted := fmt.Sprintf("v%d", version)
	var last string
	for began := time.Now(); time.Since(began) < limit; time.Sleep(time.Millisecond) {
		request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s:%d/r%d", address, port, i), nil)
		if err != nil {
			return err
		}
		request.Host = s.hostname(i)
		response, err := s.http.Do(request)
		if err != nil {
			last = err.Error()
			continue
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if response.Header.Get(marker) == wanted {
			return nil
		}
		last = response.Status + " " + response.Header.Get(marker)
	}
	return fmt.Errorf("version %s is not served after %s: %s", wanted, limit, last)
}

// runner stands in for a test.
type runner struct{ cleanups []func() }

type fatal string

func (r *runner) Helper()          {}
func (r *runner) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }
func (r *runner) Failed() bool     { return false }
func (r *runner) Logf(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", arguments...)
}
func (r *runner) Errorf(format string, arguments ...any) { r.Logf(format, arguments...) }
func (r *runner) Fatalf(format string, arguments ...any) {
	panic(fatal(fmt.Sprintf(format, arguments...)))
}
func (r *runner) Skipf(format string, arguments ...any) { r.Fatalf(format, arguments...) }

// end runs the cleanups, once.
func (r *runner) end() {
	cleanups := r.cleanups
	r.cleanups = nil
	for i := len(cleanups) - 1; i >= 0; i-- {
		cleanups[i]()
	}
}
