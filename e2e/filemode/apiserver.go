package filemode

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// apiServer serves the store over the Kubernetes REST protocol, as far as the conformance suite
// speaks it: it makes new clients from its rest.Config for every test, so a fake client given to it
// once would not last. There are no watches, no server-side apply and no authentication.
type apiServer struct {
	resources []*resource
	store     *Store
	// podLogs returns a pod's log lines since a time.
	podLogs func(namespace, name string, since time.Time) ([]string, error)
}

// request is a parsed resource path.
type request struct {
	key
	version     string
	subresource string
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if answer := a.discover(r.URL.Path); answer != nil {
		respond(w, http.StatusOK, answer)
		return
	}
	req, ok := a.parse(r.URL.Path)
	if !ok {
		fail(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, metav1GroupResource, r.URL.Path, "no such path", 0, false))
		return
	}
	if req.subresource == "log" {
		a.serveLog(w, r, req)
		return
	}
	code, answer, err := a.serve(r, req)
	if err != nil {
		fail(w, err)
		return
	}
	respond(w, code, answer)
}

func (a *apiServer) serve(r *http.Request, req request) (int, any, error) {
	switch r.Method {
	case http.MethodGet:
		if req.name == "" {
			list, err := a.list(r, req)
			return http.StatusOK, list, err
		}
		object, err := a.store.get(req.key)
		return http.StatusOK, inVersion(req, object), err
	case http.MethodPost:
		object, err := readObject(r)
		if err != nil {
			return 0, nil, err
		}
		req.name = object.GetName()
		object, err = a.store.create(req.key, req.version, object)
		return http.StatusCreated, inVersion(req, object), err
	case http.MethodPut, http.MethodPatch:
		object, err := a.change(r, req)
		return http.StatusOK, inVersion(req, object), err
	case http.MethodDelete:
		err := a.store.delete(req.key)
		return http.StatusOK, &metav1.Status{
			TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
		}, err
	}
	return 0, nil, apierrors.NewMethodNotSupported(req.resource.groupResource(), r.Method)
}

func (a *apiServer) change(r *http.Request, req request) (*unstructured.Unstructured, error) {
	body, err := readObject(r)
	if err != nil {
		return nil, err
	}
	if r.Method == http.MethodPatch && !strings.HasPrefix(r.Header.Get("Content-Type"), "application/merge-patch+json") {
		return nil, apierrors.NewBadRequest("only merge patches are understood, not " + r.Header.Get("Content-Type"))
	}
	status := req.subresource == "status"
	return a.store.update(req.key, req.version, status, func(old *unstructured.Unstructured) (*unstructured.Unstructured, error) {
		if r.Method == http.MethodPut {
			return body, nil
		}
		return &unstructured.Unstructured{Object: mergePatch(old.Object, body.Object)}, nil
	})
}

func (a *apiServer) list(r *http.Request, req request) (any, error) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	items := []any{}
	for _, object := range a.store.list(req.resource, req.namespace, selector) {
		items = append(items, inVersion(req, object).Object)
	}
	return map[string]any{
		"apiVersion": req.resource.apiVersion(req.version),
		"kind":       req.resource.kind + "List",
		"metadata":   map[string]any{"resourceVersion": "0"},
		"items":      items,
	}, nil
}

func (a *apiServer) serveLog(w http.ResponseWriter, r *http.Request, req request) {
	since, _ := time.Parse(time.RFC3339, r.URL.Query().Get("sinceTime"))
	lines, err := a.podLogs(req.namespace, req.name, since)
	if err != nil {
		fail(w, apierrors.NewNotFound(req.resource.groupResource(), req.name))
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	for _, line := range lines {
		fmt.Fprintln(w, line)
	}
}

// inVersion is the object as a reader of a version sees it: the CRDs' conversion strategy is None.
func inVersion(req request, object *unstructured.Unstructured) *unstructured.Unstructured {
	if object != nil {
		object.SetAPIVersion(req.resource.apiVersion(req.version))
	}
	return object
}

func readObject(r *http.Request) (*unstructured.Unstructured, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	object := map[string]any{}
	// This decoder keeps whole numbers as int64, which the schema machinery needs.
	if err := utiljson.Unmarshal(body, &object); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return &unstructured.Unstructured{Object: object}, nil
}

// mergePatch applies an RFC 7396 patch.
func mergePatch(target, patch map[string]any) map[string]any {
	if target == nil {
		target = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(target, name)
		case map[string]any:
			old, _ := target[name].(map[string]any)
			target[name] = mergePatch(old, value)
		default:
			target[name] = value
		}
	}
	return target
}

func respond(w http.ResponseWriter, code int, answer any) {
	if object, ok := answer.(*unstructured.Unstructured); ok {
		answer = object.Object
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer)
}

func fail(w http.ResponseWriter, err error) {
	status := metav1.Status{Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError, Message: err.Error()}
	if api, ok := err.(apierrors.APIStatus); ok {
		status = api.Status()
	}
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	status.Status = metav1.StatusFailure
	respond(w, int(status.Code), status)
}
