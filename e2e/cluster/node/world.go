package node

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Prepare makes the namespaces that this process was started in usable. It refuses to run where it would change the
// machine's own mounts and network.
func Prepare(spec Spec) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("the node has to be the first process of its own namespaces")
	}
	if err := mounts(spec); err != nil {
		return err
	}
	return network(spec)
}

func mounts(spec Spec) error {
	// First private, so that nothing reaches the machine; then shared among the node's own mount namespaces,
	// because the kubelet wants its mounts to reach the containers.
	for _, propagation := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", "/", "", unix.MS_REC|propagation, ""); err != nil {
			return fmt.Errorf("change the propagation of the mounts: %w", err)
		}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, bind := range spec.Binds {
		for _, dir := range []string{bind.From, bind.To} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := unix.Mount(bind.From, bind.To, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", bind.From, bind.To, err)
		}
	}
	return nil
}

// network gives the node its address on a pair of interfaces that are both in here: nothing leads out.
func network(spec Spec) error {
	for _, command := range []string{
		"link set lo up",
		"link add node0 type veth peer name node1",
		"addr add " + spec.Address + " dev node0",
		"link set node0 up",
		"link set node1 up",
		"route add default dev node0",
	} {
		if said, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", command, err, said)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
}
