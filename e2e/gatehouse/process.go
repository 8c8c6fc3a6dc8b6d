// Package gatehouse runs the gatehouse binary and reads what it reports.
package gatehouse

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ControllerName is the controllerName that gatehouse serves by default.
const ControllerName = "gatehouse.dev/gatewayclass-controller"

// Environment variables that name the programs under test.
const (
	binaryVariable = "GATEHOUSE_BIN"
	envoyVariable  = "GATEHOUSE_ENVOY"
)

// Options of a run.
type Options struct {
	Dir   string
	Ports PortMap
	// Args are further arguments.
	Args []string
}

// Process is one `gatehouse run`, which can be killed and started again on the same state.
type Process struct {
	StateDir string
	Admin    string
	options  Options

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
	output bytes.Buffer
}

// T is the part of testing.TB that is needed here; programs that are no tests bring their own.
type T interface {
	Helper()
	Cleanup(func())
	Failed() bool
	Logf(format string, arguments ...any)
	Errorf(format string, arguments ...any)
	Fatalf(format string, arguments ...any)
	Skipf(format string, arguments ...any)
}

// Start runs gatehouse until the test ends and waits until it answers. A test without a binary is
// skipped, unless E2E_REQUIRE is set: then it fails, so that CI cannot pass by testing nothing.
func Start(t T, options Options) *Process {
	t.Helper()
	if os.Getenv(binaryVariable) == "" {
		if os.Getenv("E2E_REQUIRE") != "" {
			t.Fatalf("%s is not set", binaryVariable)
		}
		t.Skipf("%s does not name a gatehouse binary", binaryVariable)
	}
	// Not t.TempDir(): sockets live in it, whose paths may not exceed 108 bytes.
	state, err := os.MkdirTemp("", "gh")
	if err != nil {
		t.Fatalf("%v", err)
	}
	p := &Process{StateDir: state, Admin: freeAddress(t), options: options}
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("end of gatehouse's output:\n%s", p.tail(60))
		}
		_ = os.RemoveAll(state)
	})
	p.Launch(t)
	return p
}

// Launch starts the binary on the present state; used again after Kill.
func (p *Process) Launch(t T) {
	t.Helper()
	args := []string{"run", p.options.Dir, "--state-dir", p.StateDir, "--admin", p.Admin, "--drain-timeout", "5"}
	if envoy := os.Getenv(envoyVariable); envoy != "" {
		args = append(args, "--envoy", envoy)
	}
	args = append(args, p.options.Ports.args()...)
	args = append(args, p.options.Args...)
	cmd := exec.Command(os.Getenv(binaryVariable), args...)
	cmd.Stdout, cmd.Stderr = p, p
	// A group of its own: an interrupt of the tests reaches gatehouse only through stop.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start gatehouse: %v", err)
	}
	exited := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.exited = cmd, exited
	p.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	p.awaitAnswer(t, exited)
}

func (p *Process) awaitAnswer(t T, exited chan struct{}) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		if _, err := p.Status(context.Background()); err == nil {
			return
		}
		select {
		case <-exited:
			t.Fatalf("gatehouse ended at once:\n%s", p.tail(40))
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatalf("gatehouse did not answer on %s within 30 s:\n%s", p.Admin, p.tail(40))
}

// Pid is the process id of gatehouse itself.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Kill ends gatehouse as a crash would and waits for its end; its Envoys live on.
func (p *Process) Kill() {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	_ = cmd.Process.Signal(syscall.SIGKILL)
	<-exited
}

// stop asks gatehouse to drain and end, and kills what is left.
func (p *Process) stop(t T) {
	p.mu.Lock()
	cmd, exited := p.cmd, p.exited
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(30 * time.Second):
		t.Errorf("gatehouse did not end within 30 s of SIGTERM")
		p.Kill()
	}
	for _, pid := range p.EnvoyPids() {
		t.Errorf("Envoy %d outlived gatehouse's orderly end", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Write collects the output of gatehouse.
func (p *Process) Write(text []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(text)
}

func (p *Process) tail(lines int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := bytes.Split(p.output.Bytes(), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// EnvoyPids finds the Envoy processes that belong to this state directory.
func (p *Process) EnvoyPids() []int {
	var pids []int
	commands, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range commands {
		command, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(command, []byte(p.StateDir)) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if program, _, _ := bytes.Cut(command, []byte{0}); strings.Contains(filepath.Base(string(program)), "envoy") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Metrics fetches the Prometheus text of gatehouse.
func (p *Process) Metrics(ctx context.Context) (string, error) {
	body, err := p.get(ctx, "/metrics")
	return string(body), err
}

func (p *Process) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Admin+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", path, response.Status, body)
	}
	return body, err
}

func freeAddress(t T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

var errNoDocument = errors.New("no status document")

// decode reads a status document.
func decode(body []byte) (*Document, error) {
	var document Document
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoDocument, err)
	}
	return &document, nil
}
