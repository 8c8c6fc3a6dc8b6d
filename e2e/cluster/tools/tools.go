// Package tools builds and installs what a cluster is made of, by version, into a cache.
//
//	kubernetes, coredns, helm, metallb   Go modules, pinned by the go.mod and go.sum of the folders beside this file
//	debian                               etcd, containerd, runc and the CNI plugins: unpacked from their packages
//	programs                             this module's own, and the conformance suite's backends
//	gateway-api                          the CRDs of the pinned module
//
// A folder of the cache is either whole or absent: it is made beside its place and renamed. One lock for the
// whole cache keeps two builds from doing the same work.
package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/mod/modfile"

	"gatehouse.dev/e2e/cluster/filelock"
)

// Cache is where tools are kept; what it installs, it says to Log.
type Cache struct {
	Dir string
	Log io.Writer
}

// DefaultDir is the cache that the Makefile uses as well.
func DefaultDir() (string, error) {
	if dir := os.Getenv("GATEHOUSE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache (set GATEHOUSE_CACHE): %w", err)
	}
	return filepath.Join(dir, "gatehouse"), nil
}

// Kubernetes is the folder with kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet and kubectl.
func (c Cache) Kubernetes(ctx context.Context) (string, error) {
	return c.module(ctx, module{name: "kubernetes", path: "k8s.io/kubernetes", versionVariable: "k8s.io/component-base/version.gitVersion"})
}

// CoreDNS is the folder with coredns.
func (c Cache) CoreDNS(ctx context.Context) (string, error) {
	return c.module(ctx, module{name: "coredns", path: "github.com/coredns/coredns"})
}

// Helm is the folder with helm.
func (c Cache) Helm(ctx context.Context) (string, error) {
	return c.module(ctx, module{name: "helm", path: "helm.sh/helm/v4"})
}

// MetalLB is the folder with MetalLB's controller and its manifest, metallb-native.yaml.
func (c Cache) MetalLB(ctx context.Context) (string, error) {
	return c.module(ctx, module{name: "metallb", path: "go.universe.tf/metallb", files: []string{"config/manifests/metallb-native.yaml"}})
}

// module is a folder beside this file whose go.mod names programs as tools.
type module struct {
	name            string
	path            string   // the module that the programs come from
	versionVariable string   // set to the module's version by the linker
	files           []string // of that module, wanted beside the programs
}

func (c Cache) module(ctx context.Context, m module) (string, error) {
	dir := filepath.Join(sourceDir(), m.name)
	gomod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", err
	}
	version, err := requiredVersion(gomod, m.path)
	if err != nil {
		return "", err
	}
	sources, err := readAll(dir)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("%s-%s-%s", m.name, version, shortHash(sources...))
	return c.install(ctx, name, func(into string) error { return m.build(ctx, dir, version, into) })
}

func (m module) build(ctx context.Context, dir, version, into string) error {
	flags := "-s -w"
	if m.versionVariable != "" {
		flags += fmt.Sprintf(" -X %s=%s", m.versionVariable, version)
	}
	if _, err := goCommand(ctx, dir, "build", "-trimpath", "-ldflags="+flags, "-o", into+"/", "tool"); err != nil {
		return err
	}
	if len(m.files) == 0 {
		return nil
	}
	source, err := goCommand(ctx, dir, "list", "-m", "-f", "{{.Dir}}", m.path)
	if err != nil {
		return err
	}
	for _, file := range m.files {
		content, err := os.ReadFile(filepath.Join(strings.TrimSpace(source), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(into, filepath.Base(file)), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Program builds one program of this module or of a module that it requires. Go's own cache knows whether there
// is anything to do.
func (c Cache) Program(ctx context.Context, importPath string) (string, error) {
	unlock, err := filelock.Acquire(ctx, c.lockFile())
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(c.toolsDir(), "programs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	target := filepath.Join(dir, filepath.Base(importPath))
	fresh := target + ".new"
	if _, err := goCommand(ctx, moduleDir(), "build", "-trimpath", "-ldflags=-s -w", "-o", fresh, importPath); err != nil {
		return "", err
	}
	// The program may be running: its file is replaced, never written.
	return target, os.Rename(fresh, target)
}

// GatewayAPI is the folder with Gateway API's CRDs, one folder per channel. They are kept, since the network of a cluster
// does not reach the modules.
func (c Cache) GatewayAPI(ctx context.Context) (string, error) {
	const path = "sigs.k8s.io/gateway-api"
	gomod, err := os.ReadFile(filepath.Join(moduleDir(), "go.mod"))
	if err != nil {
		return "", err
	}
	version, err := requiredVersion(gomod, path)
	if err != nil {
		return "", err
	}
	return c.install(ctx, "gateway-api-"+version, func(into string) error {
		// A module that is only listed is not there yet.
		if _, err := goCommand(ctx, moduleDir(), "mod", "download", path); err != nil {
			return err
		}
		source, err := goCommand(ctx, moduleDir(), "list", "-m", "-f", "{{.Dir}}", path)
		if err != nil {
			return err
		}
		return os.CopyFS(into, os.DirFS(filepath.Join(strings.TrimSpace(source), "config/crd")))
	})
}

// install gives the folder of that name, which make fills if it is not there.
func (c Cache) install(ctx context.Context, name string, make func(into string) error) (string, error) {
	final := filepath.Join(c.toolsDir(), name)
	if exists(final) {
		return final, nil
	}
	unlock, err := filelock.Acquire(ctx, c.lockFile())
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(final) {
		return final, nil
	}
	fmt.Fprintf(c.Log, "installing %s\n", name)
	started := time.Now()
	unfinished := final + ".unfinished"
	if err := errors.Join(os.RemoveAll(unfinished), os.MkdirAll(unfinished, 0o755)); err != nil {
		return "", err
	}
	if err := make(unfinished); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	if err := os.Rename(unfinished, final); err != nil {
		return "", err
	}
	fmt.Fprintf(c.Log, "installed %s in %.0f s\n", name, time.Since(started).Seconds())
	return final, nil
}

func (c Cache) toolsDir() string { return filepath.Join(c.Dir, "tools") }

func (c Cache) lockFile() string { return filepath.Join(c.Dir, "tools.lock") }

// goCommand runs the go command in a module and returns its output. Programs are static: they go into images.
func goCommand(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOTOOLCHAIN=auto")
	return output(cmd)
}

// output runs a command and returns its standard output; an error holds what it said.
func output(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func requiredVersion(gomod []byte, path string) (string, error) {
	parsed, err := modfile.Parse("go.mod", gomod, nil)
	if err != nil {
		return "", err
	}
	for _, required := range parsed.Require {
		if required.Mod.Path == path {
			return required.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("go.mod does not require %s", path)
}

func shortHash(parts ...[]byte) string {
	hash := sha256.New()
	for _, part := range parts {
		hash.Write(part)
	}
	return hex.EncodeToString(hash.Sum(nil))[:10]
}

// readAll reads the files of a folder, in order of their names.
func readAll(dir string) ([][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var contents [][]byte
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			return nil, err
		}
		contents = append(contents, content)
	}
	return contents, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sourceDir is this folder: the modules are built where they are, in the checkout.
func sourceDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

func moduleDir() string { return filepath.Join(sourceDir(), "..", "..") }
