package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"gatehouse.dev/e2e/cluster/filelock"
)

// Down ends the cluster of that name and removes all that is left of it; nothing happens when there is none.
func Down(ctx context.Context, name string, log io.Writer) error {
	cache, err := defaultCache()
	if err != nil {
		return err
	}
	places, err := filesOf(cache, name)
	if err != nil {
		return err
	}
	unlock, err := filelock.Acquire(ctx, places.lock())
	if err != nil {
		return err
	}
	defer unlock()
	started := time.Now()
	if err := tearDown(ctx, name, places); err != nil {
		return fmt.Errorf("end cluster %s: %w", name, err)
	}
	fmt.Fprintf(log, "cluster %s is down after %.1f s\n", name, time.Since(started).Seconds())
	return nil
}

func tearDown(ctx context.Context, name string, places files) error {
	// First of all, so that nobody takes half a cluster for a whole one.
	if err := os.Remove(places.ready()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := endNode(ctx, places); err != nil {
		return err
	}
	if err := removeCgroups(ctx, name); err != nil {
		return err
	}
	return errors.Join(os.RemoveAll(places.state), os.RemoveAll(places.run))
}

// endNode kills the first process of the cluster's process namespace. The kernel then kills all others in it, and
// ends the first only when they are gone; mounts and network go with the last.
func endNode(ctx context.Context, places files) error {
	node, err := readProcess(places.process())
	if errors.Is(err, fs.ErrNotExist) || (err == nil && !node.alive()) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := syscall.Kill(node.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("kill the node process %d: %w", node.PID, err)
	}
	return Poll(ctx, time.Minute, "the end of the node process", func(context.Context) error {
		if node.alive() {
			return fmt.Errorf("process %d still runs", node.PID)
		}
		return nil
	})
}

// hierarchies are the roots of the control groups: one (version 2) or one for each controller (version 1).
func hierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() { // the others are links to these
			found = append(found, filepath.Join(root, entry.Name()))
		}
	}
	return found, nil
}

// makeCgroups makes the root that the pods of this cluster live below.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(filepath.Join(root, cgroup(name)), 0o755); err != nil {
			return err
		}
		// A new group of version 1 has no processors and no memory until it is told which.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			inherited, err := os.ReadFile(filepath.Join(root, file))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(root, cgroup(name), file), inherited, 0o644); err != nil {
				return err
			}
		}
		delegate(root)
	}
	return nil
}

// delegate lets groups below the root of version 2 have controllers. What the machine does not have, the kubelet
// complains of with better words.
func delegate(root string) {
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "io", "hugetlb"} {
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
}

func removeCgroups(ctx context.Context, name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		top := filepath.Join(root, cgroup(name))
		// A group is busy until the kernel has put its dead processes away.
		err := Poll(ctx, 30*time.Second, "remove control group "+top, func(context.Context) error { return removeGroup(top) })
		if err != nil {
			return err
		}
	}
	return nil
}

// removeGroup removes a control group and those below it; the files in it cannot be removed and need not be.
func removeGroup(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeGroup(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
		return err
	}
	return nil
}
