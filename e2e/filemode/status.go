package filemode

import (
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"gatehouse.dev/e2e/gatehouse"
)

// statusWriter merges the statuses that gatehouse reports into the store, as its Kubernetes half
// does through the API server: entries and conditions of others stay.
type statusWriter struct {
	store      *Store
	resources  []*resource
	controller string
	// reported are the objects of the last document; one that falls out has lost its status.
	reported map[key]bool
}

func (w *statusWriter) apply(document *gatehouse.Document) error {
	reported := map[key]bool{}
	for i := range document.Objects {
		entry := &document.Objects[i]
		k, version, ok := w.keyOf(entry)
		if !ok {
			continue
		}
		reported[k] = true
		if err := w.merge(k, version, entry.Status); err != nil {
			return err
		}
	}
	for k := range w.reported {
		if !reported[k] {
			if err := w.merge(k, "v1", map[string]any{}); err != nil {
				return err
			}
		}
	}
	w.reported = reported
	return nil
}

func (w *statusWriter) keyOf(entry *gatehouse.Object) (key, string, bool) {
	gv, err := schema.ParseGroupVersion(entry.APIVersion)
	if err != nil {
		return key{}, "", false
	}
	index := slices.IndexFunc(w.resources, func(r *resource) bool {
		return r.group == gv.Group && r.kind == entry.Kind && r.status
	})
	if index < 0 {
		return key{}, "", false
	}
	return key{w.resources[index], entry.Metadata.Namespace, entry.Metadata.Name}, gv.Version, true
}

func (w *statusWriter) merge(k key, version string, status map[string]any) error {
	if _, served := k.resource.schemas[version]; !served {
		version = versionsOf([]*resource{k.resource}, k.resource.group)[0]
	}
	_, err := w.store.update(k, version, true, func(object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		old, _ := object.Object["status"].(map[string]any)
		// An object of which nobody says anything has no status, not an empty one: that would be invalid.
		if next := mergeStatus(old, status, w.controller); len(next) > 0 {
			object.Object["status"] = next
		} else {
			delete(object.Object, "status")
		}
		return object, nil
	})
	// The object may be gone while gatehouse has not seen it yet.
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// mergeStatus is the new status with what others own in the old one.
func mergeStatus(old, reported map[string]any, controller string) map[string]any {
	next := map[string]any{}
	for field, value := range reported {
		next[field] = value
	}
	for _, field := range []string{"parents", "ancestors"} {
		foreign := keep(old[field], func(entry map[string]any) bool { return entry["controllerName"] != controller })
		if _, ok := reported[field]; ok || len(foreign) > 0 || old[field] != nil {
			next[field] = append(foreign, entries(reported[field])...)
		}
	}
	if foreign := keep(old["conditions"], foreignCondition); len(foreign) > 0 {
		next["conditions"] = append(entries(reported["conditions"]), foreign...)
	}
	if reflect.DeepEqual(next, old) {
		return old
	}
	return next
}

// foreignCondition is true for a condition type with a domain other than ours.
func foreignCondition(condition map[string]any) bool {
	kind, _ := condition["type"].(string)
	domain, _, qualified := strings.Cut(kind, "/")
	return qualified && domain != "gatehouse.dev"
}

func entries(list any) []any {
	out, _ := list.([]any)
	return slices.Clone(out)
}

func keep(list any, wanted func(map[string]any) bool) []any {
	out := []any{}
	for _, e := range entries(list) {
		if entry, ok := e.(map[string]any); ok && wanted(entry) {
			out = append(out, e)
		}
	}
	return out
}
