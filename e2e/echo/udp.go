package echo

import (
	"encoding/json"
	"fmt"
	"net"
	"time"

	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/udpechoserver"
)

// UDPPort is where the image answers datagrams.
const UDPPort = 8080

// UDPServer is the image's personality for UDPRoutes: it answers each datagram with one that describes it.
type UDPServer struct {
	cfg  Config
	logs Log
	conn *net.UDPConn
}

// StartUDP listens on UDPPort and serves; it returns when the socket is open.
func StartUDP(cfg Config) (*UDPServer, error) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(cfg.IP), Port: UDPPort})
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", cfg.Pod, err)
	}
	s := &UDPServer{cfg: cfg, conn: conn}
	go s.answer()
	return s, nil
}

func (s *UDPServer) answer() {
	buffer := make([]byte, 64*1024)
	for {
		n, from, err := s.conn.ReadFromUDP(buffer)
		if err != nil {
			return
		}
		s.logs.Add(fmt.Sprintf("Received UDP %s from %s", buffer[:n], from))
		answer, err := json.Marshal(udpechoserver.EchoResponse{
			Request: string(buffer[:n]),
			Context: udpechoserver.Context{Namespace: s.cfg.Namespace, Service: s.cfg.Service, Pod: s.cfg.Pod},
		})
		if err == nil {
			_, _ = s.conn.WriteToUDP(answer, from)
		}
	}
}

// Close stops listening.
func (s *UDPServer) Close() { _ = s.conn.Close() }

// Logs returns the lines logged at or after since.
func (s *UDPServer) Logs(since time.Time) []string { return s.logs.Since(since) }
