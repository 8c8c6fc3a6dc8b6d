package filemode

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

// metav1GroupResource stands in errors about paths that name no resource.
var metav1GroupResource = schema.GroupResource{}

// parse takes a resource path apart: /api/v1 or /apis/GROUP/VERSION, then
// [/namespaces/NAMESPACE]/PLURAL[/NAME[/SUBRESOURCE]].
func (a *apiServer) parse(path string) (request, bool) {
	var req request
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := ""
	switch {
	case parts[0] == "api" && len(parts) > 2:
		req.version, parts = parts[1], parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		group, req.version, parts = parts[1], parts[2], parts[3:]
	default:
		return req, false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		req.namespace, parts = parts[1], parts[2:]
	}
	index := slices.IndexFunc(a.resources, func(r *resource) bool { return r.group == group && r.plural == parts[0] })
	if index < 0 {
		return req, false
	}
	req.resource = a.resources[index]
	if _, served := req.resource.schemas[req.version]; !served {
		return req, false
	}
	if len(parts) > 1 {
		req.name = parts[1]
	}
	if len(parts) > 2 {
		req.subresource = parts[2]
	}
	return req, true
}

// discover answers the discovery paths, nil for any other.
func (a *apiServer) discover(path string) any {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch {
	case path == "/version":
		return &version.Info{Major: "1", Minor: "36", GitVersion: "v1.36.0"}
	case path == "/api":
		return &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case path == "/apis":
		return a.groups()
	case parts[0] == "api" && len(parts) == 2:
		return a.groupVersion("", parts[1])
	case parts[0] == "apis" && len(parts) == 3:
		return a.groupVersion(parts[1], parts[2])
	}
	return nil
}

func (a *apiServer) groups() *metav1.APIGroupList {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	seen := map[string]bool{"": true}
	for _, r := range a.resources {
		if seen[r.group] {
			continue
		}
		seen[r.group] = true
		group := metav1.APIGroup{Name: r.group}
		for _, v := range versionsOf(a.resources, r.group) {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{
				GroupVersion: r.apiVersion(v), Version: v,
			})
		}
		group.PreferredVersion = group.Versions[0]
		list.Groups = append(list.Groups, group)
	}
	return list
}

func (a *apiServer) groupVersion(group, v string) *metav1.APIResourceList {
	list := &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: schema.GroupVersion{Group: group, Version: v}.String(),
	}
	for _, r := range a.resources {
		if _, served := r.schemas[v]; served && r.group == group {
			list.APIResources = append(list.APIResources, r.discovery()...)
		}
	}
	return list
}
