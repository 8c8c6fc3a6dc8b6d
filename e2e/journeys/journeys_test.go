//go:build cluster

// The journeys of users: what documents about Gateway API tell people to do, done with the documents' own commands. The
// names of the tests begin with the numbers that the requirements know the journeys by.
package journeys

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/echo"
)

//go:embed testdata/walkthrough.yaml
var backends string

// takeover makes Gatehouse serve the documents' classes as they are.
const takeover = "--set=controllerNames={gatehouse.dev/gatewayclass-controller,gateway.envoyproxy.io/gatewayclass-controller}"

func TestMain(m *testing.M) { bed.Main(m) }

// journey is one namespace on the shared installation.
type journey struct {
	*bed.Bed
	namespace string
}

func begin(t *testing.T, namespace string) *journey {
	t.Helper()
	j := &journey{Bed: bed.New(t, takeover), namespace: namespace}
	j.Scratch(t, namespace)
	j.takeClass(t)
	return j
}

// takeClass makes the documents' class; who serves a class cannot be changed.
func (j *journey) takeClass(t *testing.T) {
	t.Helper()
	j.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
	j.Put(t, class("eg"))
}

func class(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: GatewayClass
metadata: {name: %s}
spec: {controllerName: gateway.envoyproxy.io/gatewayclass-controller}
`, name)
}

// gateway is a Gateway with one listener, as most documents have it.
func gateway(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1beta1
kind: Gateway
metadata: {name: %s}
spec:
  gatewayClassName: eg
  listeners: [{name: http, protocol: HTTP, port: 80}]
`, name)
}

// put applies manifests to the journey's namespace.
func (j *journey) put(t *testing.T, manifests string) {
	t.Helper()
	j.Put(t, manifests, "--namespace="+j.namespace)
}

func (j *journey) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return j.Kubectl(t, append([]string{"--namespace=" + j.namespace}, args...)...)
}

// serve applies the two backends and waits for them.
func (j *journey) serve(t *testing.T) {
	t.Helper()
	j.put(t, backends)
	j.Rolled(t, j.namespace, "backend")
	j.Rolled(t, j.namespace, "backend2")
}

// columns reads what kubectl prints of one object, by the names of its columns.
func (j *journey) columns(t *testing.T, args ...string) map[string]string {
	t.Helper()
	lines := strings.Split(j.kubectl(t, append([]string{"get"}, args...)...), "\n")
	if len(lines) != 2 {
		t.Fatalf("kubectl get %v: %d lines: %v", args, len(lines), lines)
	}
	names, values := regexp.MustCompile(` {2,}`).Split(lines[0], -1), regexp.MustCompile(` {2,}`).Split(lines[1], -1)
	found := map[string]string{"": strings.Join(names, " ")}
	for i, name := range names {
		if i < len(values) {
			found[strings.TrimSpace(name)] = strings.TrimSpace(values[i])
		}
	}
	return found
}

// condition waits for a condition of an object, anywhere in its status, by a JSONPath that leads to the conditions.
func (j *journey) condition(t *testing.T, object, conditions, kind, status, reason string) {
	t.Helper()
	j.Condition(t, j.namespace, object, conditions, kind, status, reason)
}

// message waits until the message of a condition has all of these words.
func (j *journey) message(t *testing.T, object, conditions, kind string, words ...string) {
	t.Helper()
	query := fmt.Sprintf(`--output=jsonpath={%s[?(@.type=="%s")].message}`, conditions, kind)
	j.Await(t, fmt.Sprintf("%s of %s to say %q", kind, object, words), func(ctx context.Context) error {
		text, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get", object, query)
		if err != nil {
			return err
		}
		for _, word := range words {
			if !strings.Contains(text, word) {
				return fmt.Errorf("it says %q", text)
			}
		}
		return nil
	})
}

const parents = ".status.parents[0].conditions"

// echo asks once and wants the answer of a backend.
func (j *journey) echo(t *testing.T, address, host, path string, header ...string) echo.Answer {
	t.Helper()
	response, body, err := j.Get(t.Context(), address, host, path, header...)
	if err != nil {
		t.Fatal(err)
	}
	var answer echo.Answer
	if err := json.Unmarshal(body, &answer); err != nil || response.StatusCode != 200 {
		t.Fatalf("GET %s of %s: %s, %v: %.200s", path, host, response.Status, err, body)
	}
	return answer
}

// status asks once and gives the answer's status.
func (j *journey) status(t *testing.T, address, host, path string, header ...string) int {
	t.Helper()
	response, _, err := j.Get(t.Context(), address, host, path, header...)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

// proxies waits for so many pods with these labels, all of them ready and none that ends.
func (j *journey) proxies(t *testing.T, labels string, wanted int) {
	t.Helper()
	j.Await(t, fmt.Sprintf("%d proxies", wanted), func(ctx context.Context) error {
		said, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get", "pods", "--selector="+labels,
			`--output=jsonpath={range .items[*]}{.metadata.deletionTimestamp}{.status.conditions[?(@.type=="Ready")].status} {end}`)
		if ready := strings.Fields(said); err == nil && (len(ready) != wanted || strings.Trim(said, "True ") != "") {
			err = fmt.Errorf("they are %q", said)
		}
		return err
	})
}
