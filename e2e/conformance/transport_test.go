package conformance

import (
	"net"
	"net/url"
	"time"

	xwebsocket "golang.org/x/net/websocket"
	"sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/roundtripper"

	"gatehouse.dev/e2e/gatehouse"
)

// roundTripper sends the suite's requests to the ports that Envoy really binds, while the requests
// keep the address that the Gateway's status shows: redirects and Host headers are made from it.
type roundTripper struct {
	ports gatehouse.PortMap
	next  *roundtripper.DefaultRoundTripper
}

func newRoundTripper(ports gatehouse.PortMap, timeouts config.TimeoutConfig) *roundTripper {
	return &roundTripper{ports: ports, next: &roundtripper.DefaultRoundTripper{
		TimeoutConfig: timeouts, CustomDialContext: ports.DialContext,
	}}
}

// CaptureRoundTrip implements roundtripper.RoundTripper.
func (r *roundTripper) CaptureRoundTrip(request roundtripper.Request) (*roundtripper.CapturedRequest, *roundtripper.CapturedResponse, error) {
	switch request.Protocol {
	case roundtripper.H2Protocol, roundtripper.H2CPriorKnowledgeProtocol:
		// The suite's HTTP/2 transports do not use the custom dialer.
		if request.Host == "" {
			request.Host = request.URL.Host
		}
		request.URL.Host = r.ports.Address(withPort(request.URL))
	}
	return r.next.CaptureRoundTrip(request)
}

func withPort(u url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "ws": "80"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// webSocketDialer does the same for WebSockets.
type webSocketDialer struct{ ports gatehouse.PortMap }

// Dial implements the suite's websocket.Dialer.
func (d *webSocketDialer) Dial(target, protocol, origin string) (*xwebsocket.Conn, error) {
	configuration, err := xwebsocket.NewConfig(target, origin)
	if err != nil {
		return nil, err
	}
	if protocol != "" {
		configuration.Protocol = []string{protocol}
	}
	conn, err := net.DialTimeout("tcp", d.ports.Address(withPort(*configuration.Location)), 10*time.Second)
	if err != nil {
		return nil, err
	}
	ws, err := xwebsocket.NewClient(configuration, conn)
	if err != nil {
		_ = conn.Close()
	}
	return ws, err
}
