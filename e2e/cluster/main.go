package cluster

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// insideVariable names the cluster in whose network a process runs, and keepVariable keeps a cluster that the tests
// started themselves.
const (
	insideVariable = "E2E_INSIDE"
	ownerVariable  = "E2E_STARTED_HERE"
	keepVariable   = "E2E_KEEP"
)

// Main is the TestMain of packages that test on a cluster: it starts the cluster, unless it is up, and runs the tests
// inside its network. A cluster that it started, it also ends, unless E2E_KEEP is set. Preparations are made before,
// where the machine's own network is at hand; they do nothing for somebody else's cluster.
//
//	func TestMain(m *testing.M) { cluster.Main(m) }
func Main(m *testing.M, preparations ...Preparation) {
	if os.Getenv(existingVariable) != "" || os.Getenv(insideVariable) != "" {
		os.Exit(runAndEnd(m))
	}
	// Replaces this process by the same program in the cluster's network, and so comes back above.
	fmt.Fprintln(os.Stderr, "cluster:", enter(preparations))
	os.Exit(1)
}

// Preparation gives a cluster what tests need, such as images.
type Preparation func(ctx context.Context, c *Cluster) error

// enter returns only with an error.
func enter(preparations []Preparation) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	name := NameFromEnvironment()
	_, err := Attach(name)
	started := err != nil
	c, err := Up(ctx, name, os.Stderr)
	if err != nil {
		return err
	}
	for _, prepare := range preparations {
		if err := prepare(ctx, c); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	additions := []string{insideVariable + "=" + name, nameVariable + "=" + name}
	if started {
		additions = append(additions, ownerVariable+"=1")
	}
	return c.network.Exec(self, os.Args, withVariables(os.Environ(), additions))
}

func runAndEnd(m *testing.M) int {
	code := m.Run()
	if os.Getenv(ownerVariable) == "" || os.Getenv(keepVariable) != "" {
		return code
	}
	if err := Down(context.Background(), NameFromEnvironment(), os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		return 1
	}
	return code
}

// Exec replaces this process by a program in the cluster's network; it returns only with an error.
func (c *Cluster) Exec(ctx context.Context, argv []string) error {
	additions, err := c.Environment(ctx)
	if err != nil {
		return err
	}
	if !c.Existing() {
		additions = append(additions, insideVariable+"="+c.Name, nameVariable+"="+c.Name)
	}
	environment := withVariables(os.Environ(), additions)
	program := argv[0]
	if !strings.Contains(program, "/") {
		if program, err = lookPath(program, variable(environment, "PATH")); err != nil {
			return err
		}
	}
	return c.network.Exec(program, argv, environment)
}

// withVariables replaces and adds variables: in a list that names one twice, programs take the first or the last.
func withVariables(environment, additions []string) []string {
	var result []string
	for _, setting := range environment {
		name, _, _ := strings.Cut(setting, "=")
		if variable(additions, name) == "" {
			result = append(result, setting)
		}
	}
	return append(result, additions...)
}

func variable(environment []string, name string) string {
	for _, setting := range environment {
		if value, found := strings.CutPrefix(setting, name+"="); found {
			return value
		}
	}
	return ""
}
