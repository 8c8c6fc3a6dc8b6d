//go:build cluster

package journeys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The controller is there first, and waits for the definitions.
func TestS000_01DefinitionsComeLater(t *testing.T) {
	b := bed.Attach(t)
	b.Uninstall(t)
	b.RemoveDefinitions(t)
	b.Install(t)
	pods := "--selector=app.kubernetes.io/name=gatehouse"
	b.Await(t, "the controller to say what it waits for", func(ctx context.Context) error {
		said, err := b.Cluster.Kubectl(ctx, "--namespace="+bed.Namespace, "logs", pods, "--tail=-1")
		if err == nil && !strings.Contains(said, "gateways") {
			err = errors.New(said)
		}
		return err
	})
	if ready := b.Kubectl(t, "--namespace="+bed.Namespace, "get", "deployment", bed.Release, "--output=jsonpath={.status.readyReplicas}"); ready != "" && ready != "0" {
		t.Errorf("%s controllers are ready without definitions", ready)
	}
	b.InstallDefinitions(t)
	started := time.Now()
	b.Rolled(t, bed.Namespace, bed.Release)
	t.Logf("ready %.1f s after the definitions", time.Since(started).Seconds())
	if restarts := b.Kubectl(t, "--namespace="+bed.Namespace, "get", "pods", pods,
		"--output=jsonpath={.items[*].status.containerStatuses[0].restartCount}"); strings.Trim(restarts, "0 ") != "" {
		t.Errorf("it was started again: %s", restarts)
	}
	j := begin(t, "s000-definitions")
	j.serve(t)
	j.put(t, gateway("late")+route("late", "late", "http", "late.example.com"))
	j.AwaitEcho(t, j.Programmed(t, j.namespace, "late"), "late.example.com", "/")
}

// Without Helm: one file, in which only the image is set.
func TestS000_02OneFileInstalls(t *testing.T) {
	b := bed.Attach(t)
	b.InstallDefinitions(t)
	b.Uninstall(t)
	text, err := os.ReadFile(bed.Root("manifests", "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	images := regexp.MustCompile(`(?m)(image: "?)[^\s"]*gatehouse:[^\s"]*`)
	manifest := images.ReplaceAllString(string(text), "${1}localhost/gatehouse:dev")
	if manifest == string(text) {
		t.Fatal("the manifest names no image")
	}
	dir := t.TempDir()
	write(t, dir, "install.yaml", manifest)
	b.Cleanup(t, func(ctx context.Context) {
		_, _ = b.Cluster.Kubectl(ctx, "delete", "--filename="+dir+"/install.yaml", "--ignore-not-found", "--timeout=2m")
	})
	b.Put(t, manifest)
	b.Rolled(t, bed.Namespace, bed.Release)
	b.Scratch(t, "s000-file")
	b.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
	b.Put(t, strings.Replace(class("eg"), "gateway.envoyproxy.io/", "gatehouse.dev/", 1))
	b.Put(t, gateway("file"), "--namespace=s000-file")
	b.AwaitStatus(t, 404, b.Programmed(t, "s000-file", "file"), "any.example.com", "/")
}

// A Gateway without routes is whole: its port is open, and nothing is found.
func TestS000_03GatewayWithoutRoutes(t *testing.T) {
	j := begin(t, "s000-routes")
	j.put(t, gateway("example-gateway"))
	j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "example-gateway"), "example.com", "/")
}

// Any namespace will do, and nothing points into another.
func TestS000_04AnyNamespace(t *testing.T) {
	const namespace = "team-a"
	b := bed.Attach(t)
	b.InstallDefinitions(t)
	b.Uninstall(t)
	b.Scratch(t, namespace)
	rendered := b.Render(t, bed.Release, namespace)
	for _, found := range regexp.MustCompile(`(?m)^\s*namespace: *(\S+)`).FindAllStringSubmatch(rendered, -1) {
		if strings.Trim(found[1], `"`) != namespace {
			t.Errorf("the rendered chart says %s", found[0])
		}
	}
	if strings.Contains(rendered, bed.Namespace) {
		t.Errorf("the rendered chart speaks of %s", bed.Namespace)
	}
	b.InstallInto(t, namespace, "--wait", "--timeout=5m")
	b.Cleanup(t, func(ctx context.Context) {
		_, _ = b.Helm(ctx, "uninstall", bed.Release, "--namespace="+namespace, "--wait")
	})
	b.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
	b.Put(t, strings.Replace(class("eg"), "gateway.envoyproxy.io/", "gatehouse.dev/", 1))
	b.Put(t, gateway("team"), "--namespace="+namespace)
	b.AwaitStatus(t, 404, b.Programmed(t, namespace, "team"), "any.example.com", "/")
}

// A platform that shows a Gateway's addresses looks for Services beside it whose names begin as a label says.
func TestS000_05ServiceIsFoundByItsPrefix(t *testing.T) {
	j := begin(t, "s000-platform")
	j.put(t, gateway("example-gateway"))
	j.kubectl(t, "label", "gateway", "example-gateway", "service-name=example-gateway-eg")
	address := j.Programmed(t, j.namespace, "example-gateway")
	prefix := j.kubectl(t, "get", "gateway", "example-gateway", "--output=jsonpath={.metadata.labels.service-name}")
	var entrances []string
	services := j.kubectl(t, "get", "services", `--output=jsonpath={range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[0].ip} {.spec.ports[0].nodePort}{"\n"}{end}`)
	for line := range strings.Lines(services) {
		if strings.HasPrefix(line, prefix) {
			entrances = append(entrances, strings.TrimSpace(line))
		}
	}
	if len(entrances) != 1 {
		t.Fatalf("Services named %s...: %v", prefix, entrances)
	}
	if fields := strings.Fields(entrances[0]); len(fields) != 3 || fields[1] != address {
		t.Errorf("the entrance is %v, the Gateway's address %s", fields, address)
	}
}

// The checks that a platform asks for before it lists an implementation.
func TestS000_06EverythingRuns(t *testing.T) {
	j := begin(t, "s000-accepted")
	j.put(t, gateway("example-gateway"))
	j.Programmed(t, j.namespace, "example-gateway")
	for _, namespace := range []string{bed.Namespace, j.namespace} {
		for line := range strings.Lines(j.Kubectl(t, "--namespace="+namespace, "get", "pods", "--no-headers")) {
			fields := strings.Fields(line)
			ready, all, _ := strings.Cut(fields[1], "/")
			if ready != all || fields[2] != "Running" || fields[3] != "0" {
				t.Errorf("in %s: %s", namespace, line)
			}
		}
	}
	j.condition(t, "gateway/example-gateway", ".status.conditions", "Accepted", "True", "Accepted")
	j.condition(t, "gateway/example-gateway", ".status.conditions", "Programmed", "True", "Programmed")
}

const routeToRoute = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: form}
spec:
  parentRefs: [{name: example-gateway}]
  hostnames: [form.example.com]
  rules:
    - matches: [{path: {type: PathPrefix, value: /route}}]
      backendRefs: [{kind: HTTPRoute, group: gateway.networking.k8s.io, name: other, port: 80, weight: 100}]
    - matches: [{path: {type: PathPrefix, value: /service}}]
      backendRefs: [{kind: Service, name: svc-backend, port: 3000, weight: 100}]
`

// A form offers routes as backends: that is an error of one rule only.
func TestS000_08RouteAsBackendFailsItsRuleOnly(t *testing.T) {
	j := begin(t, "s000-form")
	j.serve(t)
	j.put(t, gateway("example-gateway")+"---"+routeToRoute)
	address := j.Programmed(t, j.namespace, "example-gateway")
	j.AwaitEcho(t, address, "form.example.com", "/service")
	if got := j.status(t, address, "form.example.com", "/route"); got != 500 {
		t.Errorf("the rule with a route as its backend: %d", got)
	}
	j.condition(t, "httproute/form", parents, "ResolvedRefs", "False", "InvalidKind")
}

// Where generated objects are, and what they are called.
func TestNS_01Placement(t *testing.T) {
	j := begin(t, "ns-01")
	j.put(t, gateway("eg"))
	j.Programmed(t, j.namespace, "eg")
	for _, kind := range []string{"deployment", "service", "serviceaccount"} {
		labels := j.kubectl(t, "get", kind, "eg-eg", "--output=jsonpath={.metadata.labels}")
		for _, label := range []string{`"gateway.networking.k8s.io/gateway-name":"eg"`, `"gateway.networking.k8s.io/gateway-class-name":"eg"`} {
			if !strings.Contains(labels, label) {
				t.Errorf("%s eg-eg has no label %s: %s", kind, label, labels)
			}
		}
	}
	t.Run("beside the controller", func(t *testing.T) {
		j.Install(t, "--wait", "--timeout=5m", takeover, "--set=placement=ControllerNamespace")
		j.Cleanup(t, func(context.Context) {})
		const labels = "gateway.envoyproxy.io/owning-gateway-namespace=ns-01,gateway.envoyproxy.io/owning-gateway-name=eg"
		service := ""
		j.Await(t, "the Service beside the controller", func(ctx context.Context) error {
			names, err := j.Cluster.Kubectl(ctx, "--namespace="+bed.Namespace, "get", "services", "--selector="+labels, "--output=jsonpath={.items[*].metadata.name}")
			if err == nil && !strings.HasPrefix(names, "envoy-ns-01-eg-") {
				err = fmt.Errorf("found %q", names)
			}
			service = names
			return err
		})
		j.Await(t, "its address in the Gateway's status", func(ctx context.Context) error {
			address, err := j.Cluster.Kubectl(ctx, "--namespace="+bed.Namespace, "get", "service", service, "--output=jsonpath={.status.loadBalancer.ingress[0].ip}")
			if err != nil || address == "" {
				return fmt.Errorf("%q, %v", address, err)
			}
			if programmed := j.Programmed(t, j.namespace, "eg"); programmed != address {
				return fmt.Errorf("the Gateway has %s, the Service %s", programmed, address)
			}
			return nil
		})
		j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "eg"), "any.example.com", "/")
		j.kubectl(t, "delete", "gateway", "eg")
		j.Await(t, "the end of its objects", func(ctx context.Context) error {
			left, err := j.Cluster.Kubectl(ctx, "--namespace="+bed.Namespace, "get", "deployment,service,configmap,serviceaccount", "--selector="+labels, "--output=name")
			if err == nil && strings.TrimSpace(left) != "" {
				err = errors.New(left)
			}
			return err
		})
	})
}
