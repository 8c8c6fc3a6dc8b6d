//! Routes of all kinds.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{API, HOSTS, NAMESPACES, POISON, backends, gateway_ref, meta, some_of};

fn parent() -> impl Strategy<Value = Value> {
    let set =
        (weighted(0.5, some_of(NAMESPACES)), some_of(&["set-0", "set-1"])).prop_map(|(namespace, name)| {
            let mut reference = json!({ "kind": "ListenerSet", "name": name });
            if let Some(namespace) = namespace {
                reference["namespace"] = json!(namespace);
            }
            reference
        });
    let section = weighted(0.3, some_of(&["l0", "l1", "l2"]));
    (prop_oneof![3 => gateway_ref(), 1 => set.boxed()], section, weighted(0.1, select(vec![80, 443])))
        .prop_map(|(mut parent, section, port)| {
            if let Some(section) = section {
                parent["sectionName"] = json!(section);
            }
            if let Some(port) = port {
                parent["port"] = json!(port);
            }
            parent
        })
}

pub(super) fn backend_ref() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        4 => (some_of(&["s-0", "s-1"]), select(vec![80, 80, 80, 81]))
            .prop_map(|(name, port)| json!({ "name": name, "port": port })),
        1 => some_of(&["be-0", "be-1"])
            .prop_map(|name| json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": name })),
        2 => backends::reference(),
    ];
    (kind, weighted(0.3, some_of(NAMESPACES)), weighted(0.5, 0..3u32)).prop_map(
        |(mut reference, namespace, weight)| {
            if let Some(namespace) = namespace {
                reference["namespace"] = json!(namespace);
            }
            if let Some(weight) = weight {
                reference["weight"] = json!(weight);
            }
            reference
        },
    )
}

fn filter() -> impl Strategy<Value = Value> {
    let set = |value: &str| {
        json!({ "type": "RequestHeaderModifier",
            "requestHeaderModifier": { "set": [{ "name": "x", "value": value }] } })
    };
    let mirror = backend_ref().prop_map(|mut reference| {
        if let Value::Object(fields) = &mut reference {
            fields.remove("weight");
        }
        json!({ "type": "RequestMirror", "requestMirror": { "backendRef": reference } })
    });
    prop_oneof![
        2 => Just(set("one")),
        2 => Just(set("two")),
        1 => Just(set("bad\nvalue")),
        2 => Just(set(POISON)),
        2 => Just(json!({ "type": "RequestRedirect", "requestRedirect": { "hostname": "to.example.com" } })),
        1 => Just(json!({ "type": "RequestRedirect", "requestRedirect": { "scheme": "https" } })),
        2 => mirror.boxed(),
        2 => external_auth().boxed(),
        1 => Just(json!({ "type": "ExtensionRef",
            "extensionRef": { "group": "g", "kind": "K", "name": "n" } })),
    ]
}

/// A filter of routes and of listeners.
pub(super) fn external_auth() -> impl Strategy<Value = Value> {
    let protocol = select(vec![
        json!({ "protocol": "HTTP", "http": { "path": "/check" } }),
        json!({ "protocol": "HTTP", "http": { "path": format!("/{POISON}") } }),
        json!({ "protocol": "GRPC", "grpc": {} }),
    ]);
    (backend_ref(), protocol).prop_map(|(mut reference, mut auth)| {
        if let Some(fields) = reference.as_object_mut() {
            fields.remove("weight");
        }
        auth["backendRef"] = reference;
        json!({ "type": "ExternalAuth", "externalAuth": auth })
    })
}

fn rule() -> BoxedStrategy<Value> {
    let path = select(vec![
        json!({ "type": "PathPrefix", "value": "/" }),
        json!({ "type": "PathPrefix", "value": "/a" }),
        json!({ "type": "Exact", "value": "/a" }),
        json!({ "type": "RegularExpression", "value": "/[a-z]+" }),
        json!({ "type": "RegularExpression", "value": "/((" }),
        json!({ "type": "Exact", "value": format!("/{POISON}") }),
    ]);
    let matched = (path, weighted(0.3, select(vec!["GET", "POST"]))).prop_map(|(path, method)| {
        let mut matched = json!({ "path": path });
        if let Some(method) = method {
            matched["method"] = json!(method);
        }
        matched
    });
    (
        proptest::collection::vec(matched, 0..3),
        weighted(0.3, filter()),
        proptest::collection::vec(backend_ref(), 1..3),
        weighted(0.1, Just(json!({ "request": "3s" }))),
    )
        .prop_map(|(matches, filter, backends, timeouts)| {
            let filters: Vec<Value> = filter.into_iter().collect();
            let mut rule = json!({ "matches": matches, "filters": filters, "backendRefs": backends });
            if let Some(timeouts) = timeouts {
                rule["timeouts"] = timeouts;
            }
            rule
        })
        .boxed()
}

pub(super) fn route() -> impl Strategy<Value = Value> {
    (
        meta(&["r-0", "r-1", "r-2"]),
        proptest::collection::vec(parent(), 1..3),
        proptest::collection::vec(select(HOSTS), 0..3),
        proptest::collection::vec(rule(), 1..3),
    )
        .prop_map(|(metadata, parents, hostnames, rules)| {
            json!({ "apiVersion": API, "kind": "HTTPRoute", "metadata": metadata,
                "spec": { "parentRefs": parents, "hostnames": hostnames, "rules": rules } })
        })
}

pub(super) fn grpc_route() -> impl Strategy<Value = Value> {
    let method = prop_oneof![
        Just(json!({})),
        Just(json!({ "method": { "service": "a.S", "method": "M" } })),
        Just(json!({ "method": { "service": "a.S" } })),
        Just(json!({ "method": { "type": "RegularExpression", "service": "a[.]S" } })),
    ];
    let rule = (proptest::collection::vec(method, 0..3), proptest::collection::vec(backend_ref(), 0..3))
        .prop_map(|(matches, backends)| json!({ "matches": matches, "backendRefs": backends }));
    (
        meta(&["r-0", "g-1"]),
        proptest::collection::vec(parent(), 1..3),
        proptest::collection::vec(select(HOSTS), 0..3),
        proptest::collection::vec(rule, 1..3),
    )
        .prop_map(|(metadata, parents, hostnames, rules)| {
            json!({ "apiVersion": API, "kind": "GRPCRoute", "metadata": metadata,
                "spec": { "parentRefs": parents, "hostnames": hostnames, "rules": rules } })
        })
}

/// A route of connections or datagrams.
pub(super) fn stream_route() -> impl Strategy<Value = Value> {
    (
        prop_oneof![3 => Just("TLSRoute"), 1 => Just("TCPRoute"), 1 => Just("UDPRoute")],
        meta(&["r-0", "t-1", "t-2"]),
        proptest::collection::vec(parent(), 1..3),
        proptest::collection::vec(select(HOSTS), 1..3),
        proptest::collection::vec(backend_ref(), 1..4),
    )
        .prop_map(|(kind, metadata, parents, hostnames, backends)| {
            let mut spec = json!({ "parentRefs": parents, "rules": [{ "backendRefs": backends }] });
            if kind == "TLSRoute" {
                spec["hostnames"] = json!(hostnames);
            }
            json!({ "apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec })
        })
}
