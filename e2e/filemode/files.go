package filemode

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"gatehouse.dev/e2e/manifest"
)

// unwritten are kinds that are the cluster's own business; gatehouse is given what they lead to
// (EndpointSlices).
var unwritten = map[string]bool{
	"Pod": true, "Deployment": true, "ServiceAccount": true, "CustomResourceDefinition": true,
}

// fileWriter mirrors the store into the folder that gatehouse watches.
type fileWriter struct {
	dir       manifest.Dir
	addresses addressPool
	fail      func(error)
}

// changed is a store observer.
func (f *fileWriter) changed(k key, object *unstructured.Unstructured) {
	if unwritten[k.resource.kind] {
		return
	}
	var err error
	if object == nil {
		err = f.dir.Remove(map[string]any{
			"kind":     k.resource.kind,
			"metadata": map[string]any{"namespace": k.namespace, "name": k.name},
		})
	} else {
		err = f.dir.Write(f.fileOf(k, object).Object)
	}
	if err != nil {
		f.fail(fmt.Errorf("file of %s: %w", k, err))
	}
}

// fileOf is the object as it stands in its file: without status, and a Gateway with an address.
func (f *fileWriter) fileOf(k key, object *unstructured.Unstructured) *unstructured.Unstructured {
	unstructured.RemoveNestedField(object.Object, "status")
	object.SetResourceVersion("")
	if k.resource.kind != "Gateway" {
		return object
	}
	addresses, _, _ := unstructured.NestedSlice(object.Object, "spec", "addresses")
	// In a cluster every Gateway gets a Service of its own; on one host each needs its own address, or
	// the Gateways that all listen on port 80 would be in each other's way.
	if len(addresses) == 0 {
		_ = unstructured.SetNestedSlice(object.Object, []any{
			map[string]any{"type": "IPAddress", "value": f.addresses.of(k)},
		}, "spec", "addresses")
	}
	return object
}

// addressPool gives each Gateway a loopback address for good: one that were used again at once
// could still be held by an Envoy that drains.
type addressPool struct {
	mu    sync.Mutex
	given map[key]string
}

func (p *addressPool) of(k key) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given == nil {
		p.given = map[key]string{}
	}
	if _, ok := p.given[k]; !ok {
		p.given[k] = loopback(gatewayBlock, len(p.given))
	}
	return p.given[k]
}

// Blocks of 127.0.0.0/8, all of which is loopback on Linux.
const (
	podBlock     = 10 // 127.10.0.0/16
	gatewayBlock = 20 // 127.20.0.0/16
)

func loopback(block, index int) string {
	return fmt.Sprintf("127.%d.%d.%d", block, index/250, index%250+1)
}
