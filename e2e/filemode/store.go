package filemode

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// key identifies an object across the versions of its kind.
type key struct {
	resource  *resource
	namespace string
	name      string
}

func (k key) String() string {
	return fmt.Sprintf("%s %s/%s", k.resource.kind, k.namespace, k.name)
}

// Store holds the objects as an API server would: it gives uid, generation, resourceVersion and
// creationTimestamp, and keeps status apart from the rest.
type Store struct {
	mu       sync.Mutex
	objects  map[key]*unstructured.Unstructured
	revision int64
	// observers are told of every change, in order, under the lock; they must not call back.
	observers []func(k key, object *unstructured.Unstructured)
}

func newStore() *Store {
	return &Store{objects: map[key]*unstructured.Unstructured{}}
}

func (s *Store) observe(f func(k key, object *unstructured.Unstructured)) {
	s.observers = append(s.observers, f)
}

// put stores an object under the next revision and tells the observers.
func (s *Store) put(k key, object *unstructured.Unstructured) *unstructured.Unstructured {
	s.revision++
	object.SetResourceVersion(strconv.FormatInt(s.revision, 10))
	s.objects[k] = object
	for _, observer := range s.observers {
		observer(k, object.DeepCopy())
	}
	return object.DeepCopy()
}

func (s *Store) get(k key) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object, ok := s.objects[k]
	if !ok {
		return nil, apierrors.NewNotFound(k.resource.groupResource(), k.name)
	}
	return object.DeepCopy(), nil
}

// list returns the objects of a kind, sorted; an empty namespace means all.
func (s *Store) list(r *resource, namespace string, selector labels.Selector) []*unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]*unstructured.Unstructured{}
	for k, object := range s.objects {
		if k.resource == r && (namespace == "" || k.namespace == namespace) && selector.Matches(labels.Set(object.GetLabels())) {
			found[k.namespace+"/"+k.name] = object.DeepCopy()
		}
	}
	out := make([]*unstructured.Unstructured, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[name])
	}
	return out
}

func (s *Store) create(k key, version string, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[k]; ok {
		return nil, apierrors.NewAlreadyExists(k.resource.groupResource(), k.name)
	}
	object = object.DeepCopy()
	if k.resource.status {
		unstructured.RemoveNestedField(object.Object, "status")
	}
	object.SetUID(newUID())
	object.SetGeneration(1)
	object.SetNamespace(k.namespace)
	_ = unstructured.SetNestedField(object.Object, time.Now().UTC().Format(time.RFC3339), "metadata", "creationTimestamp")
	if err := admit(k, version, object, nil); err != nil {
		return nil, err
	}
	return s.put(k, object), nil
}

// update changes an object by a function of its present state. With status set only its status is
// taken from the result, else everything but the status.
func (s *Store) update(k key, version string, status bool, change func(*unstructured.Unstructured) (*unstructured.Unstructured, error)) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.objects[k]
	if !ok {
		return nil, apierrors.NewNotFound(k.resource.groupResource(), k.name)
	}
	wanted, err := change(old.DeepCopy())
	if err != nil {
		return nil, err
	}
	if rv := wanted.GetResourceVersion(); rv != "" && rv != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(k.resource.groupResource(), k.name, fmt.Errorf("the object has been modified"))
	}
	next := combine(k.resource, old, wanted, status)
	// An API server does not write, and a watcher does not see, an update that changes nothing.
	if reflect.DeepEqual(old.Object, next.Object) {
		return old.DeepCopy(), nil
	}
	if err := admit(k, version, next, old); err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(desired(k.resource, old), desired(k.resource, next)) {
		next.SetGeneration(old.GetGeneration() + 1)
	}
	// The same once more: the defaults may have made up the difference.
	if reflect.DeepEqual(old.Object, next.Object) {
		return old.DeepCopy(), nil
	}
	return s.put(k, next), nil
}

func (s *Store) delete(k key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[k]; !ok {
		return apierrors.NewNotFound(k.resource.groupResource(), k.name)
	}
	doomed := []key{k}
	// A namespace takes its contents with it.
	if k.resource.kind == "Namespace" {
		for other := range s.objects {
			if other.namespace == k.name {
				doomed = append(doomed, other)
			}
		}
	}
	for _, d := range doomed {
		delete(s.objects, d)
		for _, observer := range s.observers {
			observer(d, nil)
		}
	}
	return nil
}

// combine takes the part of wanted that a writer may change and the rest from old.
func combine(r *resource, old, wanted *unstructured.Unstructured, status bool) *unstructured.Unstructured {
	from, to := wanted.DeepCopy(), old.DeepCopy()
	if !status {
		from, to = to, from
	}
	if r.status {
		// from now gives the status and to everything else, whichever was asked for.
		if value, ok := from.Object["status"]; ok {
			to.Object["status"] = value
		} else {
			delete(to.Object, "status")
		}
	}
	to.SetUID(old.GetUID())
	to.SetGeneration(old.GetGeneration())
	to.SetCreationTimestamp(old.GetCreationTimestamp())
	to.SetNamespace(old.GetNamespace())
	to.SetResourceVersion(old.GetResourceVersion())
	to.SetManagedFields(nil)
	return to
}

// desired is the part of an object whose change makes a new generation.
func desired(r *resource, object *unstructured.Unstructured) map[string]any {
	out := maps.Clone(object.Object)
	delete(out, "metadata")
	delete(out, "apiVersion")
	if r.status {
		delete(out, "status")
	}
	return out
}

// admit prunes, defaults and validates against the version that the writer used.
func admit(k key, version string, object, old *unstructured.Unstructured) error {
	object.SetAPIVersion(k.resource.apiVersion(version))
	object.SetKind(k.resource.kind)
	s := k.resource.schemas[version]
	if s == nil {
		completeBuiltin(k.resource, object)
		return nil
	}
	s.complete(object.Object)
	var oldObject map[string]any
	if old != nil {
		oldObject = old.Object
	}
	if errs := s.validate(object.Object, oldObject); len(errs) > 0 {
		return apierrors.NewInvalid(k.resource.groupKind(), k.name, errs)
	}
	return nil
}

func newUID() types.UID { return types.UID(uuid.NewString()) }
