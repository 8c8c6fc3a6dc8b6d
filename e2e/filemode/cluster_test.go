package filemode

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"gatehouse.dev/e2e/gatehouse"
	"gatehouse.dev/e2e/manifest"
)

const ours = gatehouse.ControllerName

func TestMain(m *testing.M) { Main(m) }

type fixture struct {
	*Cluster
	client client.Client
	dir    string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	crds, err := LoadCRDs("experimental")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cluster := New(t, Options{Dir: manifest.Dir(dir), CRDs: crds, Controller: ours})
	if err := gatewayv1.Install(clientscheme.Scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(cluster.RestConfig(), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Cluster: cluster, client: c, dir: dir}
}

func (f *fixture) file(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func gateway() *gatewayv1.Gateway {
	return &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "gw"},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: "c",
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
}

func route() *gatewayv1.HTTPRoute {
	return &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "r"},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "gw"}}},
			Rules:           []gatewayv1.HTTPRouteRule{{}},
		},
	}
}

func TestWritesAreDefaultedAndMirroredToFiles(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	r := route()
	if err := f.client.Create(ctx, r); err != nil {
		t.Fatal(err)
	}
	if ref := r.Spec.ParentRefs[0]; ref.Kind == nil || *ref.Kind != "Gateway" {
		t.Errorf("parentRef.kind is not defaulted: %+v", ref)
	}
	if r.Generation != 1 || r.UID == "" || r.CreationTimestamp.IsZero() {
		t.Errorf("metadata is incomplete: %+v", r.ObjectMeta)
	}
	file := f.file(t, "httproute.ns.r.yaml")
	if file["kind"] != "HTTPRoute" || file["apiVersion"] != "gateway.networking.k8s.io/v1" {
		t.Errorf("unexpected file: %v", file)
	}
	if err := f.client.Delete(ctx, r); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "httproute.ns.r.yaml")); !os.IsNotExist(err) {
		t.Errorf("the file outlives its object: %v", err)
	}
}

func TestGenerationFollowsTheSpecOnly(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	r := route()
	if err := f.client.Create(ctx, r); err != nil {
		t.Fatal(err)
	}
	changed := r.DeepCopy()
	changed.Labels = map[string]string{"a": "b"}
	if err := f.client.Patch(ctx, changed, client.MergeFrom(r)); err != nil {
		t.Fatal(err)
	}
	if changed.Generation != 1 {
		t.Errorf("a label made generation %d", changed.Generation)
	}
	changed.Spec.Hostnames = []gatewayv1.Hostname{"a.example.com"}
	if err := f.client.Update(ctx, changed); err != nil {
		t.Fatal(err)
	}
	if changed.Generation != 2 {
		t.Errorf("a new hostname left generation %d", changed.Generation)
	}
	if err := f.client.Update(ctx, r); !apierrors.IsConflict(err) {
		t.Errorf("an update of a stale object is not refused: %v", err)
	}
}

func TestInvalidObjectsAreRefused(t *testing.T) {
	f := newFixture(t)
	for name, spoil := range map[string]func(*gatewayv1.Gateway){
		"schema: port out of range": func(g *gatewayv1.Gateway) { g.Spec.Listeners[0].Port = 70000 },
		"rule: tls on HTTP":         func(g *gatewayv1.Gateway) { g.Spec.Listeners[0].TLS = &gatewayv1.ListenerTLSConfig{} },
		"list map: name twice": func(g *gatewayv1.Gateway) {
			g.Spec.Listeners = append(g.Spec.Listeners, g.Spec.Listeners[0])
		},
	} {
		g := gateway()
		spoil(g)
		if err := f.client.Create(context.Background(), g); !apierrors.IsInvalid(err) {
			t.Errorf("%s: accepted or refused for another reason: %v", name, err)
		}
	}
}

func TestGatewayGetsAnAddressInItsFileOnly(t *testing.T) {
	f := newFixture(t)
	g := gateway()
	if err := f.client.Create(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	if len(g.Spec.Addresses) != 0 {
		t.Errorf("the object has addresses: %v", g.Spec.Addresses)
	}
	spec := f.file(t, "gateway.ns.gw.yaml")["spec"].(map[string]any)
	if got := fmt.Sprint(spec["addresses"]); got != "[map[type:IPAddress value:127.20.0.1]]" {
		t.Errorf("addresses in the file: %s", got)
	}
}

func TestStatusMergeKeepsForeignEntries(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	r := route()
	if err := f.client.Create(ctx, r); err != nil {
		t.Fatal(err)
	}
	r.Status.Parents = []gatewayv1.RouteParentStatus{{
		ParentRef: gatewayv1.ParentReference{Name: "other"}, ControllerName: "example.com/other",
		Conditions: []metav1.Condition{{
			Type: "Accepted", Status: "True", Reason: "Accepted", LastTransitionTime: metav1.Now(),
		}},
	}}
	if err := f.client.Status().Update(ctx, r); err != nil {
		t.Fatal(err)
	}
	var document gatehouse.Document
	if err := json.Unmarshal([]byte(`{"objects":[{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute",
		"metadata":{"namespace":"ns","name":"r","generation":1},"status":{"parents":[{"parentRef":{"name":"gw"},
		"controllerName":"`+ours+`","conditions":[{"type":"Accepted","status":"True","reason":"Accepted","message":"",
		"observedGeneration":1,"lastTransitionTime":"2026-01-01T00:00:00Z"}]}]}}]}`), &document); err != nil {
		t.Fatal(err)
	}
	parents := func() []gatewayv1.RouteParentStatus {
		t.Helper()
		if err := f.client.Get(ctx, client.ObjectKeyFromObject(r), r); err != nil {
			t.Fatal(err)
		}
		return r.Status.Parents
	}
	if err := f.statuses.apply(&document); err != nil {
		t.Fatal(err)
	}
	if got := parents(); len(got) != 2 || got[1].ControllerName != ours {
		t.Fatalf("parents after the merge: %+v", got)
	}
	if r.Generation != 1 {
		t.Errorf("a status made generation %d", r.Generation)
	}
	if err := f.statuses.apply(&gatehouse.Document{}); err != nil {
		t.Fatal(err)
	}
	if got := parents(); len(got) != 1 || got[0].ControllerName == ours {
		t.Errorf("parents after gatehouse dropped the route: %+v", got)
	}
}

func TestDeploymentsBecomeBackendsWithEndpoints(t *testing.T) {
	f := newFixture(t)
	ctx := context.Background()
	selector := map[string]string{"app": "a"}
	replicas := int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: selector},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: selector}},
		},
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"},
		Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{
			{Name: "web", Port: 80, TargetPort: intstr.FromInt32(3000)},
		}},
	}
	for _, object := range []client.Object{deployment, service} {
		if err := f.client.Create(ctx, object); err != nil {
			t.Fatal(err)
		}
	}
	slice := &discoveryv1.EndpointSlice{}
	eventually(t, "two endpoints", func() bool {
		err := f.client.Get(ctx, types.NamespacedName{Namespace: "ns", Name: "s-slice"}, slice)
		return err == nil && len(slice.Endpoints) == 2
	})
	if port := slice.Ports[0]; *port.Port != 3000 || *port.Name != "web" {
		t.Errorf("port of the slice: %+v", port)
	}
	response, err := http.Get(fmt.Sprintf("http://%s:3000/hello", slice.Endpoints[0].Addresses[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	clientset := kubernetes.NewForConfigOrDie(f.RestConfig())
	logs, err := clientset.CoreV1().Pods("ns").GetLogs("a-pod-0", &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil || len(logs) == 0 {
		t.Errorf("no log of the request: %q, %v", logs, err)
	}
	if err := f.client.Delete(ctx, deployment); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no endpoints", func() bool {
		err := f.client.Get(ctx, types.NamespacedName{Namespace: "ns", Name: "s-slice"}, slice)
		return err == nil && len(slice.Endpoints) == 0
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if condition() {
			return
		}
	}
	t.Fatalf("not within 5 s: %s", what)
}
