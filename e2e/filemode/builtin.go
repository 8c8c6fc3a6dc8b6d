package filemode

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// completeBuiltin sets the few defaults of built-in kinds that somebody here reads.
func completeBuiltin(r *resource, object *unstructured.Unstructured) {
	switch r.kind {
	case "Namespace":
		// The well-known label lets selectors name a namespace.
		labels := object.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["kubernetes.io/metadata.name"] = object.GetName()
		object.SetLabels(labels)
	case "Deployment":
		setDefault(object, int64(1), "spec", "replicas")
	case "Service":
		completeService(object)
	}
}

func completeService(object *unstructured.Unstructured) {
	setDefault(object, "ClusterIP", "spec", "type")
	ports, _, _ := unstructured.NestedSlice(object.Object, "spec", "ports")
	for _, entry := range ports {
		port, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		if _, ok := port["protocol"]; !ok {
			port["protocol"] = "TCP"
		}
		if _, ok := port["targetPort"]; !ok {
			port["targetPort"] = port["port"]
		}
	}
	if len(ports) > 0 {
		_ = unstructured.SetNestedSlice(object.Object, ports, "spec", "ports")
	}
}

func setDefault(object *unstructured.Unstructured, value any, path ...string) {
	if _, found, _ := unstructured.NestedFieldNoCopy(object.Object, path...); !found {
		_ = unstructured.SetNestedField(object.Object, value, path...)
	}
}
