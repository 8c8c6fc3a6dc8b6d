package manifest

import (
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Object is a manifest as decoded YAML.
type Object = map[string]any

// Parse decodes one manifest, written with fmt verbs.
func Parse(format string, arguments ...any) Object {
	text := fmt.Sprintf(format, arguments...)
	var object Object
	if err := yaml.Unmarshal([]byte(text), &object); err != nil {
		panic(fmt.Sprintf("manifest in a test does not parse: %v\n%s", err, text))
	}
	return object
}

// Class is the GatewayClass of the tests.
func Class(name, controller string) Object {
	return Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: %s}
spec: {controllerName: %s}`, name, controller)
}

// Gateway has the listeners given as YAML flow items.
func Gateway(name, class, address string, listeners ...string) Object {
	object := Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %s, namespace: default}
spec: {gatewayClassName: %s, addresses: [{type: IPAddress, value: %s}]}`, name, class, address)
	object["spec"].(Object)["listeners"] = list(listeners)
	return object
}

// Route is an HTTPRoute with one hostname; its rules are given as YAML flow items.
func Route(name, gateway, hostname string, rules ...string) Object {
	object := Parse(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %s, namespace: default}
spec: {parentRefs: [{name: %s}], hostnames: [%q]}`, name, gateway, hostname)
	object["spec"].(Object)["rules"] = list(rules)
	return object
}

// Service has one port, 80, served by the pods' HTTP port.
func Service(name string) Object {
	return Parse(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default}
spec: {ports: [{name: http, port: 80, targetPort: 3000, protocol: TCP}]}`, name)
}

// Slice lists the endpoints of a Service.
func Slice(service string, port int, addresses ...string) Object {
	object := Parse(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %s, namespace: default, labels: {kubernetes.io/service-name: %s}}
addressType: IPv4
ports: [{name: http, port: %d, protocol: TCP}]
endpoints: []`, service, service, port)
	endpoints := []any{}
	for _, address := range addresses {
		endpoints = append(endpoints, Parse(`{addresses: [%s], conditions: {ready: true, serving: true}}`, address))
	}
	object["endpoints"] = endpoints
	return object
}

func list(items []string) []any {
	out := make([]any, 0, len(items))
	for _, item := range items {
		out = append(out, Parse("%s", item))
	}
	return out
}

// All decodes the documents of a text, each after a line of three dashes.
func All(text string) []Object {
	var objects []Object
	for document := range strings.SplitSeq(text, "\n---\n") {
		objects = append(objects, Parse("%s", document))
	}
	return objects
}
