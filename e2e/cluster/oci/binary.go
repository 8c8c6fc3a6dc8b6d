package oci

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// certificateBundles are the places of the usual distributions.
var certificateBundles = []string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/cert.pem",
}

// ForBinary is an image that holds a program of this machine and what it needs to run: its dynamic
// linker and libraries, if it has any, and the trusted certificates. It runs as NonRoot.
func ForBinary(binary, target string, references ...string) (Image, error) {
	files := []File{
		{Path: target, Mode: 0o755, Source: binary},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte("root:x:0:0::/:/sbin/nologin\nnonroot:x:65532:65532::/tmp:/sbin/nologin\n")},
		{Path: "/etc/group", Mode: 0o644, Data: []byte("root:x:0:\nnonroot:x:65532:\n")},
		{Path: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	}
	libraries, err := sharedObjects(binary)
	if err != nil {
		return Image{}, fmt.Errorf("libraries of %s: %w", binary, err)
	}
	files = append(files, libraries...)
	for _, bundle := range certificateBundles {
		if _, err := os.Stat(bundle); err == nil {
			files = append(files, File{Path: certificateBundles[0], Mode: 0o644, Source: bundle})
			break
		}
	}
	return Image{
		References: references,
		Entrypoint: []string{target},
		Env:        []string{"PATH=" + path.Dir(target)},
		User:       NonRoot,
		Files:      files,
	}, nil
}

// sharedObjects finds the dynamic linker and, in the linker's default folders, all that is needed,
// directly or not. They keep their paths: the linker in the image looks in the same folders.
func sharedObjects(binary string) ([]File, error) {
	interpreter, needed, err := dynamicSection(binary)
	if err != nil || interpreter == "" {
		return nil, err
	}
	files := []File{{Path: interpreter, Mode: 0o755, Source: interpreter}}
	have := map[string]bool{filepath.Base(interpreter): true}
	for len(needed) > 0 {
		name := needed[0]
		needed = needed[1:]
		if have[name] {
			continue
		}
		have[name] = true
		found, err := findLibrary(name, interpreter)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: found, Mode: 0o755, Source: found})
		_, more, err := dynamicSection(found)
		if err != nil {
			return nil, err
		}
		needed = append(needed, more...)
	}
	return files, nil
}

// dynamicSection reads which linker a program asks for (none: it is static) and which libraries.
func dynamicSection(name string) (interpreter string, needed []string, err error) {
	file, err := elf.Open(name)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	if needed, err = file.ImportedLibraries(); err != nil {
		return "", nil, err
	}
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			text := make([]byte, segment.Filesz)
			if _, err := segment.ReadAt(text, 0); err != nil {
				return "", nil, err
			}
			interpreter = strings.TrimRight(string(text), "\x00")
		}
	}
	return interpreter, needed, nil
}

func findLibrary(name, interpreter string) (string, error) {
	// Debian's folders are named by the architecture, and the linker itself really lives in one of them.
	real, err := filepath.EvalSymlinks(interpreter)
	if err != nil {
		return "", err
	}
	triplet := filepath.Base(filepath.Dir(real))
	for _, dir := range []string{"/lib/" + triplet, "/usr/lib/" + triplet, "/lib64", "/usr/lib64", "/lib", "/usr/lib"} {
		found := filepath.Join(dir, name)
		if _, err := os.Stat(found); err == nil {
			return found, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s is in none of the linker's folders", name)
}
