package filemode

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"strconv"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"gatehouse.dev/e2e/echo"
)

// workloads plays kubelet and the Deployment and EndpointSlice controllers: it starts an echo
// backend for every pod that a Deployment asks for and lists them in EndpointSlices.
type workloads struct {
	store                                                            *Store
	deployments, pods, services, endpointSlices, secrets, configMaps *resource
	fail                                                             func(error)

	mu      sync.Mutex
	running map[key]*pod
	started int
}

// backend is what listens at a pod's address.
type backend interface {
	Logs(since time.Time) []string
	Close()
}

type pod struct {
	ip     string
	server backend
}

// logs returns what a pod has logged.
func (w *workloads) logs(namespace, name string, since time.Time) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.running[key{w.pods, namespace, name}]
	if !ok {
		return nil, fmt.Errorf("no pod %s/%s", namespace, name)
	}
	return p.server.Logs(since), nil
}

func (w *workloads) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.running {
		p.server.Close()
	}
}

// reconcile brings pods and slices in line with Deployments and Services.
func (w *workloads) reconcile() {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := map[key]bool{}
	for _, deployment := range w.store.list(w.deployments, "", labels.Everything()) {
		w.scale(deployment, wanted)
	}
	for k, p := range w.running {
		if !wanted[k] {
			p.server.Close()
			delete(w.running, k)
			_ = w.store.delete(k) // may be gone with its namespace
		}
	}
	for _, service := range w.store.list(w.services, "", labels.Everything()) {
		w.publish(service)
	}
	w.sweepSlices()
}

// scale starts the pods of a Deployment that do not run yet and notes which must run.
func (w *workloads) scale(deployment *unstructured.Unstructured, wanted map[key]bool) {
	replicas, _, _ := unstructured.NestedInt64(deployment.Object, "spec", "replicas")
	for i := range replicas {
		k := key{w.pods, deployment.GetNamespace(), podName(deployment.GetName(), i)}
		wanted[k] = true
		if w.running[k] == nil {
			if err := w.start(k, deployment); err != nil {
				w.fail(fmt.Errorf("start %s: %w", k, err))
			}
		}
	}
}

func (w *workloads) start(k key, deployment *unstructured.Unstructured) error {
	certificate, mounted, err := w.certificate(deployment)
	if err != nil || !mounted {
		return err
	}
	authorities, mounted := w.authorities(deployment)
	if !mounted {
		return nil
	}
	p := &pod{ip: loopback(podBlock, w.started)}
	w.started++
	if p.server, err = play(environment(deployment), echo.Config{
		IP: p.ip, HTTPPort: echo.HTTPPort, H2CPort: echo.H2CPort, Certificate: certificate, ClientCAs: authorities,
		Pod: k.name, Namespace: k.namespace,
	}); err != nil {
		return err
	}
	w.running[k] = p
	template, _, _ := unstructured.NestedMap(deployment.Object, "spec", "template")
	object := &unstructured.Unstructured{Object: map[string]any{"spec": template["spec"]}}
	object.SetName(k.name)
	podLabels, _, _ := unstructured.NestedStringMap(template, "metadata", "labels")
	object.SetLabels(podLabels)
	_ = unstructured.SetNestedField(object.Object, "host", "spec", "nodeName")
	if _, err := w.store.create(k, "v1", object); err != nil {
		return err
	}
	_, err = w.store.update(k, "v1", true, func(old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		old.Object["status"] = map[string]any{
			"phase":      "Running",
			"podIP":      p.ip,
			"podIPs":     []any{map[string]any{"ip": p.ip}},
			"conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
		}
		return old, nil
	})
	return err
}

// play starts what the image would be: its environment says which of its personalities, and what it calls itself.
func play(environment map[string]string, cfg echo.Config) (backend, error) {
	cfg.Service = environment["SERVICE_NAME"]
	if port, err := strconv.Atoi(environment["TCP_PORT"]); err == nil {
		cfg.HTTPPort = port
	}
	switch {
	case environment["GRPC_ECHO_SERVER"] != "":
		return echo.StartGRPC(cfg)
	case environment["TCP_ECHO_SERVER"] != "":
		return echo.StartTCP(cfg)
	case environment["UDP_ECHO_SERVER"] != "":
		return echo.StartUDP(cfg)
	}
	return echo.Start(cfg)
}

// certificate is the one that a Deployment's pods mount, nil when there is none; without its Secret they do not start.
func (w *workloads) certificate(deployment *unstructured.Unstructured) (pair *tls.Certificate, mounted bool, err error) {
	volumes, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "volumes")
	for _, v := range volumes {
		volume, _ := v.(map[string]any)
		name, found, _ := unstructured.NestedString(volume, "secret", "secretName")
		if !found {
			continue
		}
		secret, err := w.store.get(key{w.secrets, deployment.GetNamespace(), name})
		if err != nil {
			return nil, false, nil
		}
		part := func(name string) []byte {
			text, _, _ := unstructured.NestedString(secret.Object, "data", name)
			bytes, _ := base64.StdEncoding.DecodeString(text)
			return bytes
		}
		pair, err := tls.X509KeyPair(part("tls.crt"), part("tls.key"))
		if err != nil {
			return nil, false, fmt.Errorf("secret %s: %w", name, err)
		}
		return &pair, true, nil
	}
	return nil, true, nil
}

// authorities are those of a ConfigMap that a Deployment's pods mount, nil when there is none; without it they do not start.
func (w *workloads) authorities(deployment *unstructured.Unstructured) (pool *x509.CertPool, mounted bool) {
	volumes, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "volumes")
	for _, v := range volumes {
		volume, _ := v.(map[string]any)
		name, found, _ := unstructured.NestedString(volume, "configMap", "name")
		if !found {
			continue
		}
		object, err := w.store.get(key{w.configMaps, deployment.GetNamespace(), name})
		if err != nil {
			return nil, false
		}
		text, _, _ := unstructured.NestedString(object.Object, "data", "ca.crt")
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(text))
		return pool, true
	}
	return nil, true
}

// environment is that of a Deployment's containers as far as it says values; names of pods and namespaces are known anyhow.
func environment(deployment *unstructured.Unstructured) map[string]string {
	values := map[string]string{}
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		env, _ := container["env"].([]any)
		for _, e := range env {
			variable, _ := e.(map[string]any)
			if value, ok := variable["value"].(string); ok {
				values[fmt.Sprint(variable["name"])] = value
			}
		}
	}
	return values
}

// podName has the two suffixes that a Deployment's pods have; the suite takes them off to find the
// backend.
func podName(deployment string, index int64) string {
	return fmt.Sprintf("%s-pod-%d", deployment, index)
}
