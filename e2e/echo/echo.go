// Package echo is the sample backend of the tests: an HTTP server that answers with a JSON
// description of the request it got.
//
// It speaks the same protocol as the conformance suite's echo-basic image (same paths, same query
// parameters, same JSON), which cannot be used without containers: that program listens on every
// address of the host, and here each pod has a loopback address of its own with the real port.
package echo

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// Ports that the image listens on unless its environment says otherwise.
const (
	HTTPPort = 3000
	H2CPort  = 3001
	// HTTPSPort is where the image speaks TLS when it is given a certificate.
	HTTPSPort = 8443
)

// Config says who the backend claims to be and where it listens.
type Config struct {
	IP       string
	HTTPPort int // 0: do not listen; servers of gRPC and TCP speak those on it
	H2CPort  int // 0: do not listen
	// Certificate makes it speak TLS on HTTPSPort.
	Certificate *tls.Certificate
	// ClientCAs sign the certificates that clients must then show; nil: they need none.
	ClientCAs *x509.CertPool
	// HTTP2 makes the HTTP port speak HTTP/2 with prior knowledge as well, which the image does not.
	HTTP2     bool
	Pod       string
	Namespace string
	Service   string
	// Header is added to every answer; tests use it to mark a backend cheaply.
	Header map[string]string
}

// Answer is the JSON body of an echoed request.
type Answer struct {
	Path      string              `json:"path"`
	Host      string              `json:"host"`
	Method    string              `json:"method"`
	Proto     string              `json:"proto"`
	Headers   map[string][]string `json:"headers"`
	HTTPPort  string              `json:"httpPort"`
	Namespace string              `json:"namespace"`
	Ingress   string              `json:"ingress"`
	Service   string              `json:"service"`
	Pod       string              `json:"pod"`
	TLS       *TLS                `json:"tls,omitempty"`
}

// TLS describes the connection of a request, where it is protected.
type TLS struct {
	Version            string   `json:"version"`
	PeerCertificates   []string `json:"peerCertificates,omitempty"`
	ServerName         string   `json:"serverName"`
	NegotiatedProtocol string   `json:"negotiatedProtocol,omitempty"`
	CipherSuite        string   `json:"cipherSuite"`
}

func describeTLS(state *tls.ConnectionState) *TLS {
	if state == nil {
		return nil
	}
	var peers []string
	for _, certificate := range state.PeerCertificates {
		peers = append(peers, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})))
	}
	return &TLS{
		PeerCertificates:   peers,
		Version:            tls.VersionName(state.Version),
		ServerName:         state.ServerName,
		NegotiatedProtocol: state.NegotiatedProtocol,
		CipherSuite:        tls.CipherSuiteName(state.CipherSuite),
	}
}

// Server is one running backend.
type Server struct {
	cfg     Config
	logs    Log
	servers []*http.Server

	mu       sync.Mutex
	attempts map[string]int // failures already served, by the uuid of the request
}

// Start listens and serves; it returns when the sockets are open.
func Start(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, attempts: map[string]int{}}
	listeners := []struct {
		port    int
		handler http.Handler
		h2c     bool
	}{
		{cfg.HTTPPort, s.httpHandler(), cfg.HTTP2},
		{cfg.H2CPort, s.h2cHandler(), true},
	}
	for _, l := range listeners {
		if l.port == 0 {
			continue
		}
		if err := s.serve(l.port, l.handler, l.h2c); err != nil {
			s.Close()
			return nil, err
		}
	}
	if cfg.Certificate != nil {
		if err := s.serveTLS(); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *Server) serveTLS() error {
	config := &tls.Config{Certificates: []tls.Certificate{*s.cfg.Certificate}, NextProtos: []string{"http/1.1"}}
	if s.cfg.ClientCAs != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, s.cfg.ClientCAs
	}
	listener, err := tls.Listen("tcp", net.JoinHostPort(s.cfg.IP, strconv.Itoa(HTTPSPort)), config)
	if err != nil {
		return fmt.Errorf("backend %s: %w", s.cfg.Pod, err)
	}
	server := &http.Server{Handler: s.httpHandler()}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }()
	return nil
}

func (s *Server) serve(port int, handler http.Handler, h2c bool) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cfg.IP, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("backend %s: %w", s.cfg.Pod, err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(h2c)
	server := &http.Server{Handler: handler, Protocols: protocols}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Close ends all connections at once, as a killed container does.
func (s *Server) Close() {
	for _, server := range s.servers {
		_ = server.Close()
	}
}

// Logs returns the lines logged at or after since, as `kubectl logs --since-time` does.
func (s *Server) Logs(since time.Time) []string { return s.logs.Since(since) }

func (s *Server) httpHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "OK") })
	mux.HandleFunc("/status/", status)
	mux.HandleFunc("/retry/", s.flaky)
	mux.Handle("/ws", websocket.Server{Handler: echoFrames})
	mux.HandleFunc("/", s.echo)
	// The mux redirects paths with empty segments, which a test of path matching must not see.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.ReplaceAll(r.URL.Path, "//", "/")
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) h2cHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			http.Error(w, "expected h2c", http.StatusBadRequest)
			return
		}
		s.echo(w, r)
	})
}

func echoFrames(ws *websocket.Conn) {
	for {
		var frame frame
		if frameCodec.Receive(ws, &frame) != nil || frameCodec.Send(ws, frame) != nil {
			return
		}
	}
}

func status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(strings.TrimPrefix(r.RequestURI, "/status/"))
	if err != nil || code < 100 || code > 999 {
		code = http.StatusBadRequest
	}
	w.WriteHeader(code)
}

// echo describes the request; ?delay=1s postpones the answer, X-Echo-Set-Header sets headers in it.
func (s *Server) echo(w http.ResponseWriter, r *http.Request) {
	s.logs.Add(fmt.Sprintf("Echoing back request made to %s to client (%s)", r.RequestURI, r.RemoteAddr))
	if err := pause(r, "delay"); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	body, err := json.Marshal(Answer{
		Path:      r.RequestURI,
		Host:      r.Host,
		Method:    r.Method,
		Proto:     r.Proto,
		Headers:   r.Header,
		HTTPPort:  strconv.Itoa(s.cfg.HTTPPort),
		Namespace: s.cfg.Namespace,
		Service:   s.cfg.Service,
		Pod:       s.cfg.Pod,
		TLS:       describeTLS(r.TLS),
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	setHeaders(w.Header(), r.Header.Values("X-Echo-Set-Header"))
	for name, value := range s.cfg.Header {
		w.Header().Set(name, value)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

// setHeaders adds "name:value" pairs; names keep their spelling, repeated names are joined.
func setHeaders(header http.Header, lists []string) {
	for _, list := range lists {
		for pair := range strings.SplitSeq(list, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(pair), ":")
			if name == "" {
				continue
			}
			if old := header[name]; len(old) > 0 {
				value = old[0] + "," + strings.TrimSpace(value)
			}
			header[name] = []string{value}
		}
	}
}

func pause(r *http.Request, parameter string) error {
	value := r.FormValue(parameter)
	if value == "" {
		return nil
	}
	d, err := time.ParseDuration(value)
	if err != nil {
		return err
	}
	time.Sleep(d)
	return nil
}
