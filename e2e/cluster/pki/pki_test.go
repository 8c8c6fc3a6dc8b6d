package pki

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
)

func TestIssuedCertificateIsTrustedForItsNamesOnly(t *testing.T) {
	authority, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("system:node:node", []string{"system:nodes"}, "node", "172.30.0.1")
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.X509KeyPair(pair.Public, pair.Private)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Public)
	for name, trusted := range map[string]bool{"node": true, "172.30.0.1": true, "172.30.0.2": false, "other": false} {
		_, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name})
		if (err == nil) != trusted {
			t.Errorf("%s: trusted should be %v, verification says %v", name, trusted, err)
		}
	}
	if got := loaded.Leaf.Subject.Organization; len(got) != 1 || got[0] != "system:nodes" {
		t.Errorf("the groups are %v", got)
	}
}
