//go:build cluster

package cluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gatehouse.dev/e2e/cluster"
)

// secondName occurs in the paths of all that belongs to the second cluster.
const secondName = "e2e-side-by-side"

func TestClustersSideBySideDoNotKnowOfEachOther(t *testing.T) {
	first := shared(t)
	before := first.pods(t)

	t.Cleanup(func() {
		if err := cluster.Down(context.Background(), secondName, os.Stderr); err != nil {
			t.Error(err)
		}
	})
	c, err := cluster.Up(t.Context(), secondName, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	second := deploy(t, c)
	// Both clusters use the same addresses, each in its own network.
	second.awaitAnswer(t, second.HTTPClient(), second.address(t, "external"))
	first.awaitAnswer(t, first.HTTPClient(), first.address(t, "external"))
	if _, err := first.client.CoreV1().Namespaces().Get(t.Context(), second.namespace, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("the first cluster knows the second's namespace: %v", err)
	}
	network, err := c.Network()
	if err != nil {
		t.Fatal(err)
	}

	if err := cluster.Down(t.Context(), secondName, os.Stderr); err != nil {
		t.Fatal(err)
	}
	if leftovers := leftovers(t, network); len(leftovers) > 0 {
		t.Errorf("this is left of the cluster:\n%s", strings.Join(leftovers, "\n"))
	}
	if err := cluster.Down(t.Context(), secondName, os.Stderr); err != nil {
		t.Errorf("ending a cluster that is not there: %v", err)
	}
	// A kubelet that shared something with the other would have ended or restarted pods.
	first.awaitAnswer(t, first.HTTPClient(), first.address(t, "external"))
	if after := first.pods(t); after != before {
		t.Errorf("the first cluster's pods were\n%s\nand are\n%s", before, after)
	}
}

// pods describes the pods of the whole cluster by what changes when one ends.
func (f *fixture) pods(t *testing.T) string {
	t.Helper()
	var lines []string
	for _, namespace := range []string{"kube-system", "metallb-system", f.namespace} {
		pods, err := f.client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range pods.Items {
			for _, status := range pod.Status.ContainerStatuses {
				lines = append(lines, fmt.Sprintf("%s %s restarts=%d", pod.Name, status.ContainerID, status.RestartCount))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// leftovers looks for processes, mounts, control groups and files of the second cluster.
func leftovers(t *testing.T, network string) []string {
	t.Helper()
	var found []string
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, process := range processes {
		// What cannot be read has ended meanwhile.
		if namespace, err := os.Readlink(process + "/ns/net"); err == nil && namespace == network {
			found = append(found, process+" is in its network")
		}
		for _, file := range []string{"/cmdline", "/cgroup"} {
			text, err := os.ReadFile(process + file)
			if err == nil && strings.Contains(string(text), secondName) {
				found = append(found, process+file+" says "+strings.ReplaceAll(string(text), "\x00", " "))
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, secondName) {
			found = append(found, "mount "+line)
		}
	}
	cache, err := cluster.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{
		filepath.Join(cache, "clusters", secondName),
		"/run/gatehouse/" + secondName,
		"/sys/fs/cgroup/*" + secondName + "*",
		"/sys/fs/cgroup/*/*" + secondName + "*",
	} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	return found
}
