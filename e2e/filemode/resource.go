package filemode

import (
	"fmt"
	"slices"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource is one kind that the API server serves.
type resource struct {
	group      string
	kind       string
	plural     string
	namespaced bool
	// status says that status is a sub-resource: writes of the object do not touch it.
	status bool
	// schemas maps each served version to its schema; built-in kinds have a nil schema.
	schemas map[string]*crdSchema
}

func builtin(group, kind, plural string, namespaced, status bool) *resource {
	return &resource{
		group: group, kind: kind, plural: plural, namespaced: namespaced, status: status,
		schemas: map[string]*crdSchema{"v1": nil},
	}
}

// builtins are the kinds that the conformance suite reads or writes beside Gateway API's own.
func builtins() []*resource {
	return []*resource{
		builtin("", "Namespace", "namespaces", false, true),
		builtin("", "Service", "services", true, true),
		builtin("", "Pod", "pods", true, true),
		builtin("", "Secret", "secrets", true, false),
		builtin("", "ConfigMap", "configmaps", true, false),
		builtin("", "ServiceAccount", "serviceaccounts", true, false),
		builtin("apps", "Deployment", "deployments", true, true),
		builtin("discovery.k8s.io", "EndpointSlice", "endpointslices", true, false),
		builtin("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", false, true),
	}
}

// fromCRD makes the resource of a CRD, with the schema of every served version.
func fromCRD(crd *apiextensionsv1.CustomResourceDefinition) (*resource, error) {
	r := &resource{
		group:      crd.Spec.Group,
		kind:       crd.Spec.Names.Kind,
		plural:     crd.Spec.Names.Plural,
		namespaced: crd.Spec.Scope == apiextensionsv1.NamespaceScoped,
		schemas:    map[string]*crdSchema{},
	}
	for _, version := range crd.Spec.Versions {
		if !version.Served {
			continue
		}
		s, err := newCRDSchema(version.Schema.OpenAPIV3Schema)
		if err != nil {
			return nil, fmt.Errorf("schema of %s %s: %w", r.kind, version.Name, err)
		}
		r.schemas[version.Name] = s
		r.status = r.status || version.Subresources != nil && version.Subresources.Status != nil
	}
	return r, nil
}

func (r *resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.group, Resource: r.plural}
}

func (r *resource) groupKind() schema.GroupKind {
	return schema.GroupKind{Group: r.group, Kind: r.kind}
}

func (r *resource) apiVersion(version string) string {
	return schema.GroupVersion{Group: r.group, Version: version}.String()
}

// discovery is the entry of /api/v1 or /apis/GROUP/VERSION.
func (r *resource) discovery() []metav1.APIResource {
	verbs := metav1.Verbs{"create", "delete", "get", "list", "patch", "update"}
	entries := []metav1.APIResource{{Name: r.plural, Kind: r.kind, Namespaced: r.namespaced, Verbs: verbs}}
	if r.status {
		entries = append(entries, metav1.APIResource{
			Name: r.plural + "/status", Kind: r.kind, Namespaced: r.namespaced,
			Verbs: metav1.Verbs{"get", "patch", "update"},
		})
	}
	return entries
}

// versionsOf lists the served versions of a group, newest first ("v1" before "v1beta1").
func versionsOf(resources []*resource, group string) []string {
	var versions []string
	for _, r := range resources {
		if r.group != group {
			continue
		}
		for version := range r.schemas {
			if !slices.Contains(versions, version) {
				versions = append(versions, version)
			}
		}
	}
	// "v1" < "v1alpha2" < "v1beta1" is good enough: v1 is the only one that must lead.
	slices.Sort(versions)
	return versions
}
