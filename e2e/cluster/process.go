package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// process names the node process for good: ids are used again, an id with a start time and a boot is not.
type process struct {
	PID       int    `json:"pid"`
	StartTime string `json:"startTime"`
	Boot      string `json:"boot"`
}

func describeProcess(pid int) (process, error) {
	started, _, err := processState(pid)
	if err != nil {
		return process{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return process{PID: pid, StartTime: started, Boot: strings.TrimSpace(string(boot))}, err
}

// alive is false for another process of the same id, and for one that is dead and not yet buried.
func (p process) alive() bool {
	now, err := describeProcess(p.PID)
	if err != nil || now != p {
		return false
	}
	_, state, err := processState(p.PID)
	return err == nil && state != "Z" && state != "X"
}

// processState reads the fields after the name, which may hold any character.
func processState(pid int) (started, state string, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	const stateField, startField = 0, 19
	if len(fields) <= startField {
		return "", "", fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return fields[startField], fields[stateField], nil
}

func readProcess(path string) (process, error) {
	var p process
	text, err := os.ReadFile(path)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

func (p process) write(path string) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
