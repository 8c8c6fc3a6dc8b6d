package echo

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
)

// GRPCServer is the image's other personality: it describes each call in its answer.
type GRPCServer struct {
	server *grpc.Server
	logs   Log
}

// StartGRPC listens on the configuration's HTTP port and serves; it returns when the socket is open.
func StartGRPC(cfg Config) (*GRPCServer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.IP, strconv.Itoa(cfg.HTTPPort)))
	if err != nil {
		return nil, fmt.Errorf("backend %s: %w", cfg.Pod, err)
	}
	s := &GRPCServer{server: grpc.NewServer()}
	pb.RegisterGrpcEchoServer(s.server, &calls{cfg: cfg, logs: &s.logs})
	go func() { _ = s.server.Serve(listener) }()
	return s, nil
}

// Close ends all connections at once, as a killed container does.
func (s *GRPCServer) Close() { s.server.Stop() }

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
	c.logs.Add("Received over plaintext: " + method)
	assertions := &pb.Assertions{
		FullyQualifiedMethod: method,
		Context: &pb.Context{
			Namespace: c.cfg.Namespace, ServiceName: c.cfg.Service, Pod: c.cfg.Pod,
		},
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
