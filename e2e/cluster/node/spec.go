// Package node is the node of a test cluster: one process that is the first of its own process, mount and
// network namespaces and runs the parts of the cluster in there.
//
//	cluster up --> cluster-node SPEC --> mounts, network --> control socket
//	                                                            |  start, stop, list
//	                                            etcd, kube-apiserver, containerd, kubelet ...
//
// When this process ends, the kernel ends all others and takes the mounts and the network along. So nothing can be
// left behind, however the end came, except control groups and files, which have the cluster's name.
package node

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// GoAhead is what the node has to read on its standard input before it does anything.
const GoAhead = "go"

// AwaitGoAhead fails when the starter ends before it says so.
func AwaitGoAhead(input io.Reader) error {
	text := make([]byte, len(GoAhead))
	if _, err := io.ReadFull(input, text); err != nil || string(text) != GoAhead {
		return fmt.Errorf("nobody told the node to go ahead: %w", err)
	}
	return nil
}

// Spec is all that the node process has to know.
type Spec struct {
	// Name of the cluster.
	Name string `json:"name"`
	// Socket is where the node is told what to do.
	Socket string `json:"socket"`
	// Logs is the folder for the output of the components.
	Logs string `json:"logs"`
	// Binds are folders of the cluster that take the place of the machine's.
	Binds []Bind `json:"binds"`
	// Address of the node, with the length of its network's prefix.
	Address string `json:"address"`
	// Configuration identifies what is written into the components' files.
	Configuration string `json:"configuration"`
	// Components are started when somebody asks for them.
	Components []Component `json:"components"`
}

// Bind shows From at To.
type Bind struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Component is a program that runs until it is stopped: when it ends by itself, it is started again.
type Component struct {
	Name string   `json:"name"`
	Args []string `json:"args"`
	Env  []string `json:"env"`
}

// Load reads a specification.
func Load(path string) (Spec, error) {
	var spec Spec
	text, err := os.ReadFile(path)
	if err != nil {
		return spec, err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return spec, fmt.Errorf("%s: %w", path, err)
	}
	return spec, nil
}
