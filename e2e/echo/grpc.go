package echo

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
)

// GRPCServer is the image's personality for gRPC: it describes each call in its answer.
type GRPCServer struct {
	cfg     Config
	servers []*grpc.Server
	logs    Log
}

// StartGRPC listens on the configuration's HTTP port, with a certificate also on HTTPSPort, and serves; it returns when
// the sockets are open.
func StartGRPC(cfg Config) (*GRPCServer, error) {
	s := &GRPCServer{cfg: cfg}
	if err := s.serve(cfg.HTTPPort); err != nil {
		return nil, err
	}
	if cfg.Certificate != nil {
		if err := s.serve(HTTPSPort, grpc.Creds(credentials.NewServerTLSFromCert(cfg.Certificate))); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

func (s *GRPCServer) serve(port int, options ...grpc.ServerOption) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.cfg.IP, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("backend %s: %w", s.cfg.Pod, err)
	}
	server := grpc.NewServer(options...)
	pb.RegisterGrpcEchoServer(server, &calls{cfg: s.cfg, logs: &s.logs})
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(listener) }()
	return nil
}

// Close ends all connections at once, as a killed container does.
func (s *GRPCServer) Close() {
	for _, server := range s.servers {
		server.Stop()
	}
}

// Logs returns the lines logged at or after since.
func (s *GRPCServer) Logs(since time.Time) []string { return s.logs.Since(since) }

// calls answers Echo and EchoTwo; EchoThree is not implemented, as in the image.
type calls struct {
	pb.UnimplementedGrpcEchoServer
	cfg  Config
	logs *Log
}

func (c *calls) Echo(ctx context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	return c.describe(ctx, pb.GrpcEcho_Echo_FullMethodName)
}

func (c *calls) EchoTwo(ctx context.Context, _ *pb.EchoRequest) (*pb.EchoResponse, error) {
	return c.describe(ctx, pb.GrpcEcho_EchoTwo_FullMethodName)
}

func (c *calls) describe(ctx context.Context, method string) (*pb.EchoResponse, error) {
	protection := describePeer(ctx)
	connection := "plaintext"
	if protection != nil {
		connection = "TLS"
	}
	c.logs.Add("Received over " + connection + ": " + method)
	assertions := &pb.Assertions{
		FullyQualifiedMethod: method,
		Context: &pb.Context{
			Namespace: c.cfg.Namespace, ServiceName: c.cfg.Service, Pod: c.cfg.Pod,
		},
		TlsAssertions: protection,
	}
	received, _ := metadata.FromIncomingContext(ctx)
	for name, values := range received {
		for _, value := range values {
			if name == ":authority" {
				assertions.Authority = value
			}
			assertions.Headers = append(assertions.Headers, &pb.Header{Key: name, Value: value})
		}
	}
	return &pb.EchoResponse{Assertions: assertions}, nil
}

// describePeer is nil for a call over an open connection.
func describePeer(ctx context.Context) *pb.TLSAssertions {
	caller, _ := peer.FromContext(ctx)
	if caller == nil {
		return nil
	}
	info, ok := caller.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil
	}
	described := describeTLS(&info.State)
	return &pb.TLSAssertions{
		Version: described.Version, PeerCertificates: described.PeerCertificates, ServerName: described.ServerName,
		NegotiatedProtocol: described.NegotiatedProtocol, CipherSuite: described.CipherSuite,
	}
}
