package cluster

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/template"

	"gatehouse.dev/e2e/cluster/pki"
)

//go:embed config/* manifests/*
var embedded embed.FS

var configTemplates = template.Must(template.ParseFS(embedded, "config/*"))

// embeddedHash changes with every file of this package that a cluster is made of.
func embeddedHash() string {
	hash := sha256.New()
	err := fs.WalkDir(embedded, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := embedded.ReadFile(path)
		fmt.Fprintf(hash, "%s %d\n%s", path, len(text), text)
		return err
	})
	if err != nil {
		panic(err) // the files are part of the program
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// writeFiles writes certificates, kubeconfigs and configuration files.
func (c *Cluster) writeFiles(p parts) error {
	for _, dir := range []string{c.files.pki(), filepath.Join(c.files.config(), "cni"), c.files.logs(), c.files.run} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := c.writePKI(); err != nil {
		return err
	}
	values := map[string]string{
		"CNI": p.cni, "Config": c.files.config(), "PKI": c.files.pki(), "CgroupRoot": cgroup(c.Name), "NodeName": NodeName,
	}
	for source, target := range map[string]string{
		"containerd.toml": "containerd.toml",
		"cni.conflist":    "cni/10-cluster.conflist",
		"kubelet.yaml":    "kubelet.yaml",
		"kube-proxy.yaml": "kube-proxy.yaml",
	} {
		if err := render(filepath.Join(c.files.config(), target), source, values); err != nil {
			return err
		}
	}
	return nil
}

func render(path, source string, values any) error {
	var text bytes.Buffer
	if err := configTemplates.ExecuteTemplate(&text, source, values); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o600)
}

func (c *Cluster) writePKI() error {
	authority, err := pki.NewAuthority("gatehouse-test-cluster")
	if err != nil {
		return err
	}
	tokens, err := pki.NewKey()
	if err != nil {
		return err
	}
	server, err := authority.Issue("kube-apiserver", nil,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost", "127.0.0.1", kubernetesIP, nodeAddress)
	if err != nil {
		return err
	}
	for name, pair := range map[string]pki.Pair{"ca": authority.Pair, "serviceaccounts": tokens, "apiserver": server} {
		if err := c.writePair(name, pair); err != nil {
			return err
		}
	}
	for _, client := range []struct {
		name, user string
		groups     []string
	}{
		{"admin", "admin", []string{"system:masters"}},
		{ControllerManager, "system:kube-controller-manager", nil},
		{Scheduler, "system:kube-scheduler", nil},
		{KubeProxy, "system:kube-proxy", nil},
		{Kubelet, "system:node:" + NodeName, []string{"system:nodes"}},
	} {
		// The kubelet serves with its certificate too, hence the names.
		pair, err := authority.Issue(client.user, client.groups, NodeName, nodeAddress)
		if err != nil {
			return err
		}
		if err := c.writePair(client.name, pair); err != nil {
			return err
		}
		if err := c.writeKubeconfig(client.name, authority.Public, pair); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) writePair(name string, pair pki.Pair) error {
	path := filepath.Join(c.files.pki(), name)
	if err := os.WriteFile(path+".crt", pair.Public, 0o644); err != nil {
		return err
	}
	return os.WriteFile(path+".key", pair.Private, 0o600)
}

func (c *Cluster) writeKubeconfig(name string, authority []byte, pair pki.Pair) error {
	encode := base64.StdEncoding.EncodeToString
	return render(filepath.Join(c.files.pki(), name+".conf"), "kubeconfig.yaml", map[string]string{
		"Cluster": "gatehouse-" + c.Name, "Server": apiServer, "User": name,
		"CA": encode(authority), "Certificate": encode(pair.Public), "Key": encode(pair.Private),
	})
}
