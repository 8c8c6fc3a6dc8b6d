package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse.dev/e2e/cluster/filelock"
	"gatehouse.dev/e2e/cluster/netns"
	"gatehouse.dev/e2e/cluster/node"
	"gatehouse.dev/e2e/cluster/tools"
)

// Up gives the cluster of that name; it starts it if it is not up, or is made of something else by now.
// Progress is written to log.
func Up(ctx context.Context, name string, log io.Writer) (*Cluster, error) {
	if os.Getenv(existingVariable) != "" {
		return Attach(name)
	}
	if os.Geteuid() != 0 {
		return nil, errors.New("a cluster needs root: it makes namespaces, mounts and control groups")
	}
	cache, err := defaultCache()
	if err != nil {
		return nil, err
	}
	cache.Log = log
	places, err := filesOf(cache, name)
	if err != nil {
		return nil, err
	}
	p, err := install(ctx, cache)
	if err != nil {
		return nil, err
	}
	unlock, err := filelock.Acquire(ctx, places.lock())
	if err != nil {
		return nil, err
	}
	defer unlock()
	c := &Cluster{Name: name, Kubeconfig: places.kubeconfig(), files: places, cache: cache}
	spec, err := json.MarshalIndent(c.spec(p), "", "  ")
	if err != nil {
		return nil, err
	}
	if old, err := os.ReadFile(places.ready()); err == nil && bytes.Equal(old, spec) {
		if running, err := attach(cache, name); err == nil {
			return running, nil
		}
	}
	if err := tearDown(ctx, name, places); err != nil {
		return nil, err
	}
	started := time.Now()
	if err := c.start(ctx, p, spec); err != nil {
		// Half a cluster is of no use to anybody, its logs are. The context may be why it is only a half.
		uncancelled := context.WithoutCancel(ctx)
		ended := errors.Join(endNode(uncancelled, places), removeCgroups(uncancelled, name))
		return nil, fmt.Errorf("start cluster %s (its logs are in %s): %w", name, places.logs(), errors.Join(err, ended))
	}
	fmt.Fprintf(log, "cluster %s is up after %.0f s\n", name, time.Since(started).Seconds())
	// Only a cluster that came up as a whole is used again.
	return c, os.WriteFile(places.ready(), spec, 0o644)
}

// install builds one after the other: each build keeps all processors busy by itself.
func install(ctx context.Context, cache tools.Cache) (p parts, err error) {
	nodeParts, err := cache.Node(ctx)
	if err != nil {
		return p, err
	}
	p.path, p.cni = nodeParts.Path, nodeParts.CNI
	program := func(path string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) { return cache.Program(ctx, path) }
	}
	for _, step := range []struct {
		target *string
		make   func(context.Context) (string, error)
	}{
		{&p.supervisor, program("gatehouse.dev/e2e/cmd/cluster-node")},
		{&p.pause, program("gatehouse.dev/e2e/cmd/pause")},
		{&p.kubernetes, cache.Kubernetes},
		{&p.coredns, cache.CoreDNS},
		{&p.metallb, cache.MetalLB},
	} {
		if *step.target, err = step.make(ctx); err != nil {
			return p, err
		}
	}
	// What is used from inside the cluster's network must be here before.
	if _, err = cache.Helm(ctx); err != nil {
		return p, err
	}
	_, err = cache.GatewayAPI(ctx)
	return p, err
}

func (c *Cluster) start(ctx context.Context, p parts, spec []byte) error {
	if err := c.writeFiles(p); err != nil {
		return err
	}
	if err := os.WriteFile(c.files.spec(), spec, 0o644); err != nil {
		return err
	}
	if err := makeCgroups(c.Name); err != nil {
		return err
	}
	if err := c.startNode(ctx, p); err != nil {
		return err
	}
	if err := c.startComponents(ctx, Etcd, Containerd, APIServer); err != nil {
		return err
	}
	metallb, err := readMetalLB(p)
	if err != nil {
		return err
	}
	tasks, both := errgroup.WithContext(ctx)
	tasks.Go(func() error { return c.loadOwnImages(both, p, metallb) })
	tasks.Go(func() error { return c.AwaitAPI(both) })
	if err := tasks.Wait(); err != nil {
		return err
	}
	if err := c.startComponents(ctx, ControllerManager, Scheduler, Kubelet, KubeProxy); err != nil {
		return err
	}
	if err := c.applyAddons(ctx, metallb); err != nil {
		return err
	}
	return c.AwaitNode(ctx)
}

// startNode starts the process that the cluster lives and dies with.
func (c *Cluster) startNode(ctx context.Context, p parts) error {
	output, err := os.OpenFile(filepath.Join(c.files.logs(), "node.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(p.supervisor, c.files.spec())
	cmd.Stdout, cmd.Stderr = output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC,
	}
	// The node does nothing until it is told to: were this process cut off before it noted whom it started, the node
	// would end as well.
	release, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the node: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	started, err := describeProcess(cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := started.write(c.files.process()); err != nil {
		return err
	}
	if _, err := io.WriteString(release, node.GoAhead); err != nil {
		return err
	}
	if os.Getenv(insideVariable) != c.Name {
		c.network = netns.Of(started.PID)
	}
	return Poll(ctx, 10*time.Second, "the node's control socket", func(ctx context.Context) error {
		select {
		case err := <-ended:
			return fatal(fmt.Errorf("the node ended: %w", err))
		default:
		}
		_, err := node.NewClient(c.files.control()).Running(ctx)
		return err
	})
}

func (c *Cluster) startComponents(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := c.StartComponent(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
