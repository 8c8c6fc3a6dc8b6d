package gatehouse

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"time"
)

// PortMap maps the ports of listeners that need privileges to those that Envoy really binds.
type PortMap map[int]int

func (m PortMap) args() []string {
	var args []string
	for _, port := range slices.Sorted(maps.Keys(m)) {
		args = append(args, "--port-map", fmt.Sprintf("%d:%d", port, m[port]))
	}
	return args
}

// Address replaces the port of host:port by the one that is bound.
func (m PortMap) Address(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	number, _ := strconv.Atoi(port)
	if mapped, ok := m[number]; ok {
		port = strconv.Itoa(mapped)
	}
	return net.JoinHostPort(host, port)
}

// DialContext connects to where a listener's address is really served.
func (m PortMap) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return dialer.DialContext(ctx, network, m.Address(address))
}
