package filemode

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// Labels of an EndpointSlice that name its Service and its writer.
const (
	serviceNameLabel = "kubernetes.io/service-name"
	managedByLabel   = "endpointslice.kubernetes.io/managed-by"
	managedBy        = "endpointslice-controller.k8s.io"
)

// publish writes the EndpointSlice of a Service with a selector; one without is its user's affair.
func (w *workloads) publish(service *unstructured.Unstructured) {
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	if len(selector) == 0 {
		return
	}
	k := key{w.endpointSlices, service.GetNamespace(), service.GetName() + "-slice"}
	content := map[string]any{
		"addressType": "IPv4",
		"endpoints":   w.endpoints(service.GetNamespace(), labels.SelectorFromSet(selector)),
		"ports":       slicePorts(service),
	}
	_, err := w.store.update(k, "v1", false, func(old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		for field, value := range content {
			old.Object[field] = value
		}
		return old, nil
	})
	if apierrors.IsNotFound(err) {
		object := &unstructured.Unstructured{Object: content}
		object.SetName(k.name)
		object.SetLabels(map[string]string{serviceNameLabel: service.GetName(), managedByLabel: managedBy})
		_, err = w.store.create(k, "v1", object)
	}
	if err != nil {
		w.fail(fmt.Errorf("%s: %w", k, err))
	}
}

func (w *workloads) endpoints(namespace string, selector labels.Selector) []any {
	endpoints := []any{}
	for _, pod := range w.store.list(w.pods, namespace, selector) {
		ip, _, _ := unstructured.NestedString(pod.Object, "status", "podIP")
		if ip == "" {
			continue
		}
		endpoints = append(endpoints, map[string]any{
			"addresses":  []any{ip},
			"conditions": map[string]any{"ready": true, "serving": true, "terminating": false},
			"nodeName":   "host",
			"targetRef": map[string]any{
				"kind": "Pod", "name": pod.GetName(), "namespace": namespace, "uid": string(pod.GetUID()),
			},
		})
	}
	return endpoints
}

// slicePorts are the Service's ports with the numbers that the pods listen on. Named target ports
// do not occur in the suite's manifests: their pods declare no port names.
func slicePorts(service *unstructured.Unstructured) []any {
	ports, _, _ := unstructured.NestedSlice(service.Object, "spec", "ports")
	out := []any{}
	for _, p := range ports {
		port, _ := p.(map[string]any)
		name, _ := port["name"].(string)
		entry := map[string]any{"name": name, "port": port["targetPort"], "protocol": port["protocol"]}
		if appProtocol, ok := port["appProtocol"]; ok {
			entry["appProtocol"] = appProtocol
		}
		out = append(out, entry)
	}
	return out
}

// sweepSlices removes the slices that were published for Services that are gone.
func (w *workloads) sweepSlices() {
	selector := labels.SelectorFromSet(labels.Set{managedByLabel: managedBy})
	for _, slice := range w.store.list(w.endpointSlices, "", selector) {
		service := key{w.services, slice.GetNamespace(), slice.GetLabels()[serviceNameLabel]}
		if _, err := w.store.get(service); apierrors.IsNotFound(err) {
			_ = w.store.delete(key{w.endpointSlices, slice.GetNamespace(), slice.GetName()})
		}
	}
}
