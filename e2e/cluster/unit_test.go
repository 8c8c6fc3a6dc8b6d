package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/cluster/tools"
)

func TestConfigurationIsReadable(t *testing.T) {
	dir := t.TempDir()
	c := &Cluster{Name: "unit", files: files{state: filepath.Join(dir, "state"), run: filepath.Join(dir, "run")}}
	if err := c.writeFiles(parts{cni: "/cni"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kubelet.yaml", "kube-proxy.yaml", "cni/10-cluster.conflist"} {
		text, err := os.ReadFile(filepath.Join(c.files.config(), name))
		if err != nil {
			t.Fatal(err)
		}
		var parsed map[string]any
		if err := yaml.UnmarshalStrict(text, &parsed); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.files.kubeconfig())
	if err != nil || config.Host != apiServer || len(config.TLSClientConfig.CertData) == 0 {
		t.Errorf("kubeconfig: %v, %v", config, err)
	}
}

func TestNameThatWouldLeaveItsFolderIsRefused(t *testing.T) {
	cache := tools.Cache{Dir: "/cache"}
	for name, valid := range map[string]bool{"e2e": true, "a-b-1": true, "": false, "..": false, "a/b": false, "A": false, "-a": false} {
		if _, err := filesOf(cache, name); (err == nil) != valid {
			t.Errorf("%q: valid should be %v, but %v", name, valid, err)
		}
	}
}

func TestVariablesAreReplaced(t *testing.T) {
	got := withVariables([]string{"PATH=/bin", "HOME=/root"}, []string{"PATH=/cluster:/bin", "KUBECONFIG=/k"})
	if want := []string{"HOME=/root", "PATH=/cluster:/bin", "KUBECONFIG=/k"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestProcessIsNotTakenForAnotherOfItsID(t *testing.T) {
	self, err := describeProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !self.alive() {
		t.Error("this process is not alive")
	}
	other := self
	other.StartTime += "0"
	if other.alive() {
		t.Error("a process that started at another time is alive")
	}
}

func TestPollSaysWhatItWaitedFor(t *testing.T) {
	reason := errors.New("not yet")
	err := Poll(t.Context(), 10*time.Millisecond, "the thing", func(context.Context) error { return reason })
	if !errors.Is(err, reason) {
		t.Errorf("it says %v", err)
	}
	if errors.Is(err, context.Canceled) {
		t.Errorf("nobody cancelled it, but it says %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Poll(cancelled, time.Hour, "the thing", func(context.Context) error { return reason }); !errors.Is(err, context.Canceled) {
		t.Errorf("it was cancelled, but says %v", err)
	}
	asked := 0
	err = Poll(t.Context(), time.Hour, "the thing", func(context.Context) error { asked++; return fatal(reason) })
	if !errors.Is(err, reason) || asked != 1 {
		t.Errorf("asked %d times, then %v", asked, err)
	}
}
