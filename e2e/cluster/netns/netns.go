// Package netns does things inside another process's network namespace: dial, start a program, or
// become a program. Whoever stays outside can so talk to addresses that exist only in there.
package netns

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace by the path of its file; the empty one is the caller's own.
type Namespace struct{ path string }

// Of is the namespace of a process.
func Of(pid int) Namespace { return Namespace{path: fmt.Sprintf("/proc/%d/ns/net", pid)} }

// Do runs f on a thread that is inside the namespace. Sockets that f itself opens and programs that it
// starts belong to the namespace; what f hands to other goroutines does not.
func (n Namespace) Do(f func() error) error {
	if n.path == "" {
		return f()
	}
	runtime.LockOSThread()
	home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("open this thread's network namespace: %w", err)
	}
	defer unix.Close(home)
	if err := n.join(); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	result := f()
	// A thread that cannot return stays locked: it ends with its goroutine and misleads nobody.
	if err := unix.Setns(home, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("return from %s: %w", n.path, err)
	}
	runtime.UnlockOSThread()
	return result
}

// DialContext connects from inside. Addresses are numeric: names would be looked up outside.
func (n Namespace) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if n.path != "" && net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s: a numeric address is needed to dial inside a namespace", address)
	}
	var conn net.Conn
	err = n.Do(func() error {
		var dialer net.Dialer
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Start starts a program inside.
func (n Namespace) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Exec replaces this whole process by a program inside; it returns only when that fails.
func (n Namespace) Exec(path string, argv, env []string) error {
	// The thread that calls execve is the one that survives it, and its namespace with it.
	runtime.LockOSThread()
	if n.path != "" {
		if err := n.join(); err != nil {
			return err
		}
	}
	return fmt.Errorf("exec %s: %w", path, unix.Exec(path, argv, env))
}

func (n Namespace) join() error {
	fd, err := unix.Open(n.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", n.path, err)
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %s (it needs root): %w", n.path, err)
	}
	return nil
}
