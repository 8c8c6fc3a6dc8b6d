// Package oci writes container images without a container tool: an archive in the OCI image layout
// with one layer, as containerd imports it.
package oci

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
)

// NonRoot is the user that images run as, as the distroless ones do.
const NonRoot = "65532:65532"

// Image is what goes into an archive.
type Image struct {
	// References are the names that the image gets, complete with registry and tag (see Reference).
	References []string
	Entrypoint []string
	Env        []string
	User       string
	Files      []File
}

// File is a file or a folder of the image; its parents are made. It has the content of Source or Data.
type File struct {
	Path   string
	Mode   fs.FileMode
	Source string
	Data   []byte
}

// Reference completes the name of an image as Kubernetes does: "envoy" is "docker.io/library/envoy:latest".
func Reference(name string) string {
	first, rest, nested := strings.Cut(name, "/")
	switch {
	case !nested:
		name = "docker.io/library/" + name
	case first != "localhost" && !strings.ContainsAny(first, ".:"):
		name = "docker.io/" + first + "/" + rest
	}
	if !strings.ContainsAny(path.Base(name), ":@") {
		name += ":latest"
	}
	return name
}

const (
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
	manifestType = "application/vnd.oci.image.manifest.v1+json"
)

type descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

type config struct {
	Architecture string          `json:"architecture"`
	OS           string          `json:"os"`
	Config       containerConfig `json:"config"`
	RootFS       rootFS          `json:"rootfs"`
}

type containerConfig struct {
	User       string   `json:"User,omitempty"`
	Env        []string `json:"Env,omitempty"`
	Entrypoint []string `json:"Entrypoint,omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	Manifests     []descriptor `json:"manifests"`
}

// Write writes the archive. Equal images give equal bytes.
func (i Image) Write(w io.Writer) error {
	layer, err := os.CreateTemp("", "layer")
	if err != nil {
		return err
	}
	defer os.Remove(layer.Name())
	defer layer.Close()
	layerBlob, err := writeLayer(layer, i.Files)
	if err != nil {
		return err
	}

	archive := tar.NewWriter(w)
	if _, err := layer.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := add(archive, blobPath(layerBlob), layerBlob.Size, layer); err != nil {
		return err
	}
	configBlob, err := addJSON(archive, configType, config{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       containerConfig{User: i.User, Env: i.Env, Entrypoint: i.Entrypoint},
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{layerBlob.Digest}},
	})
	if err != nil {
		return err
	}
	manifestBlob, err := addJSON(archive, manifestType, manifest{
		SchemaVersion: 2, MediaType: manifestType, Config: configBlob, Layers: []descriptor{layerBlob},
	})
	if err != nil {
		return err
	}
	if err := addIndex(archive, manifestBlob, i.References); err != nil {
		return err
	}
	return archive.Close()
}

func addIndex(archive *tar.Writer, manifest descriptor, references []string) error {
	list := index{SchemaVersion: 2}
	for _, reference := range references {
		manifest.Annotations = map[string]string{
			"io.containerd.image.name":          reference,
			"org.opencontainers.image.ref.name": reference,
		}
		list.Manifests = append(list.Manifests, manifest)
	}
	text, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := add(archive, "index.json", int64(len(text)), bytes.NewReader(text)); err != nil {
		return err
	}
	layout := `{"imageLayoutVersion":"1.0.0"}`
	return add(archive, "oci-layout", int64(len(layout)), strings.NewReader(layout))
}

func addJSON(archive *tar.Writer, mediaType string, value any) (descriptor, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return descriptor{}, err
	}
	sum := sha256.Sum256(text)
	blob := descriptor{MediaType: mediaType, Digest: digest(sum[:]), Size: int64(len(text))}
	return blob, add(archive, blobPath(blob), blob.Size, bytes.NewReader(text))
}

func add(archive *tar.Writer, name string, size int64, content io.Reader) error {
	return addFile(archive, &tar.Header{Name: name, Mode: 0o644, Size: size}, content)
}

func addFile(archive *tar.Writer, header *tar.Header, content io.Reader) error {
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err := io.Copy(archive, content)
	return err
}

// writeLayer writes the files in order of their paths, each folder before what is in it.
func writeLayer(w io.Writer, files []File) (descriptor, error) {
	hash := sha256.New()
	counted := &counter{}
	layer := tar.NewWriter(io.MultiWriter(w, hash, counted))
	for _, file := range withParents(files) {
		if err := writeFile(layer, file); err != nil {
			return descriptor{}, fmt.Errorf("image file %s: %w", file.Path, err)
		}
	}
	if err := layer.Close(); err != nil {
		return descriptor{}, err
	}
	return descriptor{MediaType: layerType, Digest: digest(hash.Sum(nil)), Size: counted.bytes}, nil
}

func withParents(files []File) []File {
	all := map[string]File{}
	for _, file := range files {
		file.Path = path.Clean(file.Path)
		all[file.Path] = file
		for dir := path.Dir(file.Path); dir != "/" && dir != "."; dir = path.Dir(dir) {
			if _, known := all[dir]; !known {
				all[dir] = File{Path: dir, Mode: fs.ModeDir | 0o755}
			}
		}
	}
	sorted := make([]File, 0, len(all))
	for _, file := range all {
		sorted = append(sorted, file)
	}
	slices.SortFunc(sorted, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return sorted
}

func writeFile(layer *tar.Writer, file File) error {
	header := &tar.Header{Name: strings.TrimPrefix(file.Path, "/"), Mode: int64(file.Mode.Perm())}
	if file.Mode&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	if file.Mode.IsDir() {
		header.Typeflag, header.Name = tar.TypeDir, header.Name+"/"
		return layer.WriteHeader(header)
	}
	if file.Source == "" {
		header.Size = int64(len(file.Data))
		return addFile(layer, header, bytes.NewReader(file.Data))
	}
	source, err := os.Open(file.Source)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	header.Size = info.Size()
	return addFile(layer, header, source)
}

func digest(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }

func blobPath(blob descriptor) string {
	return "blobs/sha256/" + strings.TrimPrefix(blob.Digest, "sha256:")
}

type counter struct{ bytes int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.bytes += int64(len(p))
	return len(p), nil
}
