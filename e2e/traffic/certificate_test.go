package traffic

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"gatehouse.dev/e2e/manifest"
)

const (
	tlsPort    = listenerPort + 2
	secretName = "certificate"
)

var httpsListener = fmt.Sprintf(
	`{name: https, port: %d, protocol: HTTPS, tls: {certificateRefs: [{name: %s}]}}`, tlsPort, secretName)

func (w *world) tlsListener() string { return fmt.Sprintf("%s:%d", w.address, tlsPort) }

// rotatedCertificate replaces the Secret; each client makes a new handshake for every request.
func rotatedCertificate(t *testing.T, w *world) *scenario {
	secrets := []manifest.Object{certificate(t, "first"), certificate(t, "second")}
	route := manifest.Route("certificate", gatewayName, tlsHost, `{backendRefs: [{name: a, port: 80}]}`)
	return &scenario{
		name:    "certificate",
		address: w.tlsListener(),
		fresh:   true,
		request: func(int) request { return request{host: tlsHost, path: "/", tls: true} },
		objects: func(version int) ([]manifest.Object, []manifest.Object) {
			return []manifest.Object{secrets[version%2], route}, nil
		},
		check: func(version int, r *reply) error {
			wanted := []string{"first", "second"}[version%2]
			if r.err == nil && r.certificate != wanted {
				return fmt.Errorf("want certificate %q, got %q", wanted, r.certificate)
			}
			return all(r, code(200), from("a"))
		},
	}
}

// overTLS has clients that keep their HTTPS connections while certificates and listeners change.
func overTLS(w *world) *scenario {
	s := alternatingBackends("over-tls")
	s.address = w.tlsListener()
	s.request = func(int) request { return request{host: host("over-tls"), path: "/", tls: true} }
	return s
}

// certificate is the Secret with a self-signed certificate of a common name.
func certificate(t *testing.T, commonName string) manifest.Object {
	t.Helper()
	return certificateFor(t, commonName, 0)
}

// certificateFor restricts what the certificate's key may be used for, unless usage is zero.
func certificateFor(t *testing.T, commonName string, usage x509.KeyUsage) manifest.Object {
	t.Helper()
	return tlsSecret(t, "default", secretName, commonName, usage)
}

// tlsSecret is a Secret with a self-signed certificate of a common name.
func tlsSecret(t *testing.T, namespace, name, commonName string, usage x509.KeyUsage) manifest.Object {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: commonName},
		DNSNames:  []string{tlsHost, host("good")},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: usage,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, bytes []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}))
	}
	return manifest.Parse(`
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {name: %s, namespace: %s}
data: {tls.crt: %s, tls.key: %s}`, name, namespace, block("CERTIFICATE", public), block("PRIVATE KEY", encoded))
}
