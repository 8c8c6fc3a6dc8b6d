package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// restartDelay keeps a component that cannot start from burning the processor.
	restartDelay = time.Second
	// stopPatience is how long a component may take to end when it is asked to.
	stopPatience = 10 * time.Second
)

// Supervisor runs components and, being the first process, buries the dead of the whole namespace.
type Supervisor struct {
	logs string

	mu         sync.Mutex
	components map[string]*running
}

// running is a component and its present process, if any.
type running struct {
	Component
	wanted bool
	pid    int           // 0: none
	ended  chan struct{} // closed when the process is gone
}

// NewSupervisor knows the components of a specification and starts none.
func NewSupervisor(spec Spec) *Supervisor {
	s := &Supervisor{logs: spec.Logs, components: map[string]*running{}}
	for _, component := range spec.Components {
		s.components[component.Name] = &running{Component: component}
	}
	return s
}

// Start starts a component; nothing happens when it runs.
func (s *Supervisor) Start(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	component, known := s.components[name]
	if !known {
		return fmt.Errorf("there is no component %q", name)
	}
	component.wanted = true
	return s.launch(component)
}

// Stop ends a component, and returns when its process is gone.
func (s *Supervisor) Stop(name string) error {
	s.mu.Lock()
	component, known := s.components[name]
	if !known {
		s.mu.Unlock()
		return fmt.Errorf("there is no component %q", name)
	}
	component.wanted = false
	pid, ended := component.pid, component.ended
	s.mu.Unlock()
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("end %s: %w", name, err)
	}
	select {
	case <-ended:
		return nil
	case <-time.After(stopPatience):
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill %s: %w", name, err)
	}
	<-ended
	return nil
}

// Running lists the components that have a process, with its id inside the namespace.
func (s *Supervisor) Running() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := map[string]int{}
	for name, component := range s.components {
		if component.pid != 0 {
			pids[name] = component.pid
		}
	}
	return pids
}

// launch starts the process; the lock is held, so that Bury cannot meet a process that nobody knows yet.
func (s *Supervisor) launch(component *running) error {
	if component.pid != 0 {
		return nil
	}
	output, err := os.OpenFile(filepath.Join(s.logs, component.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	program, err := find(component.Args[0], component.Env)
	if err != nil {
		return err
	}
	// Not os/exec: it waits for its processes itself, and so does Bury.
	pid, err := syscall.ForkExec(program, component.Args, &syscall.ProcAttr{
		Env:   component.Env,
		Files: []uintptr{0, output.Fd(), output.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", component.Name, err)
	}
	component.pid, component.ended = pid, make(chan struct{})
	return nil
}

// Bury waits for every process of the namespace that has no other parent, until the process itself ends.
func (s *Supervisor) Bury(childEnded <-chan os.Signal) {
	for range childEnded {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			s.gone(pid, status)
		}
	}
}

func (s *Supervisor) gone(pid int, status syscall.WaitStatus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, component := range s.components {
		if component.pid != pid {
			continue
		}
		component.pid = 0
		close(component.ended)
		if component.wanted {
			log.Printf("%s ended (exit status %d, signal %d); starting it again", component.Name, status.ExitStatus(), status.Signal())
			time.AfterFunc(restartDelay, func() { s.restart(component) })
		}
	}
}

func (s *Supervisor) restart(component *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !component.wanted {
		return
	}
	if err := s.launch(component); err != nil {
		log.Print(err)
		time.AfterFunc(restartDelay, func() { s.restart(component) })
	}
}

// find looks for a program in the PATH that it is going to have.
func find(program string, env []string) (string, error) {
	if filepath.IsAbs(program) {
		return program, nil
	}
	for _, setting := range env {
		list, isPath := strings.CutPrefix(setting, "PATH=")
		if !isPath {
			continue
		}
		for _, dir := range filepath.SplitList(list) {
			candidate := filepath.Join(dir, program)
			if found, err := exec.LookPath(candidate); err == nil {
				return found, nil
			}
		}
	}
	return "", fmt.Errorf("find %s: %w", program, fs.ErrNotExist)
}
