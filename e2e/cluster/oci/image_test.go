package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path"
	"strings"
	"testing"
)

func archiveOf(t *testing.T, image Image) (raw []byte, files map[string][]byte) {
	t.Helper()
	var buffer bytes.Buffer
	if err := image.Write(&buffer); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes(), untar(t, buffer.Bytes())
}

func untar(t *testing.T, archive []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		files[header.Name] = content
	}
}

func TestEveryBlobHasTheContentOfItsName(t *testing.T) {
	image := Image{References: []string{"localhost/a:1", "localhost/b:1"}, Files: []File{{Path: "/x/y", Mode: 0o644, Data: []byte("hello")}}}
	first, files := archiveOf(t, image)
	second, _ := archiveOf(t, image)
	if !bytes.Equal(first, second) {
		t.Error("the same image gave other bytes")
	}
	for name, content := range files {
		sum := sha256.Sum256(content)
		if strings.HasPrefix(name, "blobs/") && path.Base(name) != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has another digest", name)
		}
	}
	var list index
	if err := json.Unmarshal(files["index.json"], &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 2 {
		t.Fatalf("two references gave %d entries", len(list.Manifests))
	}
	var parsed manifest
	if err := json.Unmarshal(files[blobPath(list.Manifests[0])], &parsed); err != nil {
		t.Fatal(err)
	}
	layer := untar(t, files[blobPath(parsed.Layers[0])])
	if string(layer["x/y"]) != "hello" || layer["x/"] == nil {
		t.Errorf("the layer holds %v", layer)
	}
}

func TestBinaryBringsItsLinkerAndLibraries(t *testing.T) {
	image, err := ForBinary("/bin/sh", "/usr/local/bin/sh", "localhost/sh:1")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for _, file := range image.Files {
		have[path.Base(file.Path)] = true
	}
	interpreter, needed, err := dynamicSection("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(needed, path.Base(interpreter), "sh", "passwd") {
		if !have[name] {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestStaticBinaryBringsNothingElse(t *testing.T) {
	// The program of a Go test is static, unless cgo is used.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	interpreter, _, err := dynamicSection(self)
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := sharedObjects(self)
	if err != nil {
		t.Fatal(err)
	}
	if (interpreter == "") != (len(libraries) == 0) {
		t.Errorf("linker %q, libraries %v", interpreter, libraries)
	}
}

func TestReferenceIsCompletedAsKubernetesDoes(t *testing.T) {
	for name, want := range map[string]string{
		"envoy":                        "docker.io/library/envoy:latest",
		"envoyproxy/envoy:v1":          "docker.io/envoyproxy/envoy:v1",
		"localhost/gatehouse:dev":      "localhost/gatehouse:dev",
		"registry.example:5000/a/b":    "registry.example:5000/a/b:latest",
		"registry.example/a@sha256:00": "registry.example/a@sha256:00",
	} {
		if got := Reference(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
