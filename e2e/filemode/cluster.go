// Package filemode lets the official conformance suite test `gatehouse run DIR` without a cluster.
//
//	suite -- REST --> apiServer --> Store --> fileWriter --> DIR --> gatehouse --> Envoy
//	                                  ^  \--> workloads: echo backends, EndpointSlices
//	                                  \------ statusWriter <-- GET /status <-- gatehouse
//
// The API server is a small imitation: it defaults and validates with the CRDs' own schemas and the
// API server's own libraries, and keeps generations as an API server does.
package filemode

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

// Cluster is the imitation of a cluster around one gatehouse process.
type Cluster struct {
	Store     *Store
	resources []*resource
	server    *httptest.Server
	workloads *workloads
	statuses  *statusWriter

	dirty  chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// Options of a Cluster.
type Options struct {
	// Dir is the folder that gatehouse watches.
	Dir manifest.Dir
	// CRDs are installed before anything else.
	CRDs []apiextensionsv1.CustomResourceDefinition
	// Controller is the controllerName whose status entries are ours.
	Controller string
}

// New starts the cluster; it ends with the test.
func New(t testing.TB, options Options) *Cluster {
	t.Helper()
	c, err := newCluster(t, options)
	if err != nil {
		t.Fatalf("start the imitated cluster: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	c.done.Go(func() { c.runWorkloads(ctx) })
	t.Cleanup(c.close)
	return c
}

func newCluster(t testing.TB, options Options) (*Cluster, error) {
	c := &Cluster{Store: newStore(), resources: builtins(), dirty: make(chan struct{}, 1)}
	for i := range options.CRDs {
		r, err := fromCRD(&options.CRDs[i])
		if err != nil {
			return nil, err
		}
		c.resources = append(c.resources, r)
	}
	fail := func(err error) { t.Errorf("imitated cluster: %v", err) }
	files := &fileWriter{dir: options.Dir, fail: fail}
	c.Store.observe(files.changed)
	c.Store.observe(c.noteWorkload)
	c.workloads = &workloads{
		store: c.Store, fail: fail, running: map[key]*pod{},
		deployments: c.resource("Deployment"), pods: c.resource("Pod"),
		services: c.resource("Service"), endpointSlices: c.resource("EndpointSlice"),
		secrets: c.resource("Secret"), configMaps: c.resource("ConfigMap"),
	}
	c.statuses = &statusWriter{store: c.Store, resources: c.resources, controller: options.Controller}
	for i := range options.CRDs {
		if err := c.installCRD(&options.CRDs[i]); err != nil {
			return nil, err
		}
	}
	c.server = httptest.NewServer(&apiServer{resources: c.resources, store: c.Store, podLogs: c.workloads.logs})
	return c, nil
}

func (c *Cluster) resource(kind string) *resource {
	index := slices.IndexFunc(c.resources, func(r *resource) bool { return r.kind == kind })
	return c.resources[index]
}

func (c *Cluster) installCRD(crd *apiextensionsv1.CustomResourceDefinition) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(crd)
	if err != nil {
		return err
	}
	k := key{c.resource("CustomResourceDefinition"), "", crd.Name}
	if _, err := c.Store.create(k, "v1", &unstructured.Unstructured{Object: content}); err != nil {
		return fmt.Errorf("install CRD %s: %w", crd.Name, err)
	}
	return nil
}

// RestConfig is what clients of the cluster use.
func (c *Cluster) RestConfig() *rest.Config {
	return &rest.Config{
		Host:          c.server.URL,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
		QPS:           -1, // no client-side limit
	}
}

// Follow merges the statuses of a gatehouse process into the cluster until the test ends.
func (c *Cluster) Follow(t testing.TB, process *gatehouse.Process) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for document := range process.Statuses(ctx, 50*time.Millisecond) {
			if err := c.statuses.apply(document); err != nil {
				t.Errorf("merge statuses: %v", err)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

// noteWorkload wakes the controllers when something that they read or write has changed.
func (c *Cluster) noteWorkload(k key, _ *unstructured.Unstructured) {
	switch k.resource.kind {
	case "Deployment", "Pod", "Service", "EndpointSlice", "Secret":
		select {
		case c.dirty <- struct{}{}:
		default:
		}
	}
}

func (c *Cluster) runWorkloads(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirty:
			c.workloads.reconcile()
		}
	}
}

func (c *Cluster) close() {
	c.cancel()
	c.done.Wait()
	c.server.Close()
	c.workloads.close()
}
