//go:build cluster

package journeys

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/echo"
)

// One Gateway with both modes on one port, as the article explains them, and a backend that speaks TLS itself.
const bothModes = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: modes}
spec:
  gatewayClassName: eg
  listeners:
    - name: terminate
      hostname: terminate.example.com
      port: 443
      protocol: HTTPS
      tls: {mode: Terminate, certificateRefs: [{name: gateway}]}
    - name: passthrough
      hostname: passthrough.example.com
      port: 443
      protocol: TLS
      tls: {mode: Passthrough}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: passthrough}
spec:
  parentRefs: [{name: modes, sectionName: passthrough}]
  hostnames: [passthrough.example.com]
  rules: [{backendRefs: [{name: secure, port: 443}]}]
---
apiVersion: v1
kind: Service
metadata: {name: secure}
spec: {selector: {app: secure}, ports: [{port: 443, targetPort: 8443}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: secure}
spec:
  selector: {matchLabels: {app: secure}}
  template:
    metadata: {labels: {app: secure}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: secure
          image: registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0
          env:
            - {name: TLS_SERVER_CERT, value: /tls/tls.crt}
            - {name: TLS_SERVER_PRIVKEY, value: /tls/tls.key}
            - {name: POD_NAME, value: secure}
          volumeMounts: [{name: tls, mountPath: /tls, readOnly: true}]
      volumes: [{name: tls, secret: {secretName: backend}}]
`

// Where TLS ends is told by the certificate that a client sees: the Gateway's own, or the backend's.
func TestS004_06TerminateAndPassthrough(t *testing.T) {
	j := begin(t, "s004-tls")
	j.serve(t)
	for name, host := range map[string]string{"gateway": "terminate.example.com", "backend": "passthrough.example.com"} {
		certificate, key := keyPair(t, host)
		j.kubectl(t, "create", "secret", "tls", name, "--cert="+certificate, "--key="+key)
	}
	j.put(t, bothModes+route("terminate", "modes", "terminate", "terminate.example.com"))
	j.Rolled(t, j.namespace, "secure")
	address := j.Programmed(t, j.namespace, "modes")
	for host, pod := range map[string]string{"terminate.example.com": "backend-", "passthrough.example.com": "secure"} {
		j.Await(t, host, func(ctx context.Context) error {
			conn, err := j.DialContext(ctx, "tcp", address+":443")
			if err != nil {
				return err
			}
			return asks(conn, host, pod)
		})
	}
	j.condition(t, "tlsroute/passthrough", parents, "Accepted", "True", "Accepted")
}

// asks wants the certificate of a host, and behind it an answer of a pod.
func asks(conn net.Conn, host, pod string) error {
	defer conn.Close()
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: host})
	if err := secure.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(secure, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	if names := secure.ConnectionState().PeerCertificates[0].DNSNames; len(names) != 1 || names[0] != host {
		return fmt.Errorf("the certificate is of %v", names)
	}
	response, err := http.ReadResponse(bufio.NewReader(secure), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var answer echo.Answer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || !strings.HasPrefix(answer.Pod, pod) {
		return fmt.Errorf("%s by pod %q, %v", response.Status, answer.Pod, err)
	}
	return nil
}
