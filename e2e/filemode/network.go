package filemode

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// networkVariable says which network a process is in; set to host, it keeps the tests in the machine's.
const (
	networkVariable = "E2E_NETWORK"
	ownNetwork      = "own"
	hostNetwork     = "host"
)

// unusableNetwork is the exit code of a process that cannot use the network that it was started in.
const unusableNetwork = 125

// Main is the TestMain of packages that need listeners' real ports: it runs the tests in a network of their own, where
// every address of 127.0.0.0/8 and every port is free and may be bound. It needs root or user namespaces; without both
// the tests run in the machine's network, and OwnNetwork is false.
func Main(m *testing.M) {
	switch os.Getenv(networkVariable) {
	case ownNetwork:
		if err := loopbackUp(); err != nil {
			fmt.Fprintln(os.Stderr, "filemode: set up a network:", err)
			os.Exit(unusableNetwork)
		}
	case hostNetwork:
	default:
		code, err := runInOwnNetwork()
		if err == nil {
			os.Exit(code)
		}
		fmt.Fprintln(os.Stderr, "filemode: the tests run in the machine's network:", err)
	}
	os.Exit(m.Run())
}

// OwnNetwork tells whether this process is in a network that Main made.
func OwnNetwork() bool { return os.Getenv(networkVariable) == ownNetwork }

// runInOwnNetwork runs this program again and returns its exit code, or why it did not run.
func runInOwnNetwork() (int, error) {
	// The kernel ends a child with the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var refusals []error
	for _, namespaces := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWNET | unix.CLONE_NEWUSER} {
		code, err := runIn(namespaces)
		if err == nil {
			return code, nil
		}
		refusals = append(refusals, err)
	}
	return 0, errors.Join(refusals...)
}

func runIn(namespaces uintptr) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), networkVariable+"="+ownNetwork)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL}
	if namespaces&unix.CLONE_NEWUSER != 0 {
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	if cmd.ProcessState.ExitCode() == unusableNetwork {
		return 0, errors.New("a network was made, but may not be set up")
	}
	return max(cmd.ProcessState.ExitCode(), exitOfSignal(cmd.ProcessState)), nil
}

// exitOfSignal is what a shell makes of a process that a signal ended.
func exitOfSignal(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return 0
}

// loopbackUp gives a new network its addresses.
func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}
