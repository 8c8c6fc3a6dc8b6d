package tools

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestFolderOfTheCacheIsWholeOrAbsent(t *testing.T) {
	cache := Cache{Dir: t.TempDir(), Log: io.Discard}
	write := func(into string) error { return os.WriteFile(filepath.Join(into, "program"), []byte("x"), 0o755) }
	broken := errors.New("interrupted")

	_, err := cache.install(t.Context(), "tool-v1", func(into string) error { return errors.Join(write(into), broken) })
	if !errors.Is(err, broken) {
		t.Fatalf("an interrupted installation says %v", err)
	}
	if exists(filepath.Join(cache.toolsDir(), "tool-v1")) {
		t.Fatal("half an installation looks like a whole one")
	}
	dir, err := cache.install(t.Context(), "tool-v1", write)
	if err != nil || !exists(filepath.Join(dir, "program")) {
		t.Fatalf("installation after an interrupted one: %v", err)
	}
	again := func(string) error { return errors.New("installed twice") }
	if _, err := cache.install(t.Context(), "tool-v1", again); err != nil {
		t.Error(err)
	}
}

func TestEveryModulePinsTheVersionThatItIsNamedBy(t *testing.T) {
	for name, path := range map[string]string{
		"kubernetes": "k8s.io/kubernetes",
		"coredns":    "github.com/coredns/coredns",
		"helm":       "helm.sh/helm/v4",
		"metallb":    "go.universe.tf/metallb",
	} {
		text, err := os.ReadFile(filepath.Join(sourceDir(), name, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		if version, err := requiredVersion(text, path); err != nil || version == "" {
			t.Errorf("%s: version %q, %v", name, version, err)
		}
	}
}
