//go:build cluster

package journeys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/load"
)

const (
	channel   = `--output=jsonpath={.metadata.annotations.gateway\.networking\.k8s\.io/channel}`
	lateParts = `
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: late}
spec:
  parentRef: {name: flex-gateway}
  listeners: [{name: late, port: 80, protocol: HTTP, hostname: late.cluster.local}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: late}
spec:
  parentRefs: [{kind: ListenerSet, name: late}]
  rules: [{backendRefs: [{name: svc-backend, port: 3000}]}]
`
	lateConfig = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: later}
spec: {concurrency: 1}
`
	sticky = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: sticky}
spec:
  parentRefs: [{name: flex-gateway, sectionName: cluster-http}]
  hostnames: [sticky.cluster.local]
  rules:
    - sessionPersistence: {type: Cookie, cookie: {name: Sticky}}
      backendRefs: [{name: svc-backend, port: 3000}]
`
)

// Definitions are installed, exchanged, removed and upgraded under controllers that run all the time, and under traffic.
func TestS003Definitions(t *testing.T) {
	const host = "first.cluster.local"
	b := bed.New(t, takeover)
	b.RemoveDefinitions(t)
	controllers := b.Controllers(t)

	// The document's command, but for the address: kubectl kustomize ... | kubectl apply --server-side -f -
	b.Put(t, b.Definitions(t, "standard"))
	j := begin(t, "s003-definitions")
	j.serve(t)
	j.put(t, strings.Replace(flexGateway, "listeners:", "allowedListeners: {namespaces: {from: Same}}\n  listeners:", 1)+
		route("first", "flex-gateway", "cluster-http", host))
	address := j.Programmed(t, j.namespace, "flex-gateway")
	j.AwaitEcho(t, address, host, "/")
	traffic := load.Start(load.Config{Address: address + ":80", Host: host, Path: "/", Rate: 100})

	steps := []struct {
		name string
		do   func(t *testing.T)
	}{
		{"S003-01 experimental definitions after the standard ones", func(t *testing.T) {
			experimental := b.Definitions(t, "experimental")
			b.Await(t, "the refusal that tells what to do", func(ctx context.Context) error {
				err := b.Apply(ctx, []byte(experimental), "--dry-run=server")
				if err == nil || !strings.Contains(err.Error(), "Uninstall ValidatingAdmissionPolicy safe-upgrades.gateway.networking.k8s.io") {
					return fmt.Errorf("the API server says %v", err)
				}
				return nil
			})
			b.RemoveSafeguard(t)
			b.Put(t, experimental)
			if got := j.kubectl(t, "get", "crd", "httproutes.gateway.networking.k8s.io", channel); got != "experimental" {
				t.Errorf("the definition is of the channel %s", got)
			}
			j.Await(t, "the API server to take a field of that channel", func(ctx context.Context) error {
				return j.Apply(ctx, []byte(sticky), "--namespace="+j.namespace)
			})
			// Watches of before show the route without the field until the API server ends them.
			j.Await(t, "a session", func(ctx context.Context) error {
				response, _, err := j.Get(ctx, address, "sticky.cluster.local", "/")
				if err != nil || len(response.Cookies()) != 1 || response.Cookies()[0].Name != "Sticky" {
					return fmt.Errorf("%v, %v", response, err)
				}
				return nil
			})
		}},
		{"S003-03 a definition goes and comes", func(t *testing.T) { comeAndGo(t, j, address) }},
		{"S003-04 definitions are upgraded", func(t *testing.T) { upgradeDefinitions(t, j) }},
		{"S003-05 nothing had to be started again", func(t *testing.T) {
			if now := b.Controllers(t); now != controllers {
				t.Errorf("the controllers were\n%s\nand are\n%s", controllers, now)
			}
			// What users do all the same, as other controllers need it.
			b.Kubectl(t, "--namespace="+bed.Namespace, "rollout", "restart", "deployment", bed.Release)
			b.Rolled(t, bed.Namespace, bed.Release)
			j.put(t, route("after", "flex-gateway", "cluster-http", "after.cluster.local"))
			j.AwaitEcho(t, address, "after.cluster.local", "/")
		}},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.do) {
			break
		}
	}
	result := traffic.Stop()
	t.Log(result)
	if result.Failed > 0 || result.Requests < 1000 {
		t.Errorf("%d of %d requests failed", result.Failed, result.Requests)
	}
}

// comeAndGo removes a definition that not everybody has: what it held is served no more, and is again when it is back.
func comeAndGo(t *testing.T, j *journey, address string) {
	const definition, host = "listenersets.gateway.networking.k8s.io", "late.cluster.local"
	j.put(t, lateParts)
	j.AwaitEcho(t, address, host, "/")
	removed := time.Now()
	j.kubectl(t, "delete", "crd", definition, "--timeout=2m")
	j.AwaitLog(t, removed, "the kind is gone", "ListenerSet")
	j.AwaitStatus(t, 404, address, host, "/")
	j.Put(t, j.Definitions(t, "experimental"))
	j.kubectl(t, "wait", "--for=condition=Established", "crd/"+definition, "--timeout=1m")
	added := time.Now()
	j.AwaitLog(t, removed, "the kind is there", "ListenerSet")
	j.Await(t, "the API server to take the kind", func(ctx context.Context) error {
		return j.Apply(ctx, []byte(lateParts), "--namespace="+j.namespace)
	})
	j.AwaitEcho(t, address, host, "/")
	t.Logf("served %.1f s after its definition was there", time.Since(added).Seconds())
	j.condition(t, "listenerset/late", ".status.conditions", "Programmed", "True", "Programmed")
}

// upgradeDefinitions has an older definition, without a field, replaced by Helm and by kubectl.
func upgradeDefinitions(t *testing.T, j *journey) {
	const file = "charts/crds/files/gateway.envoyproxy.io_envoyproxies.yaml"
	chart, err := bed.Chart()
	if err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(filepath.Join(chart, file))
	if err != nil {
		t.Fatal(err)
	}
	older := withoutConcurrency(t, newer)
	olderChart := t.TempDir()
	if err := os.CopyFS(olderChart, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	write(t, olderChart, file, older)
	for _, way := range []struct {
		name             string
		install, upgrade func()
	}{
		{"helm upgrade", func() {
			if _, err := j.Helm(t.Context(), "upgrade", bed.Release, olderChart, "--namespace="+bed.Namespace, "--reuse-values", "--wait"); err != nil {
				t.Fatal(err)
			}
		}, func() { j.Install(t, "--wait", "--timeout=5m", takeover) }},
		{"kubectl apply --server-side --force-conflicts", func() { j.Put(t, older) }, func() { j.Put(t, string(newer)) }},
	} {
		way.install()
		j.Await(t, "the older definition to refuse the field", func(ctx context.Context) error {
			err := j.Apply(ctx, []byte(lateConfig), "--namespace="+j.namespace, "--dry-run=server")
			if err == nil || !strings.Contains(err.Error(), "concurrency") {
				return errors.Join(errors.New("it was taken"), err)
			}
			return nil
		})
		way.upgrade()
		j.Await(t, way.name+" to bring the field", func(ctx context.Context) error {
			return j.Apply(ctx, []byte(lateConfig), "--namespace="+j.namespace, "--dry-run=server")
		})
	}
}

// withoutConcurrency is the definition of EnvoyProxy as it might have been before it had that field.
func withoutConcurrency(t *testing.T, definition []byte) string {
	t.Helper()
	var crd map[string]any
	if err := yaml.Unmarshal(definition, &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, err := unstructured.NestedSlice(crd, "spec", "versions")
	if err != nil || len(versions) != 1 {
		t.Fatalf("%d versions, %v", len(versions), err)
	}
	field := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", "concurrency"}
	if _, found, err := unstructured.NestedMap(versions[0].(map[string]any), field...); !found {
		t.Fatalf("it has no such field: %v", err)
	}
	unstructured.RemoveNestedField(versions[0].(map[string]any), field...)
	if err := unstructured.SetNestedSlice(crd, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(crd)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
