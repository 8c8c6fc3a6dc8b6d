// Package cluster builds, starts and uses a real Kubernetes cluster of one node, without Docker: API server,
// controller manager, scheduler, kubelet, kube-proxy, etcd, containerd, CoreDNS, MetalLB and Helm.
//
//	tools    builds everything into a cache, once per version
//	up       certificates and files -> node process in its own namespaces -> components -> CoreDNS and MetalLB
//	node     the node process
//	netns    dials and runs inside the node's network
//	oci      makes images of programs
//
// All of a cluster is in the namespaces of its node process, so clusters of different names do not know of each
// other, nothing leaves the machine, and what Down leaves is nothing. Tests that only talk to the cluster run in
// its network as a whole (see Main), so that net/http and every other client just work.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"gatehouse.dev/e2e/cluster/netns"
	"gatehouse.dev/e2e/cluster/node"
	"gatehouse.dev/e2e/cluster/tools"
)

// DefaultName is the cluster that is meant where none is named.
const DefaultName = "e2e"

// Environment variables that say which cluster to use.
const (
	existingVariable = "E2E_KUBECONFIG" // use this cluster, start none
	nameVariable     = "E2E_CLUSTER"    // the name of our own cluster
)

// Components of the control plane and the node that tests stop and start.
const (
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	KubeProxy         = "kube-proxy"
	Containerd        = "containerd"
	Etcd              = "etcd"
)

// NodeName is the name of the one node.
const NodeName = "node"

// Pools of addresses for Services of type LoadBalancer. A Service gets an external one, unless its annotation
// metallb.io/address-pool names the other pool.
const (
	ExternalPool = "external" // 172.30.20.0/24
	InternalPool = "internal" // 172.30.10.0/24
)

// Cluster is a running cluster: one of ours, or one that exists already (E2E_KUBECONFIG).
type Cluster struct {
	Name       string
	Kubeconfig string

	files   files
	network netns.Namespace
	cache   tools.Cache
}

// files are the places of one cluster of ours.
type files struct {
	state string // on disk: certificates, configuration, logs, images, what the parts of the cluster keep
	run   string // short and in memory: sockets, and what says that the cluster runs
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func filesOf(cache tools.Cache, name string) (files, error) {
	if !validName.MatchString(name) {
		return files{}, fmt.Errorf("cluster name %q: use at most 32 lower-case letters, digits and dashes", name)
	}
	return files{
		state: filepath.Join(cache.Dir, "clusters", name),
		// Not below the cache: the path of a socket has at most 108 bytes.
		run: filepath.Join("/run/gatehouse", name),
	}, nil
}

func (f files) lock() string       { return f.state + ".lock" }
func (f files) pki() string        { return filepath.Join(f.state, "pki") }
func (f files) config() string     { return filepath.Join(f.state, "config") }
func (f files) logs() string       { return filepath.Join(f.state, "log") }
func (f files) kubeconfig() string { return filepath.Join(f.pki(), "admin.conf") }
func (f files) spec() string       { return filepath.Join(f.run, "spec.json") }
func (f files) process() string    { return filepath.Join(f.run, "process.json") }
func (f files) ready() string      { return filepath.Join(f.run, "ready") }
func (f files) control() string    { return filepath.Join(f.run, "control.sock") }
func (f files) containerd() string { return filepath.Join(f.run, "containerd", "containerd.sock") }

// cgroup is the root of the pods' control groups, below the root of each hierarchy.
func cgroup(name string) string { return "gatehouse-" + name }

// Attach gives the cluster of that name, which must be up, or the one that E2E_KUBECONFIG names.
func Attach(name string) (*Cluster, error) {
	if path := os.Getenv(existingVariable); path != "" {
		return existing(path)
	}
	cache, err := defaultCache()
	if err != nil {
		return nil, err
	}
	return attach(cache, name)
}

func attach(cache tools.Cache, name string) (*Cluster, error) {
	places, err := filesOf(cache, name)
	if err != nil {
		return nil, err
	}
	process, err := readProcess(places.process())
	if err != nil {
		return nil, fmt.Errorf("cluster %s is not up: %w", name, err)
	}
	if !process.alive() {
		return nil, fmt.Errorf("cluster %s is not up: its process has ended", name)
	}
	c := &Cluster{Name: name, Kubeconfig: places.kubeconfig(), files: places, cache: cache}
	if os.Getenv(insideVariable) != name {
		c.network = netns.Of(process.PID)
	}
	return c, nil
}

func existing(kubeconfig string) (*Cluster, error) {
	cache, err := defaultCache()
	if err != nil {
		return nil, err
	}
	path, err := filepath.Abs(kubeconfig)
	return &Cluster{Name: "existing", Kubeconfig: path, cache: cache}, err
}

// CacheDir is where tools and clusters are kept.
func CacheDir() (string, error) { return tools.DefaultDir() }

// Network identifies the cluster's network namespace, as the links in /proc/PID/ns do.
func (c *Cluster) Network() (string, error) {
	if c.Existing() {
		return "", errExisting
	}
	process, err := readProcess(c.files.process())
	if err != nil {
		return "", err
	}
	return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", process.PID))
}

func defaultCache() (tools.Cache, error) {
	dir, err := tools.DefaultDir()
	return tools.Cache{Dir: dir, Log: os.Stderr}, err
}

// NameFromEnvironment is the name of our own cluster that tests and commands use.
func NameFromEnvironment() string {
	if name := os.Getenv(nameVariable); name != "" {
		return name
	}
	return DefaultName
}

// Existing says that this is somebody else's cluster: its components and images are not ours to touch.
func (c *Cluster) Existing() bool { return c.files.state == "" }

var errExisting = errors.New("this needs a cluster of our own, unset " + existingVariable)

// StopComponent ends a component, for example APIServer; it stays so until StartComponent.
func (c *Cluster) StopComponent(ctx context.Context, name string) error {
	if c.Existing() {
		return errExisting
	}
	return node.NewClient(c.files.control()).Stop(ctx, name)
}

// StartComponent starts a component again. It does not wait until that is of use (see AwaitAPI, AwaitNode).
func (c *Cluster) StartComponent(ctx context.Context, name string) error {
	if c.Existing() {
		return errExisting
	}
	return node.NewClient(c.files.control()).Start(ctx, name)
}

// Environment is what programs need to use the cluster, as NAME=VALUE.
func (c *Cluster) Environment(ctx context.Context) ([]string, error) {
	kubernetes, err := c.cache.Kubernetes(ctx)
	if err != nil {
		return nil, err
	}
	helm, err := c.cache.Helm(ctx)
	if err != nil {
		return nil, err
	}
	return []string{
		"KUBECONFIG=" + c.Kubeconfig,
		"PATH=" + strings.Join([]string{kubernetes, helm, os.Getenv("PATH")}, ":"),
	}, nil
}
