package node

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func supervise(t *testing.T, components ...Component) *Supervisor {
	t.Helper()
	s := NewSupervisor(Spec{Logs: t.TempDir(), Components: components})
	childEnded := make(chan os.Signal, 1)
	signal.Notify(childEnded, syscall.SIGCHLD)
	go s.Bury(childEnded)
	t.Cleanup(func() {
		for _, component := range components {
			if err := s.Stop(component.Name); err != nil {
				t.Error(err)
			}
		}
		signal.Stop(childEnded)
		close(childEnded)
	})
	return s
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

func sleeper() Component {
	return Component{Name: "sleeper", Args: []string{"sleep", "1000"}, Env: []string{"PATH=" + os.Getenv("PATH")}}
}

func TestComponentThatEndsIsStartedAgain(t *testing.T) {
	s := supervise(t, sleeper())
	if err := s.Start("sleeper"); err != nil {
		t.Fatal(err)
	}
	first := s.Running()["sleeper"]
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "a new process", func() bool {
		now := s.Running()["sleeper"]
		return now != 0 && now != first
	})
}

func TestStoppedComponentIsGoneAndStaysSo(t *testing.T) {
	s := supervise(t, sleeper())
	if err := s.Start("sleeper"); err != nil {
		t.Fatal(err)
	}
	pid := s.Running()["sleeper"]
	if err := s.Stop("sleeper"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("process %d is still there: %v", pid, err)
	}
	s.restart(s.components["sleeper"]) // a restart that was planned before the stop
	if running := s.Running(); len(running) != 0 {
		t.Errorf("these run: %v", running)
	}
}

func TestOutputOfAComponentIsKept(t *testing.T) {
	component := sleeper()
	component.Args = []string{"sh", "-c", "echo hello; exec sleep 1000"}
	s := supervise(t, component)
	if err := s.Start("sleeper"); err != nil {
		t.Fatal(err)
	}
	await(t, "a line in the log", func() bool {
		text, err := os.ReadFile(filepath.Join(s.logs, "sleeper.log"))
		return err == nil && string(text) == "hello\n"
	})
}

func TestComponentThatNobodyKnowsIsAnError(t *testing.T) {
	s := supervise(t)
	if s.Start("other") == nil || s.Stop("other") == nil {
		t.Error("no error")
	}
}
