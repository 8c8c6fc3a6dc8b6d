//go:build cluster

package journeys

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"gatehouse.dev/e2e/bed"
)

const walkthroughRoute = `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: HTTPRoute
metadata: {name: backend}
spec:
  parentRefs: [{name: eg}]
  hostnames: [www.example.com]
  rules:
    - backendRefs: [{group: "", kind: Service, name: svc-backend, port: 3000, weight: 1}]
      matches: [{path: {type: PathPrefix, value: /backend}}]
    - backendRefs: [{group: "", kind: Service, name: svc-backend2, port: 3000, weight: 1}]
      matches: [{path: {type: PathPrefix, value: /backend2}}]
`

// The walkthrough with MetalLB: each step builds on those before.
func TestS002Walkthrough(t *testing.T) {
	const host = "www.example.com"
	j := begin(t, "s002")
	address := ""
	steps := []struct {
		name string
		do   func(t *testing.T)
	}{
		{"S002-01 definitions", func(t *testing.T) {
			found := j.kubectl(t, "get", "crd", "--output=name")
			for _, kind := range []string{"gatewayclasses", "gateways", "grpcroutes", "httproutes", "referencegrants",
				"tcproutes", "tlsroutes", "udproutes"} {
				if !strings.Contains(found, "/"+kind+".gateway.networking.k8s.io") {
					t.Errorf("%s are not defined", kind)
				}
			}
		}},
		{"S002-02 controller", func(t *testing.T) {
			pods := j.Kubectl(t, "--namespace="+bed.Namespace, "get", "pods", "--selector=app.kubernetes.io/name=gatehouse", "--no-headers")
			for line := range strings.Lines(pods) {
				if fields := strings.Fields(line); len(fields) < 3 || fields[1] != "1/1" || fields[2] != "Running" {
					t.Errorf("kubectl get pods: %s", line)
				}
			}
		}},
		{"S002-03 class", func(t *testing.T) {
			j.kubectl(t, "delete", "gatewayclass", "eg")
			started := time.Now()
			j.put(t, class("eg"))
			j.kubectl(t, "wait", "--for=condition=Accepted", "gatewayclass/eg", "--timeout=30s")
			t.Logf("accepted after %v", time.Since(started))
			got := j.columns(t, "gatewayclass", "eg")
			if got[""] != "NAME CONTROLLER ACCEPTED AGE" || got["ACCEPTED"] != "True" {
				t.Errorf("kubectl get gatewayclass: %v", got)
			}
		}},
		{"S002-04 gateway", func(t *testing.T) {
			j.serve(t)
			j.put(t, gateway("eg"))
			address = j.Programmed(t, j.namespace, "eg")
			got := j.columns(t, "gateway", "eg")
			if got[""] != "NAME CLASS ADDRESS PROGRAMMED AGE" || got["CLASS"] != "eg" || got["ADDRESS"] != address || got["PROGRAMMED"] != "True" {
				t.Errorf("kubectl get gateway: %v", got)
			}
			if !netip.MustParsePrefix("172.30.20.0/24").Contains(netip.MustParseAddr(address)) {
				t.Errorf("%s is no address of MetalLB's", address)
			}
		}},
		{"S002-05 proxies", func(t *testing.T) {
			const labels = "--selector=gateway.networking.k8s.io/gateway-name=eg"
			pod := j.columns(t, "pods", labels)
			if pod["READY"] != "2/2" || pod["STATUS"] != "Running" || !strings.HasPrefix(pod["NAME"], "eg-eg-") {
				t.Errorf("kubectl get pods: %v", pod)
			}
			service := j.columns(t, "services", labels)
			if service["NAME"] != "eg-eg" || service["TYPE"] != "LoadBalancer" || service["EXTERNAL-IP"] != address ||
				!regexp.MustCompile(`^80:3\d{4}/TCP$`).MatchString(service["PORT(S)"]) {
				t.Errorf("kubectl get services: %v", service)
			}
		}},
		{"S002-06 route", func(t *testing.T) {
			j.put(t, walkthroughRoute)
			j.condition(t, "httproute/backend", parents, "Accepted", "True", "Accepted")
			j.condition(t, "httproute/backend", parents, "ResolvedRefs", "True", "ResolvedRefs")
			if got := j.columns(t, "httproute", "backend"); got["HOSTNAMES"] != `["www.example.com"]` {
				t.Errorf("kubectl get httproute: %v", got)
			}
		}},
		{"S002-07 answers", func(t *testing.T) {
			j.AwaitStatus(t, 200, address, host, "/backend2")
			for path, prefix := range map[string]string{"/backend": "backend-", "/backend2": "backend2-"} {
				got := j.echo(t, address, host, path)
				if !strings.HasPrefix(got.Pod, prefix) || got.Path != path || got.Host != host || got.Namespace != j.namespace {
					t.Errorf("%s: %+v", path, got)
				}
				if proto := got.Headers["X-Forwarded-Proto"]; len(proto) != 1 || proto[0] != "http" {
					t.Errorf("X-Forwarded-Proto is %v", proto)
				}
			}
		}},
		{"S002-08 prefixes end at segments", func(t *testing.T) {
			if got := j.echo(t, address, host, "/backend/x"); !strings.HasPrefix(got.Pod, "backend-") {
				t.Errorf("/backend/x was answered by %s", got.Pod)
			}
			if got := j.status(t, address, host, "/backendx"); got != 404 {
				t.Errorf("/backendx: %d", got)
			}
		}},
		{"S002-09 client address", func(t *testing.T) {
			forwarded := j.echo(t, address, host, "/backend").Headers["X-Forwarded-For"]
			if len(forwarded) != 1 {
				t.Fatalf("X-Forwarded-For is %v", forwarded)
			}
			// This client is the node: its own address, not one that a Service put in its place.
			if _, err := netip.ParseAddr(forwarded[0]); err != nil {
				t.Errorf("X-Forwarded-For: %v", err)
			}
		}},
		{"S002-10 request ids", func(t *testing.T) {
			seen := map[string]bool{}
			for range 20 {
				id := strings.Join(j.echo(t, address, host, "/backend").Headers["X-Request-Id"], ",")
				if !regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(id) || seen[id] {
					t.Errorf("X-Request-Id %q, after %v", id, seen)
				}
				seen[id] = true
			}
		}},
		{"S002-11 host, path, filter, backend", func(t *testing.T) {
			j.put(t, strings.Replace(walkthroughRoute, "matches: [{path: {type: PathPrefix, value: /backend}}]",
				"matches: [{path: {type: PathPrefix, value: /backend}}]\n"+
					"      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {add: [{name: x-step, value: four}]}}]", 1))
			j.Await(t, "the filter", func(context.Context) error {
				if got := j.echo(t, address, host, "/backend").Headers["X-Step"]; len(got) != 1 || got[0] != "four" {
					return fmt.Errorf("X-Step: %v", got)
				}
				return nil
			})
			if got := j.status(t, address, "other.example.com", "/backend"); got != 404 {
				t.Errorf("another host: %d", got)
			}
		}},
		{"S002-12 nothing is left", func(t *testing.T) {
			j.kubectl(t, "delete", "httproute", "backend")
			j.AwaitStatus(t, 404, address, host, "/backend")
			j.kubectl(t, "delete", "gateway", "eg")
			started := time.Now()
			j.Await(t, "the end of all that belonged to the Gateway", func(ctx context.Context) error {
				left, err := j.Cluster.Kubectl(ctx, "--namespace="+j.namespace, "get",
					"all,configmap,secret,serviceaccount,horizontalpodautoscaler,poddisruptionbudget", "--output=name",
					"--selector=gateway.networking.k8s.io/gateway-name=eg")
				if err == nil && strings.TrimSpace(left) != "" {
					err = errors.New(left)
				}
				return err
			})
			t.Logf("gone after %.1f s", time.Since(started).Seconds())
		}},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.do) {
			break
		}
	}
}
