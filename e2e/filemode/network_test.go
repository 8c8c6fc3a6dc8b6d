package filemode

import (
	"net"
	"testing"
)

func TestOwnNetworkGivesLowPorts(t *testing.T) {
	if !OwnNetwork() {
		return // the tests of the suite say in their table what they leave out then
	}
	for _, address := range []string{"127.20.0.1:80", "127.20.0.1:443"} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = listener.Close()
	}
}
