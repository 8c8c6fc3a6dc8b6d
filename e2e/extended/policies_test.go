//go:build cluster

package extended

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gatehouse.dev/e2e/otlp"
)

const testpod = "localhost/testpod:extended"

// testpod runs one of the program's verbs as a Deployment with a Service.
func (w *world) testpod(t *testing.T, verb string, port int) {
	t.Helper()
	if err := w.LoadProgram(t.Context(), "gatehouse.dev/e2e/cmd/testpod", testpod); err != nil {
		t.Fatal(err)
	}
	labels := map[string]any{"app": verb}
	container := map[string]any{"name": "testpod", "image": testpod, "imagePullPolicy": "Never", "args": []any{verb},
		"readinessProbe": map[string]any{"tcpSocket": map[string]any{"port": port}, "periodSeconds": 1}}
	w.put(t, documents(
		map[string]any{
			"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": verb},
			"spec": map[string]any{"selector": labels, "ports": []any{map[string]any{"port": port}}},
		},
		map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": verb},
			"spec": map[string]any{
				"selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels},
					"spec":     map[string]any{"terminationGracePeriodSeconds": 1, "containers": []any{container}},
				},
			},
		},
	))
	w.Rolled(t, w.namespace, verb)
}

// Spans of a Gateway's requests come to the collector that a policy names, and end with the policy.
func TestSpans(t *testing.T) {
	w := begin(t, "extended-spans")
	w.testpod(t, "collect", otlp.Port)
	w.put(t, `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XTelemetryPolicy
metadata: {name: spans}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: spans}]
  tracing:
    mode: Enabled
    provider: {backendRef: {name: collect, port: 4317}}
    serviceName: edge
    attributes:
      - {name: request, sourceType: Header, headerName: X-Request}
      - {name: env, sourceType: Literal, literalValue: test}
      - {name: http.response.status_code, sourceType: Attribute, attributeKey: http.response.status_code}
`)
	w.Condition(t, w.namespace, "xtelemetrypolicy/spans", ".status.ancestors[0].conditions", "Accepted", "False", "TargetNotFound")
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: spans}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: spans}
spec:
  parentRefs: [{name: spans}]
  rules: [{backendRefs: [{name: echo, port: 3000}]}]
`)
	address := w.Programmed(t, w.namespace, "spans")
	w.Condition(t, w.namespace, "xtelemetrypolicy/spans", ".status.ancestors[0].conditions", "Accepted", "True", "Accepted")
	w.AwaitEcho(t, address, "any.example.com", "/")
	w.Await(t, "a span", func(ctx context.Context) error { return w.traced(ctx, address, "first") })

	w.Kubectl(t, "--namespace="+w.namespace, "delete", "xtelemetrypolicy", "spans")
	// Requests without a span are those after which ones of a later policy come, and none of their own.
	for round := range 20 {
		mark := fmt.Sprintf("round-%d", round)
		w.ask(t, address, mark, 20)
		w.put(t, again)
		w.Await(t, "spans of another policy", func(ctx context.Context) error { return w.traced(ctx, address, "again-"+mark) })
		if len(w.spans(t, mark)) == 0 {
			return
		}
		w.Kubectl(t, "--namespace="+w.namespace, "delete", "xtelemetrypolicy", "again")
	}
	t.Error("spans do not end with their policy")
}

const again = `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XTelemetryPolicy
metadata: {name: again}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: spans}]
  tracing:
    mode: Enabled
    provider: {backendRef: {name: collect, port: 4317}}
    attributes:
      - {name: request, sourceType: Header, headerName: X-Request}
`

// ask sends requests that say which they are.
func (w *world) ask(t *testing.T, address, mark string, count int) {
	t.Helper()
	for range count {
		if response, body, err := w.Get(t.Context(), address, "any.example.com", "/", "X-Request", mark); err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%v %v %.300s", response, err, body)
		}
	}
}

// traced asks until spans of such requests arrived, and looks at one.
func (w *world) traced(ctx context.Context, address, mark string) error {
	if response, body, err := w.Get(ctx, address, "any.example.com", "/", "X-Request", mark); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%v %v %.300s", response, err, body)
	}
	spans, err := w.collected(ctx, mark)
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return fmt.Errorf("no span of %s", mark)
	}
	if mark == "first" {
		first := spans[0]
		if first.Service != "edge" || first.Attributes["env"] != "test" || first.Attributes["http.response.status_code"] != "200" {
			return fmt.Errorf("span %+v", first)
		}
	}
	return nil
}

func (w *world) spans(t *testing.T, mark string) []otlp.Span {
	t.Helper()
	spans, err := w.collected(t.Context(), mark)
	if err != nil {
		t.Fatal(err)
	}
	return spans
}

// collected are the spans so far of requests that say they are such.
func (w *world) collected(ctx context.Context, mark string) ([]otlp.Span, error) {
	logs, err := w.Cluster.Kubectl(ctx, "--namespace="+w.namespace, "logs", "deployment/collect")
	if err != nil {
		return nil, err
	}
	var found []otlp.Span
	lines := bufio.NewScanner(strings.NewReader(logs))
	for lines.Scan() {
		var span otlp.Span
		if err := json.Unmarshal(lines.Bytes(), &span); err != nil {
			return nil, fmt.Errorf("%w: %.300s", err, lines.Text())
		}
		if span.Attributes["request"] == mark {
			found = append(found, span)
		}
	}
	return found, lines.Err()
}

// A backend that fails is not tried again by more requests than a policy allows.
func TestRetryBudget(t *testing.T) {
	w := begin(t, "extended-budget")
	w.testpod(t, "fail", 3000)
	w.put(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: budget}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: budget}
spec:
  parentRefs: [{name: budget}]
  rules:
    - retry: {codes: [503], attempts: 1}
      backendRefs: [{name: fail, port: 3000}]
`)
	address := w.Programmed(t, w.namespace, "budget")
	w.AwaitStatus(t, http.StatusOK, address, "any.example.com", "/asked")
	if tries := w.storm(t, address, 10); tries != 20 {
		t.Errorf("ten requests are tried %d times, not twice each", tries)
	}
	w.put(t, `
apiVersion: gateway.networking.x-k8s.io/v1alpha1
kind: XBackendTrafficPolicy
metadata: {name: budget}
spec:
  targetRefs: [{group: "", kind: Service, name: fail}]
  retryConstraint:
    budget: {percent: 0}
    minRetryRate: {count: 1, interval: 1s}
`)
	w.Condition(t, w.namespace, "xbackendtrafficpolicy/budget", ".status.ancestors[0].conditions", "Accepted", "True", "Accepted")
	w.Await(t, "few retries", func(context.Context) error {
		// One at a time may be underway.
		if tries := w.storm(t, address, 10); tries > 14 {
			return fmt.Errorf("ten requests are tried %d times", tries)
		}
		return nil
	})
}

// storm sends requests at once, and gives how often the backend was asked.
func (w *world) storm(t *testing.T, address string, requests int) int {
	t.Helper()
	before := w.asked(t, address)
	var all sync.WaitGroup
	for range requests {
		all.Go(func() {
			response, body, err := w.Get(t.Context(), address, "any.example.com", "/")
			if err != nil || response.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("%v %v %.300s", response, err, body)
			}
		})
	}
	all.Wait()
	return w.asked(t, address) - before
}

func (w *world) asked(t *testing.T, address string) int {
	t.Helper()
	_, body, err := w.Get(t.Context(), address, "any.example.com", "/asked")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := strconv.Atoi(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return asked
}
