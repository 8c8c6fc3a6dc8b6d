package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/cluster"
	"gatehouse.dev/e2e/echo"
)

// Kubectl runs kubectl and returns what it prints, without the space around it.
func (b *Bed) Kubectl(t testing.TB, args ...string) string {
	t.Helper()
	text, err := b.Cluster.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text)
}

// Put applies manifests; arguments are further ones for kubectl.
func (b *Bed) Put(t testing.TB, manifests string, arguments ...string) {
	t.Helper()
	if err := b.Apply(t.Context(), []byte(manifests), arguments...); err != nil {
		t.Fatal(err)
	}
}

// PutFile applies a manifest of the checkout.
func (b *Bed) PutFile(t testing.TB, path ...string) {
	t.Helper()
	text, err := os.ReadFile(Root(path...))
	if err != nil {
		t.Fatal(err)
	}
	b.Put(t, string(text))
}

// Await asks until the condition holds.
func (b *Bed) Await(t testing.TB, what string, condition func(context.Context) error) {
	t.Helper()
	if err := cluster.Poll(t.Context(), Patience, what, condition); err != nil {
		t.Fatal(err)
	}
}

// Programmed waits until a Gateway is programmed and gives its first address.
func (b *Bed) Programmed(t testing.TB, namespace, gateway string) string {
	t.Helper()
	var address string
	const fields = `{.status.conditions[?(@.type=="Programmed")].status} {.metadata.generation} ` +
		`{.status.conditions[?(@.type=="Programmed")].observedGeneration} {.status.addresses[0].value}`
	b.Await(t, "Gateway "+gateway, func(ctx context.Context) error {
		text, err := b.Cluster.Kubectl(ctx, "--namespace="+namespace, "get", "gateway", gateway, "--output=jsonpath="+fields)
		if err != nil {
			return err
		}
		found := strings.Fields(text)
		if len(found) < 4 || found[0] != "True" || found[1] != found[2] {
			return fmt.Errorf("Programmed, generation, its generation, address: %q", text)
		}
		address = found[3]
		return nil
	})
	return address
}

// Condition waits for a condition of an object, anywhere in its status, by a JSONPath that leads to the conditions.
func (b *Bed) Condition(t testing.TB, namespace, object, conditions, kind, status, reason string) {
	t.Helper()
	query := fmt.Sprintf(`--output=jsonpath={%s[?(@.type=="%s")].status}/{%s[?(@.type=="%s")].reason}`, conditions, kind, conditions, kind)
	b.Await(t, fmt.Sprintf("%s of %s to be %s/%s", kind, object, status, reason), func(ctx context.Context) error {
		text, err := b.Cluster.Kubectl(ctx, "--namespace="+namespace, "get", object, query)
		if err != nil {
			return err
		}
		if text != status+"/"+reason {
			return fmt.Errorf("it is %q", text)
		}
		return nil
	})
}

// Get asks the proxy at an address; the connection is a new one.
func (b *Bed) Get(ctx context.Context, address, host, path string, header ...string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, nil, err
	}
	request.Host = host
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	client := b.HTTPClient()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

// AwaitStatus asks until the answer has that status.
func (b *Bed) AwaitStatus(t testing.TB, status int, address, host, path string) {
	t.Helper()
	b.Await(t, fmt.Sprintf("status %d of http://%s%s at %s", status, host, path, address), func(ctx context.Context) error {
		response, body, err := b.Get(ctx, address, host, path)
		if err != nil {
			return err
		}
		if response.StatusCode != status {
			return fmt.Errorf("status %d: %.200s", response.StatusCode, body)
		}
		return nil
	})
}

// AwaitEcho asks until a backend answers, and gives what it says.
func (b *Bed) AwaitEcho(t testing.TB, address, host, path string) echo.Answer {
	t.Helper()
	b.AwaitStatus(t, http.StatusOK, address, host, path)
	_, body, err := b.Get(t.Context(), address, host, path)
	if err != nil {
		t.Fatal(err)
	}
	var answer echo.Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return answer
}

// Pods are the names of the running pods with these labels.
func (b *Bed) Pods(t testing.TB, namespace, labels string) []string {
	t.Helper()
	return strings.Fields(b.Kubectl(t, "--namespace="+namespace, "get", "pods", "--selector="+labels,
		"--field-selector=status.phase=Running", "--output=jsonpath={.items[*].metadata.name}"))
}

// Rolled waits until a Deployment's pods are those of its present template, and ready.
func (b *Bed) Rolled(t testing.TB, namespace, deployment string) {
	t.Helper()
	b.Kubectl(t, "--namespace="+namespace, "rollout", "status", "deployment/"+deployment, fmt.Sprintf("--timeout=%v", Patience))
}

// AwaitPathToAPI waits until pods reach the API server. An API server that stops takes itself out of the Service "kubernetes",
// and kube-proxy, which waits longer and longer between its attempts, may need half a minute to learn of its return.
func (b *Bed) AwaitPathToAPI(t *testing.T) {
	t.Helper()
	service := b.Kubectl(t, "get", "service", "kubernetes", "--output=jsonpath={.spec.clusterIP}:{.spec.ports[0].port}")
	started := time.Now()
	b.Await(t, "the API server's Service", func(ctx context.Context) error {
		conn, err := b.DialContext(ctx, "tcp", service)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	t.Logf("pods reached the API server %.1f s after it was ready", time.Since(started).Seconds())
}
