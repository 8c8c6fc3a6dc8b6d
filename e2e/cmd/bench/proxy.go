package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"gatehouse.dev/e2e/gatehouse"
)

// proxy is how gatehouse runs its Envoy: the floor's Envoy is started the same way.
type proxy struct {
	command       []string
	bootstrapPath string
	bootstrap     string
	node          *corev3.Node
	xds, admin    string // sockets
}

// findProxy reads the command line and the bootstrap of gatehouse's only Envoy.
func findProxy(process *gatehouse.Process) (*proxy, error) {
	pids := process.EnvoyPids()
	if len(pids) != 1 {
		return nil, fmt.Errorf("want one Envoy, found %v", pids)
	}
	command, err := gatehouse.CommandLine(pids[0])
	if err != nil {
		return nil, err
	}
	p := &proxy{command: command}
	for _, argument := range command[1:] {
		path := argument[strings.Index(argument, "=")+1:]
		if strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".yaml") {
			p.bootstrapPath = path
		}
	}
	text, err := os.ReadFile(p.bootstrapPath)
	if err != nil {
		return nil, fmt.Errorf("bootstrap of %v: %w", command, err)
	}
	p.bootstrap = string(text)
	return p, p.parse()
}

func (p *proxy) parse() error {
	var content struct {
		Node            json.RawMessage
		Admin           json.RawMessage
		StaticResources json.RawMessage `json:"static_resources"`
	}
	if err := json.Unmarshal([]byte(p.bootstrap), &content); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	p.node = &corev3.Node{}
	options := protojson.UnmarshalOptions{DiscardUnknown: true}
	if err := options.Unmarshal(content.Node, p.node); err != nil {
		return fmt.Errorf("node of the bootstrap: %w", err)
	}
	p.xds, p.admin = pipe(content.StaticResources), pipe(content.Admin)
	if p.xds == "" {
		return fmt.Errorf("the bootstrap names no xDS socket")
	}
	return nil
}

// pipe finds the first {"pipe": {"path": ...}} in JSON.
func pipe(text json.RawMessage) string {
	var value any
	if json.Unmarshal(text, &value) != nil {
		return ""
	}
	return findPipe(value)
}

func findPipe(value any) string {
	switch value := value.(type) {
	case map[string]any:
		if p, ok := value["pipe"].(map[string]any); ok {
			path, _ := p["path"].(string)
			return path
		}
		for _, child := range value {
			if path := findPipe(child); path != "" {
				return path
			}
		}
	case []any:
		for _, child := range value {
			if path := findPipe(child); path != "" {
				return path
			}
		}
	}
	return ""
}

// start runs Envoy with the same bootstrap, sockets apart.
func (p *proxy) start(dir, xds string) (*exec.Cmd, error) {
	text := strings.ReplaceAll(p.bootstrap, p.xds, xds)
	if p.admin != "" {
		text = strings.ReplaceAll(text, p.admin, filepath.Join(dir, "admin.sock"))
	}
	path := filepath.Join(dir, "bootstrap.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return nil, err
	}
	old := filepath.Dir(p.bootstrapPath)
	var arguments []string
	for _, argument := range p.command[1:] {
		argument = strings.ReplaceAll(argument, p.bootstrapPath, path)
		arguments = append(arguments, strings.ReplaceAll(argument, old, dir))
	}
	cmd := exec.Command(p.command[0], arguments...)
	log, err := os.Create(filepath.Join(dir, "envoy.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	return cmd, cmd.Start()
}
