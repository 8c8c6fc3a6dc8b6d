package node

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// Handler lets others control the components:
//
//	POST /start/NAME   POST /stop/NAME   GET /running
func (s *Supervisor) Handler() http.Handler {
	mux := http.NewServeMux()
	act := func(action func(string) error) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if err := action(r.PathValue("name")); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		}
	}
	mux.HandleFunc("POST /start/{name}", act(s.Start))
	mux.HandleFunc("POST /stop/{name}", act(s.Stop))
	mux.HandleFunc("GET /running", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(s.Running())
	})
	return mux
}

// Client controls the components of a node from outside.
type Client struct{ http *http.Client }

// NewClient talks to the node's socket.
func NewClient(socket string) Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	return Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Start starts a component.
func (c Client) Start(ctx context.Context, name string) error {
	_, err := c.call(ctx, http.MethodPost, "/start/"+name)
	return err
}

// Stop ends a component and waits for that.
func (c Client) Stop(ctx context.Context, name string) error {
	_, err := c.call(ctx, http.MethodPost, "/stop/"+name)
	return err
}

// Running lists the components that run.
func (c Client) Running(ctx context.Context) (map[string]int, error) {
	text, err := c.call(ctx, http.MethodGet, "/running")
	if err != nil {
		return nil, err
	}
	var pids map[string]int
	return pids, json.Unmarshal(text, &pids)
}

func (c Client) call(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://node"+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the node says: %s", bytes.TrimSpace(text))
	}
	return text, nil
}
