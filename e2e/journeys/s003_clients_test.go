//go:build cluster

package journeys

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// Two load balancers stand in front, one behind the other: each adds who asked it. The proxy's access log tells whom it
// takes for the client.
const behindTwoProxies = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: ClientTrafficPolicy
metadata: {name: flex-gateway-client-policy}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: eg}]
  clientIPDetection: {xForwardedFor: {numTrustedHops: 2}}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata: {name: log}
spec:
  telemetry:
    accessLog:
      settings:
        - format: {type: Text, text: "%REQ(:PATH)% by %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n"}
          sinks: [{type: File, file: {path: /dev/stdout}}]
`

func TestS003_16ClientAddressBehindLoadBalancers(t *testing.T) {
	const host = "app.example.com"
	j := begin(t, "s003-clients")
	j.serve(t)
	j.put(t, behindTwoProxies+"---"+strings.Replace(gateway("eg"), "gatewayClassName: eg",
		"gatewayClassName: eg\n  infrastructure: {parametersRef: {group: gateway.envoyproxy.io, kind: EnvoyProxy, name: log}}", 1)+
		route("app", "eg", "http", host))
	address := j.Programmed(t, j.namespace, "eg")
	j.condition(t, "clienttrafficpolicy/flex-gateway-client-policy", ".status.ancestors[0].conditions", "Accepted", "True", "Accepted")
	j.AwaitEcho(t, address, host, "/")
	for path, forwarded := range map[string]string{
		"/plain":  "203.0.113.7, 198.51.100.9",
		"/forged": "192.0.2.66, 203.0.113.7, 198.51.100.9", // a client that claims to be somebody else
	} {
		j.Await(t, path+" to be logged with the client's address", func(ctx context.Context) error {
			got := j.echo(t, address, host, path, "X-Forwarded-For", forwarded).Headers["X-Forwarded-For"]
			if len(got) != 1 || !strings.HasPrefix(got[0], forwarded) {
				return fmt.Errorf("the backend is told of %v", got)
			}
			logged, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "logs", "deployment/eg-eg", "--container=envoy", "--tail=5")
			if err == nil && !strings.Contains(logged, path+" by 203.0.113.7\n") {
				err = fmt.Errorf("the log says %s", logged)
			}
			return err
		})
	}
}
