package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// artifactsVariable names the folder for what is kept of failed tests.
const artifactsVariable = "E2E_ARTIFACTS"

const (
	collectLimit = 2 * time.Minute
	// proxyLabel marks the pods of proxies, whose administration port is read.
	proxyLabel     = "gateway.networking.k8s.io/gateway-name"
	proxyAdminPort = "19000"
)

// adminPages of Envoy say what a proxy does, and what it was told.
var adminPages = map[string]string{
	"config_dump.json": "/config_dump?include_eds",
	"clusters.txt":     "/clusters",
	"listeners.txt":    "/listeners",
	"stats.txt":        "/stats?usedonly",
}

// CollectOnFailure keeps everything that explains a failure, in a folder of the test's name.
func (c *Cluster) CollectOnFailure(t testing.TB) {
	t.Cleanup(func() { c.CollectIfFailed(t) })
}

// CollectIfFailed is CollectOnFailure for tests that remove at their end what would explain their failure.
func (c *Cluster) CollectIfFailed(t testing.TB) {
	if !t.Failed() {
		return
	}
	base := os.Getenv(artifactsVariable)
	if base == "" {
		base = filepath.Join(os.TempDir(), "gatehouse-e2e")
	}
	dir := filepath.Join(base, strings.ReplaceAll(t.Name(), "/", "."))
	if err := c.Collect(context.Background(), dir); err != nil {
		t.Logf("not everything could be kept: %v", err)
	}
	t.Logf("logs, events, objects and config dumps are in %s", dir)
}

// Collect writes logs, events, objects and the proxies' config dumps into a folder. It goes on after an error.
func (c *Cluster) Collect(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var problems []error
	keep := func(name string, args ...string) string {
		text, err := c.Kubectl(ctx, args...)
		problems = append(problems, err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		return text
	}
	if !c.Existing() {
		problems = append(problems, copyLogs(c.files.logs(), filepath.Join(dir, "log")))
	}
	keep("events.txt", "get", "events", "--all-namespaces", "--sort-by=.lastTimestamp", "--output=wide")
	keep("pods.txt", "describe", "pods", "--all-namespaces")
	kinds := strings.Fields(keep("kinds.txt", "api-resources", "--verbs=list", "--output=name"))
	for _, kind := range kinds {
		if kind != "secrets" && !strings.HasPrefix(kind, "events") {
			keep("objects-"+kind+".yaml", "get", kind, "--all-namespaces", "--output=yaml")
		}
	}
	problems = append(problems, c.dumpProxies(ctx, dir))
	return errors.Join(problems...)
}

// copyLogs copies regular files only: the kubelet's folder of containers holds links to the pods' files.
func copyLogs(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, relative)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

func (c *Cluster) dumpProxies(ctx context.Context, dir string) error {
	client, err := c.Client()
	if err != nil {
		return err
	}
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: proxyLabel})
	if err != nil {
		return err
	}
	var problems []error
	for _, pod := range pods.Items {
		target := filepath.Join(dir, "proxy-"+pod.Namespace+"-"+pod.Name)
		err := c.WithPortForward(ctx, pod.Namespace, "pod/"+pod.Name, proxyAdminPort, func(address string) error {
			return c.download(ctx, "http://"+address, adminPages, target)
		})
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (c *Cluster) download(ctx context.Context, base string, pages map[string]string, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	client := c.HTTPClient()
	for name, page := range pages {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+page, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err := errors.Join(err, os.WriteFile(filepath.Join(dir, name), text, 0o644)); err != nil {
			return err
		}
	}
	return nil
}

// HTTPClient makes requests from inside the cluster's network, each on a connection of its own.
func (c *Cluster) HTTPClient() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: c.DialContext, DisableKeepAlives: true}}
}

var forwarding = regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) `)

// WithPortForward calls f with an address, inside the cluster's network, that leads to a port of a pod or Service, also
// to one on which the pod listens on its loopback interface only.
func (c *Cluster) WithPortForward(ctx context.Context, namespace, target, port string, f func(address string) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	program, err := c.kubectl(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "--namespace="+namespace, "port-forward", target, ":"+port)
	output, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := c.Start(ctx, cmd); err != nil {
		return err
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(output).ReadString('\n')
	found := forwarding.FindStringSubmatch(line)
	if err != nil || found == nil {
		cancel()
		_ = cmd.Wait()
		return fmt.Errorf("forward port %s of %s: %s%s", port, target, line, complaints.String())
	}
	return f(found[1])
}
