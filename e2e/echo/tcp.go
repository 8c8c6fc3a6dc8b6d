package echo

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/tcpserver"
)

// TCPServer is the image's personality for routes of connections: it greets, and answers lines.
type TCPServer struct {
	cfg       Config
	logs      Log
	listeners []net.Listener

	mu     sync.Mutex
	closed bool
	open   map[net.Conn]bool
}

// StartTCP listens on the configuration's HTTP port, with a certificate also on HTTPSPort, and serves; it returns when
// the sockets are open.
func StartTCP(cfg Config) (*TCPServer, error) {
	s := &TCPServer{cfg: cfg, open: map[net.Conn]bool{}}
	if err := s.listen(cfg.HTTPPort, nil); err != nil {
		return nil, err
	}
	if cfg.Certificate != nil {
		if err := s.listen(HTTPSPort, &tls.Config{Certificates: []tls.Certificate{*cfg.Certificate}}); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *TCPServer) listen(port int, security *tls.Config) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cfg.IP, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("backend %s: %w", s.cfg.Pod, err)
	}
	if security != nil {
		listener = tls.NewListener(listener, security)
	}
	s.listeners = append(s.listeners, listener)
	go s.accept(listener)
	return nil
}

func (s *TCPServer) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		if !s.note(conn) {
			_ = conn.Close()
			return
		}
		go func() {
			s.converse(conn)
			s.forget(conn)
		}()
	}
}

// note keeps an open connection, so that Close can end it, and tells whether it is not too late for that.
func (s *TCPServer) note(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.open[conn] = true
	}
	return !s.closed
}

func (s *TCPServer) forget(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
	_ = conn.Close()
}

func (s *TCPServer) converse(conn net.Conn) {
	described, err := s.describe(conn)
	if err != nil {
		s.logs.Add("TLS Handshake failed: " + err.Error())
		return
	}
	if _, err := fmt.Fprint(conn, tcpserver.WelcomeMessage); err != nil {
		return
	}
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		switch lines.Text() {
		case "TEST":
			_ = json.NewEncoder(conn).Encode(described)
		case "IS_TLS":
			fmt.Fprintln(conn, described.IsTLS)
		case "PING":
			fmt.Fprintln(conn, "PONG")
		}
	}
}

// describe shakes hands where the connection is protected.
func (s *TCPServer) describe(conn net.Conn) (*tcpserver.TCPAssertions, error) {
	described := &tcpserver.TCPAssertions{Context: tcpserver.Context{
		Namespace: s.cfg.Namespace, Service: s.cfg.Service, Pod: s.cfg.Pod,
		TCPPort: strconv.Itoa(s.cfg.HTTPPort), TLSPort: strconv.Itoa(HTTPSPort),
	}}
	protected, ok := conn.(*tls.Conn)
	if !ok {
		return described, nil
	}
	if err := protected.Handshake(); err != nil {
		return nil, err
	}
	state := protected.ConnectionState()
	described.IsTLS, described.TLSAssertion = true, &tcpserver.TLSAssertions{
		Version:            tls.VersionName(state.Version),
		ServerName:         state.ServerName,
		NegotiatedProtocol: state.NegotiatedProtocol,
		Curves:             state.CurveID.String(),
		CipherSuite:        tls.CipherSuiteName(state.CipherSuite),
	}
	return described, nil
}

// Close ends all connections at once, as a killed container does.
func (s *TCPServer) Close() {
	for _, listener := range s.listeners {
		_ = listener.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Close()
	}
}

// Logs returns the lines logged at or after since.
func (s *TCPServer) Logs(since time.Time) []string { return s.logs.Since(since) }
