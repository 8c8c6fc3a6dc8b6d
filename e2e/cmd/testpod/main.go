// Command testpod is what the tests' pods run: the echo backend, and a client for use by `kubectl exec`.
//
//	testpod serve        answer on port 3000 (HTTP/1.1 and HTTP/2 without TLS), as POD_NAME and NAMESPACE
//	testpod fetch URL    print the answer to one request; fails unless it is a 200
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gatehouse.dev/e2e/echo"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testpod:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve()
	case len(args) == 2 && args[0] == "fetch":
		return fetch(args[1])
	default:
		return errors.New("usage: testpod serve | testpod fetch URL")
	}
}

func serve() error {
	server, err := echo.Start(echo.Config{
		HTTPPort:  echo.HTTPPort,
		HTTP2:     true,
		Pod:       os.Getenv("POD_NAME"),
		Namespace: os.Getenv("NAMESPACE"),
		Service:   os.Getenv("SERVICE_NAME"),
	})
	if err != nil {
		return err
	}
	fmt.Println("listening on port", echo.HTTPPort)
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	<-ending
	server.Close()
	return nil
}

func fetch(url string) error {
	client := http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}
