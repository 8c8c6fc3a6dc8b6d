//! Objects as users write them.

use serde_json::{Value, json};

pub(super) const GATEWAY_API: &str = "/apis/gateway.networking.k8s.io/v1";

pub(super) fn routes(namespace: &str) -> String {
    format!("{GATEWAY_API}/namespaces/{namespace}/httproutes")
}

pub(super) fn gateways(namespace: &str) -> String {
    format!("{GATEWAY_API}/namespaces/{namespace}/gateways")
}

pub(super) fn secrets(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets")
}

pub(super) fn route(name: &str, hostname: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": name, "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
        "spec": {
            "parentRefs": [{ "name": "eg" }], "hostnames": [hostname],
            "rules": [{ "backendRefs": [{ "name": "backend", "port": 3000 }] }],
        },
    })
}

pub(super) fn gateway(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": name },
        "spec": {
            "gatewayClassName": "eg",
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        },
    })
}

pub(super) fn secret(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": { "key": value },
    })
}

pub(super) fn backend_crd() -> Value {
    envoy_gateway_crd("Backend", "backends")
}

/// A CRD that takes anything, standing in for one of Envoy Gateway's.
pub(super) fn envoy_gateway_crd(kind: &str, plural: &str) -> Value {
    let anything = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.gateway.envoyproxy.io") },
        "spec": {
            "group": "gateway.envoyproxy.io", "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural,
                "singular": kind.to_ascii_lowercase(),
            },
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": anything, "status": anything } } },
            }],
        },
    })
}
