package filemode

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	pb "sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/tcpserver"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/udpechoserver"
)

// podWith starts a pod with a certificate and returns its address.
func (f *fixture) podWith(t *testing.T, environment ...corev1.EnvVar) string {
	t.Helper()
	ctx := context.Background()
	labels := map[string]string{"app": "b"}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "b"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers: []corev1.Container{{Name: "b", Env: environment}},
					Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
						Secret: &corev1.SecretVolumeSource{SecretName: "certificate"},
					}}},
				},
			},
		},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "certificate"}, Data: certificate(t)}
	if err := f.client.Create(ctx, secret); err != nil {
		t.Fatal(err)
	}
	if err := f.client.Create(ctx, deployment); err != nil {
		t.Fatal(err)
	}
	pods := &corev1.PodList{}
	eventually(t, "a pod with an address", func() bool {
		return f.client.List(ctx, pods) == nil && len(pods.Items) == 1 && pods.Items[0].Status.PodIP != ""
	})
	return pods.Items[0].Status.PodIP
}

func certificate(t *testing.T) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"abc.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
}

// clientTLS does not verify: which certificate it is, the suite looks at.
func clientTLS(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, ServerName: "abc.example.com", NextProtos: protocols}
}

// converse sends a line after the greeting and returns the answer.
func converse(t *testing.T, conn net.Conn, err error, line string) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	lines := bufio.NewReader(conn)
	if greeting, err := lines.ReadString('\n'); err != nil || greeting != tcpserver.WelcomeMessage {
		t.Fatalf("greeting %q, %v", greeting, err)
	}
	if _, err := conn.Write([]byte(line + "\n")); err != nil {
		t.Fatal(err)
	}
	answer, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}

func TestTCPBackendSpeaksOpenAndProtected(t *testing.T) {
	ip := newFixture(t).podWith(t, corev1.EnvVar{Name: "TCP_ECHO_SERVER", Value: "1"})
	conn, err := net.Dial("tcp", ip+":3000")
	if got := converse(t, conn, err, "IS_TLS"); got != "false" {
		t.Errorf("IS_TLS on the open port: %s", got)
	}
	conn, err = tls.Dial("tcp", ip+":8443", clientTLS())
	var described tcpserver.TCPAssertions
	if err := json.Unmarshal([]byte(converse(t, conn, err, "TEST")), &described); err != nil {
		t.Fatal(err)
	}
	if !described.IsTLS || described.TLSAssertion.ServerName != "abc.example.com" || described.Pod != "b-pod-0" || described.Namespace != "ns" {
		t.Errorf("described as %+v, %+v", described, described.TLSAssertion)
	}
}

func TestBackendListensOnlyWhereItsEnvironmentSays(t *testing.T) {
	ip := newFixture(t).podWith(t, corev1.EnvVar{Name: "TCP_ECHO_SERVER", Value: "1"}, corev1.EnvVar{Name: "TCP_PORT", Value: "3333"})
	conn, err := net.Dial("tcp", ip+":3333")
	if got := converse(t, conn, err, "PING"); got != "PONG" {
		t.Errorf("PING: %s", got)
	}
	if conn, err := net.Dial("tcp", ip+":3000"); err == nil {
		_ = conn.Close()
		t.Error("something listens on the usual port")
	}
}

func TestUDPBackendDescribesItself(t *testing.T) {
	ip := newFixture(t).podWith(t, corev1.EnvVar{Name: "UDP_ECHO_SERVER", Value: "1"}, corev1.EnvVar{Name: "SERVICE_NAME", Value: "s"})
	conn, err := net.Dial("udp", ip+":8080")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := conn.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	var described udpechoserver.EchoResponse
	if err := json.Unmarshal(answer[:n], &described); err != nil {
		t.Fatal(err)
	}
	if described.Request != "hello" || described.Service != "s" || described.Pod != "b-pod-0" || described.Namespace != "ns" {
		t.Errorf("described as %+v", described)
	}
}

func TestGRPCBackendSpeaksTLSWithItsCertificate(t *testing.T) {
	ip := newFixture(t).podWith(t, corev1.EnvVar{Name: "GRPC_ECHO_SERVER", Value: "1"})
	conn, err := grpc.NewClient(ip+":8443", grpc.WithTransportCredentials(credentials.NewTLS(clientTLS())))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := pb.NewGrpcEchoClient(conn).Echo(ctx, &pb.EchoRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.GetAssertions().GetTlsAssertions().GetServerName(); got != "abc.example.com" {
		t.Errorf("name asked for: %q", got)
	}
}
