// Command cluster-node is the node of a test cluster; cmd/cluster starts it, nobody else should.
package main

import (
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"gatehouse.dev/e2e/cluster/node"
)

func main() {
	if err := run(); err != nil {
		log.Fatalf("cluster-node: %v", err)
	}
}

func run() error {
	if err := node.AwaitGoAhead(os.Stdin); err != nil {
		return err
	}
	spec, err := node.Load(os.Args[len(os.Args)-1])
	if err != nil {
		return err
	}
	if err := node.Prepare(spec); err != nil {
		return err
	}
	// From here on, nothing may wait for processes but Bury.
	childEnded := make(chan os.Signal, 1)
	signal.Notify(childEnded, syscall.SIGCHLD)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	supervisor := node.NewSupervisor(spec)
	go supervisor.Bury(childEnded)

	listener, err := net.Listen("unix", spec.Socket)
	if err != nil {
		return err
	}
	return http.Serve(listener, supervisor.Handler())
}
