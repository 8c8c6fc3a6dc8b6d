// Command cluster builds, starts and uses a one-node Kubernetes cluster without Docker (see package cluster).
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"gatehouse.dev/e2e/cluster"
)

const usage = `usage: cluster VERB, for the cluster that E2E_CLUSTER names (default "e2e")

  up                        build what is missing, start the cluster
  down                      end it and remove all that is left of it
  kubectl ARGUMENT...       run kubectl
  helm ARGUMENT...          run helm
  in COMMAND...             run a command in the cluster's network, with kubectl and helm at hand
  image TAG BINARY [PATH]   make an image of a program of this machine (PATH: /usr/local/bin/NAME) and load it
  load ARCHIVE              load the images of an archive (OCI layout or docker save)
  backend                   build and load the image of the conformance suite's backend
  gateway-api [CHANNEL]     install the Gateway API's CRDs (experimental)
  stop COMPONENT            stop kube-apiserver, kubelet, ... and keep it so
  start COMPONENT           start it again
  env                       print the environment for kubectl and helm
  artifacts FOLDER          keep logs, events, objects and config dumps

With E2E_KUBECONFIG, kubectl, helm, in, gateway-api, env and artifacts use that cluster instead.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// verb is done on a running cluster with at least so many arguments.
type verb struct {
	arguments int
	do        func(ctx context.Context, c *cluster.Cluster, args []string) error
}

var verbs = map[string]verb{
	"kubectl": {0, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		return c.Exec(ctx, append([]string{"kubectl"}, args...))
	}},
	"helm": {0, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		return c.Exec(ctx, append([]string{"helm"}, args...))
	}},
	"in": {1, func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.Exec(ctx, args) }},
	"image": {2, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		target := "/usr/local/bin/" + filepath.Base(args[1])
		if len(args) > 2 {
			target = args[2]
		}
		return c.LoadBinary(ctx, args[1], target, args[0])
	}},
	"load": {1, func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.LoadArchive(ctx, args[0]) }},
	"backend": {0, func(ctx context.Context, c *cluster.Cluster, _ []string) error {
		return c.LoadConformanceBackend(ctx)
	}},
	"gateway-api": {0, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		return c.InstallGatewayAPI(ctx, append(args, "experimental")[0])
	}},
	"stop": {1, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		return c.StopComponent(ctx, args[0])
	}},
	"start": {1, func(ctx context.Context, c *cluster.Cluster, args []string) error {
		return c.StartComponent(ctx, args[0])
	}},
	"env": {0, func(ctx context.Context, c *cluster.Cluster, _ []string) error {
		settings, err := c.Environment(ctx)
		for _, setting := range settings {
			fmt.Println("export " + setting)
		}
		return err
	}},
	"artifacts": {1, func(ctx context.Context, c *cluster.Cluster, args []string) error { return c.Collect(ctx, args[0]) }},
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		fmt.Print(usage)
		return nil
	}
	name := cluster.NameFromEnvironment()
	switch args[0] {
	case "up":
		_, err := cluster.Up(ctx, name, os.Stderr)
		return err
	case "down":
		return cluster.Down(ctx, name, os.Stderr)
	}
	chosen, known := verbs[args[0]]
	if !known || len(args)-1 < chosen.arguments {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("what should be done?")
	}
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	return chosen.do(ctx, c, args[1:])
}
