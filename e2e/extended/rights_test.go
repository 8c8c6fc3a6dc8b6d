//go:build cluster

package extended

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What is withdrawn ends within atOnce of the API server's answer.
const atOnce = time.Second

const withRights = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: rights}
spec:
  gatewayClassName: gatehouse
  listeners:
    - name: http
      protocol: HTTP
      port: 80
      allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {may: attach}}}}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: tenant}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: extended-tenant}]
  to: [{group: "", kind: Service}]
`

const tenantRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: tenant}
spec:
  hostnames: [tenant.example.com]
  parentRefs: [{name: rights, namespace: extended-rights}]
  rules: [{backendRefs: [{name: echo, namespace: extended-rights, port: 3000}]}]
`

// Access ends at once when a grant is deleted or a namespace loses its label, and whoever needs neither goes on.
func TestRightsEndWithTheirObjects(t *testing.T) {
	const tenant = "extended-tenant"
	w := begin(t, "extended-rights")
	w.Scratch(t, tenant)
	w.label(t, tenant, "attach")
	w.label(t, w.namespace, "attach")
	w.put(t, withRights+`
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: own}
spec:
  hostnames: [own.example.com]
  parentRefs: [{name: rights}]
  rules: [{backendRefs: [{name: echo, port: 3000}]}]
`)
	w.Put(t, tenantRoute, "--namespace="+tenant)
	address := w.Programmed(t, w.namespace, "rights")
	w.AwaitEcho(t, address, "tenant.example.com", "/")
	w.AwaitEcho(t, address, "own.example.com", "/")
	for range 3 {
		w.Kubectl(t, "--namespace="+w.namespace, "delete", "referencegrant", "tenant")
		w.mustEnd(t, "grant", address, http.StatusInternalServerError)
		w.put(t, withRights)
		w.AwaitEcho(t, address, "tenant.example.com", "/")
		w.label(t, tenant, "nothing")
		w.mustEnd(t, "label of the namespace", address, http.StatusNotFound)
		w.label(t, tenant, "attach")
		w.AwaitEcho(t, address, "tenant.example.com", "/")
	}
}

// mustEnd asks for the tenant until it is answered with this status, and then for as long again: nothing else may come back. The
// other route is asked beside it.
func (w *world) mustEnd(t *testing.T, what, address string, status int) {
	t.Helper()
	began, ended := time.Now(), time.Duration(0)
	for time.Since(began) < 2*atOnce {
		asked := time.Since(began)
		got := w.status(t, address, "tenant.example.com")
		if got == status && ended == 0 {
			ended = time.Since(began)
		}
		if got != status && (ended != 0 || asked > atOnce || got != http.StatusOK) {
			t.Fatalf("%s: status %d, asked %s after it was withdrawn", what, got, asked)
		}
		if own := w.status(t, address, "own.example.com"); own != http.StatusOK {
			t.Fatalf("the other route has status %d", own)
		}
	}
	t.Logf("%s: access ended %s after it was withdrawn", what, ended)
}

func (w *world) status(t *testing.T, address, host string) int {
	t.Helper()
	response, _, err := w.Get(t.Context(), address, host, "/")
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode
}

func (w *world) label(t *testing.T, namespace, may string) {
	t.Helper()
	patch := fmt.Sprintf(`{"metadata":{"labels":{"may":%q}}}`, may)
	_, err := w.Client.CoreV1().Namespaces().Patch(context.Background(), namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}
