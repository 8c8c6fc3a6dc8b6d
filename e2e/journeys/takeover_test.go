//go:build cluster

package journeys

import (
	"context"
	"errors"
	"strings"
	"testing"

	"gatehouse.dev/e2e/bed"
)

// The objects of the documents for Envoy Gateway, to the letter: class, Gateway and route of one, parameters of another.
const (
	documentsClass = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: GatewayClass
metadata:
  name: eg
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
`
	documentsGateway = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: Gateway
metadata:
  name: eg
spec:
  gatewayClassName: eg
  listeners:
    - name: http
      protocol: HTTP
      port: 80
`
	documentsRoute = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata:
  name: backend
spec:
  parentRefs:
    - name: eg
  hostnames:
    - "www.example.com"
  rules:
    - backendRefs:
        - group: ""
          kind: Service
          name: backend
          port: 3000
          weight: 1
      matches:
        - path:
            type: PathPrefix
            value: /
`
	documentsParameters = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyProxy
metadata:
  name: custom-proxy-config
  namespace: envoy-gateway
spec:
  provider:
    type: Kubernetes
    kubernetes:
      envoyService:
        externalTrafficPolicy: Cluster
      envoyHpa:
        minReplicas: 2
        maxReplicas: 9
        metrics:
          - resource:
              name: cpu
              target:
                averageUtilization: 60
                type: Utilization
            type: Resource
          - resource:
              name: memory
              target:
                type: AverageValue
                averageValue: 500Mi
            type: Resource
      envoyDeployment:
        pod:
          affinity:
            nodeAffinity:
              requiredDuringSchedulingIgnoredDuringExecution:
                nodeSelectorTerms:
                  - matchExpressions:
                      - key: node-role.kubernetes.io/worker
                        operator: In
                        values:
                          - worker
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata:
  name: eg
  namespace: envoy-gateway
spec:
  controllerName: gateway.envoyproxy.io/gatewayclass-controller
  parametersRef:
    group: gateway.envoyproxy.io
    kind: EnvoyProxy
    name: custom-proxy-config
    namespace: envoy-gateway
`
)

// What Envoy Gateway wrote of the route, before it was stopped.
const leftStatus = `[{"op": "add", "path": "/status", "value": {"parents": [{
  "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "eg"}, "controllerName": "gateway.envoyproxy.io/gatewayclass-controller",
  "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "Route is accepted", "observedGeneration": 1,
    "lastTransitionTime": "2026-01-02T03:04:05Z"}]}]}}]`

// Objects that were written for Envoy Gateway are served when the configuration says so, and not a moment earlier.
func TestTakeoverOfEnvoyGatewaysClasses(t *testing.T) {
	j := &journey{Bed: bed.New(t), namespace: "takeover"}
	j.Scratch(t, j.namespace)
	j.Scratch(t, "envoy-gateway")
	j.Kubectl(t, "delete", "gatewayclass", "eg", "--ignore-not-found")
	j.serve(t)
	j.put(t, "{apiVersion: v1, kind: Service, metadata: {name: backend}, spec: {selector: {app: backend}, ports: [{port: 3000}]}}")
	j.put(t, documentsClass+"---"+documentsGateway+"---"+documentsRoute)
	j.kubectl(t, "patch", "httproute", "backend", "--subresource=status", "--type=json", "--patch="+leftStatus)

	// A class of ours, served beside, shows that the controller is up to date.
	j.put(t, strings.NewReplacer("name: eg", "name: own", "gateway.envoyproxy.io/", "gatehouse.dev/").Replace(documentsClass)+
		"---"+strings.NewReplacer("name: eg", "name: own", "gatewayClassName: eg", "gatewayClassName: own").Replace(documentsGateway))
	j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "own"), "www.example.com", "/")
	if got := j.kubectl(t, "get", "deployments", "--selector=gateway.networking.k8s.io/gateway-name=eg", "--output=name"); got != "" {
		t.Errorf("another controller's Gateway was given %s", got)
	}
	if got := j.kubectl(t, "get", "gatewayclass", "eg", `--output=jsonpath={.status.conditions[?(@.type=="Accepted")].status}`); got == "True" {
		t.Error("another controller's class was accepted")
	}

	j.Install(t, "--wait", "--timeout=5m", takeover)
	address := j.Programmed(t, j.namespace, "eg")
	j.AwaitEcho(t, address, "www.example.com", "/get")
	// The entry that was left would say that the route is accepted by a controller that is gone.
	controllers := j.kubectl(t, "get", "httproute", "backend", "--output=jsonpath={.status.parents[*].controllerName}")
	if controllers != "gatehouse.dev/gatewayclass-controller" {
		t.Errorf("the route's status is by %s", controllers)
	}
	if generation := j.kubectl(t, "get", "gateway", "eg", "--output=jsonpath={.metadata.generation}"); generation != "1" {
		t.Errorf("the Gateway is of generation %s", generation)
	}

	t.Run("with parameters", func(t *testing.T) {
		const labels = "gateway.networking.k8s.io/gateway-name=eg"
		j.Kubectl(t, "label", "node", "--all", "node-role.kubernetes.io/worker=worker", "--overwrite")
		j.Put(t, documentsParameters)
		j.proxies(t, labels, 2)
		if got := j.kubectl(t, "get", "horizontalpodautoscaler", "--selector="+labels, "--output=jsonpath={.items[*].spec.minReplicas} {.items[*].spec.maxReplicas}"); got != "2 9" {
			t.Errorf("the autoscaler's limits are %s", got)
		}
		j.condition(t, "gatewayclass/eg", ".status.conditions", "Accepted", "True", "Accepted")
		if given := j.Programmed(t, j.namespace, "eg"); given != address {
			t.Errorf("the address was %s and is %s", address, given)
		}
		j.AwaitEcho(t, address, "www.example.com", "/get")
	})
	t.Run("and back", func(t *testing.T) {
		j.Install(t, "--wait", "--timeout=5m")
		j.Await(t, "the end of what was taken over", func(ctx context.Context) error {
			left, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get", "deployment,service,horizontalpodautoscaler",
				"--selector=gateway.networking.k8s.io/gateway-name=eg", "--output=name")
			if err == nil {
				var entries string
				entries, err = j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get", "httproute", "backend", "--output=jsonpath={.status.parents}")
				left += strings.Trim(entries, "[]")
			}
			if err == nil && left != "" {
				err = errors.New(left)
			}
			return err
		})
		j.AwaitStatus(t, 404, j.Programmed(t, j.namespace, "own"), "www.example.com", "/")
	})
	j.Kubectl(t, "delete", "gatewayclass", "eg", "own")
}
