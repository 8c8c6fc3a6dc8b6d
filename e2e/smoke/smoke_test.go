//go:build cluster

// Proves on a real cluster what a newcomer does first, and one disruption: the shortest test of everything together.
package smoke

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
	"gatehouse.dev/e2e/load"
)

const (
	host = "www.example.com"
	// firstAnswerLimit is generous: the machine may be busy. An idle one takes less than a third.
	firstAnswerLimit = 5 * time.Minute
	requests         = 5000
)

func TestMain(m *testing.M) { bed.Main(m) }

func TestQuickstartIsServedAndOutlivesItsController(t *testing.T) {
	b := bed.Attach(t)
	started := time.Now()
	b.InstallDefinitions(t)
	b.Install(t)
	b.PutFile(t, "manifests", "quickstart.yaml")
	address := b.Programmed(t, "default", "eg")
	programmed := time.Since(started)
	answer := b.AwaitEcho(t, address, host, "/get")
	took := time.Since(started)
	t.Logf("from a cluster without anything to a Gateway that is programmed %.1f s, to the first 200 %.1f s",
		programmed.Seconds(), took.Seconds())
	if took > firstAnswerLimit {
		t.Errorf("the first answer took %v", took)
	}
	if answer.Path != "/get" || answer.Host != host || answer.Namespace != "default" {
		t.Errorf("the backend saw %+v", answer)
	}
	if class := b.Kubectl(t, "get", "gatewayclass", "eg", "--no-headers"); !columns(class, 2, "True") {
		t.Errorf("kubectl get gatewayclass eg: %s", class)
	}
	if gateway := b.Kubectl(t, "get", "gateway", "eg", "--no-headers"); !columns(gateway, 2, address, "True") {
		t.Errorf("kubectl get gateway eg: %s", gateway)
	}
	b.Rolled(t, bed.Namespace, bed.Release)

	traffic := load.Start(load.Config{Address: address + ":80", Host: host, Path: "/", Rate: 250})
	b.Kubectl(t, "--namespace="+bed.Namespace, "delete", "pod", "--selector=app.kubernetes.io/name=gatehouse", "--now", "--wait=false")
	b.Rolled(t, bed.Namespace, bed.Release)
	b.Await(t, "enough requests", func(context.Context) error { return traffic.Enough(requests) })
	result := traffic.Stop()
	t.Logf("controllers deleted: %v", result)
	if result.Failed > 0 {
		t.Error("requests failed while all controllers were deleted")
	}
}

// What is installed without Helm is what the chart renders: `make manifests` after a change of the chart.
func TestManifestIsWhatTheChartRenders(t *testing.T) {
	b := bed.Attach(t)
	committed, err := os.ReadFile(bed.Root("manifests", "install.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := b.Helm(t.Context(), "template", bed.Release, bed.Root("charts", "gatehouse"), "--namespace="+bed.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	// Before it stands the namespace, which a chart does not make.
	_, objects, found := strings.Cut(string(committed), "  name: "+bed.Namespace+"\n")
	if !found || strings.TrimSpace(objects) != strings.TrimSpace(rendered) {
		t.Error("manifests/install.yaml is not what charts/gatehouse renders: run `make manifests`")
	}
}

// columns says whether a line of kubectl's has these columns, from the given one on.
func columns(line string, from int, wanted ...string) bool {
	found := strings.Fields(line)
	return len(found) >= from+len(wanted) && slices.Equal(found[from:from+len(wanted)], wanted)
}
