package cluster

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"

	"gatehouse.dev/e2e/cluster/oci"
)

// The backend of the conformance suite, and the names by which its manifests call it. (Only tests of meshes need another.)
const conformanceBackend = "sigs.k8s.io/gateway-api-conformance-images/echo-basic"

var conformanceReferences = []string{
	"registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0",
	"registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0",
}

// LoadImage makes an image known to the node under its references.
func (c *Cluster) LoadImage(ctx context.Context, image oci.Image) error {
	if c.Existing() {
		return errExisting
	}
	archive, err := os.CreateTemp("", "image-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(archive.Name())
	defer archive.Close()
	if err := image.Write(archive); err != nil {
		return fmt.Errorf("make image %v: %w", image.References, err)
	}
	return c.LoadArchive(ctx, archive.Name())
}

// LoadArchive makes the images of an archive known to the node: the OCI layout, or what `docker save` writes.
func (c *Cluster) LoadArchive(ctx context.Context, archive string) error {
	if c.Existing() {
		return errExisting
	}
	node, err := c.cache.Node(ctx)
	if err != nil {
		return err
	}
	ctr, err := lookPath("ctr", node.Path)
	if err != nil {
		return err
	}
	if err := c.awaitContainerd(ctx); err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, ctr, "--address="+c.files.containerd(), "--namespace=k8s.io",
		"images", "import", archive).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import %s: %w: %s", filepath.Base(archive), err, said)
	}
	return nil
}

func (c *Cluster) awaitContainerd(ctx context.Context) error {
	return Poll(ctx, startPatience, "containerd's socket", func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", c.files.containerd())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// LoadBinary makes an image of a program of this machine; target is its path in the image.
func (c *Cluster) LoadBinary(ctx context.Context, binary, target string, references ...string) error {
	var complete []string
	for _, reference := range references {
		complete = append(complete, oci.Reference(reference))
	}
	image, err := oci.ForBinary(binary, target, complete...)
	if err != nil {
		return err
	}
	return c.LoadImage(ctx, image)
}

// LoadProgram builds a Go program of this module, or of one that it requires, and loads it as an image.
func (c *Cluster) LoadProgram(ctx context.Context, importPath string, references ...string) error {
	program, err := c.cache.Program(ctx, importPath)
	if err != nil {
		return err
	}
	return c.LoadBinary(ctx, program, "/"+path.Base(importPath), references...)
}

// LoadConformanceBackend builds the backend of the conformance suite and loads it.
func (c *Cluster) LoadConformanceBackend(ctx context.Context) error {
	return c.LoadProgram(ctx, conformanceBackend, conformanceReferences...)
}

// lookPath searches a list of folders.
func lookPath(program, list string) (string, error) {
	for _, dir := range filepath.SplitList(list) {
		if found, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", program, list)
}
