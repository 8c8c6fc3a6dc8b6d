package conformance

import (
	"testing"
	"time"

	"sigs.k8s.io/gateway-api/conformance/utils/grpc"

	"gatehouse.dev/e2e/gatehouse"
)

// grpcClient calls at the ports that Envoy really binds. A connection has one authority: each call makes its own.
type grpcClient struct{ ports gatehouse.PortMap }

// SendRPC implements the suite's grpc.Client.
func (c *grpcClient) SendRPC(t *testing.T, address string, expected grpc.ExpectedResponse, timeout time.Duration) (*grpc.Response, error) {
	metadata := grpc.RequestMetadata{}
	if expected.RequestMetadata != nil {
		metadata = *expected.RequestMetadata
	}
	if metadata.Authority == "" {
		metadata.Authority = address
	}
	expected.RequestMetadata = &metadata
	client := &grpc.DefaultClient{}
	defer client.Close()
	return client.SendRPC(t, c.ports.Address(address), expected, timeout)
}

// Close implements the suite's grpc.Client.
func (c *grpcClient) Close() {}
