// Package manifest writes the files that gatehouse watches, the way careful tools write them.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Dir is a folder with one file per object.
type Dir string

// Write replaces the file of an object by rename, so that no reader ever sees half of it.
func (d Dir) Write(object map[string]any) error {
	text, err := yaml.Marshal(object)
	if err != nil {
		return err
	}
	return d.WriteText(FileName(object), text)
}

// WriteText replaces a file with any text, broken or not.
func (d Dir) WriteText(name string, text []byte) error {
	// The temporary name is hidden and does not end in .yaml: it must never be taken for a manifest.
	temporary := filepath.Join(string(d), "."+name+".tmp")
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(temporary, filepath.Join(string(d), name))
}

// Remove deletes the file of an object; that it is absent already is no error.
func (d Dir) Remove(object map[string]any) error {
	err := os.Remove(filepath.Join(string(d), FileName(object)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// FileName is kind, namespace and name; what a file system could not hold is cut and hashed.
func FileName(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	kind, _ := object["kind"].(string)
	namespace, _ := metadata["namespace"].(string)
	name, _ := metadata["name"].(string)
	base := strings.ToLower(kind) + "." + namespace + "." + name
	if len(base) > 200 {
		sum := sha256.Sum256([]byte(base))
		base = base[:180] + "-" + hex.EncodeToString(sum[:8])
	}
	return base + ".yaml"
}
