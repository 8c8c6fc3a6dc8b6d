// Command testpod is what the tests' pods run: the echo backend, and a client for use by `kubectl exec`.
//
//	testpod serve        answer on port 3000 (HTTP/1.1 and HTTP/2 without TLS), as POD_NAME and NAMESPACE
//	testpod fetch URL    print the answer to one request; fails unless it is a 200
//	testpod fail         answer 503 on port 3000, and how often so far to requests for /asked
//	testpod collect      take spans (OTLP over gRPC) on port 4317, and print each as JSON
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"gatehouse.dev/e2e/echo"
	"gatehouse.dev/e2e/otlp"
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
	case len(args) == 1 && args[0] == "fail":
		return fail()
	case len(args) == 1 && args[0] == "collect":
		return collect()
	default:
		return errors.New("usage: testpod serve | testpod fetch URL | testpod fail | testpod collect")
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

// fail is slow enough for many requests to be underway at once.
func fail() error {
	var asked atomic.Int64
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/asked" {
			fmt.Fprint(w, asked.Load())
			return
		}
		asked.Add(1)
		time.Sleep(300 * time.Millisecond)
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	return http.ListenAndServe(fmt.Sprintf(":%d", echo.HTTPPort), http.HandlerFunc(handler))
}

func collect() error {
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", otlp.Port))
	if err != nil {
		return err
	}
	return otlp.Serve(listener, func(span otlp.Span) {
		line, err := json.Marshal(span)
		if err != nil {
			panic(err) // texts can be encoded
		}
		fmt.Println(string(line))
	})
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
