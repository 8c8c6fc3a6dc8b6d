//! XBackends, the pods that they select, and policies for backends.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{EXPERIMENTAL, meta, some_of};

const XBACKENDS: &[&str] = &["x-0", "x-1"];

pub(super) fn reference() -> impl Strategy<Value = Value> {
    some_of(XBACKENDS).prop_map(|name| json!({ "group": EXPERIMENTAL, "kind": "XBackend", "name": name }))
}

fn session() -> impl Strategy<Value = Value> {
    select(vec![
        json!({ "type": "Cookie" }),
        json!({ "type": "Cookie", "cookie": { "name": "stay" } }),
        json!({ "type": "Header", "header": { "name": "x-stay" } }),
    ])
}

pub(super) fn xbackend() -> impl Strategy<Value = Value> {
    let host = |name: &str| json!({ "type": "ExternalHostname", "externalHostname": { "hostname": name } });
    let pods =
        |labels: Value| json!({ "type": "EndpointSelector", "endpointSelector": { "matchLabels": labels } });
    let destination = select(vec![
        pods(json!({ "app": "one" })),
        pods(json!({ "app": "one" })),
        pods(json!({ "app": "two", "tier": "web" })),
        host("up.example.com"),
        host("localhost"),
    ]);
    let protocol = weighted(0.3, some_of(&["H2C", "HTTP", "HTTP2", "MCP", "TCP"]));
    (meta(XBACKENDS), destination, protocol, any::<bool>(), weighted(0.3, session())).prop_map(
        |(metadata, mut spec, protocol, tls, session)| {
            spec["port"] = json!({ "number": 8080 });
            if let Some(protocol) = protocol {
                spec["protocol"] = json!(protocol);
            }
            if tls {
                let validation = json!({ "wellKnownCACertificates": "System", "hostname": "up.example.com" });
                spec["tls"] = json!({ "mode": "ServerOnly", "validation": validation });
            }
            if let Some(session) = session {
                spec["sessionPersistence"] = session;
            }
            json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend", "metadata": metadata,
                "spec": spec })
        },
    )
}

pub(super) fn pod() -> impl Strategy<Value = Value> {
    let labels = select(vec![
        json!({ "app": "one" }),
        json!({ "app": "one", "tier": "web", "topology.kubernetes.io/zone": "zone-a" }),
        json!({ "app": "two", "tier": "web" }),
        json!({ "app": "two" }),
    ]);
    (meta(&["p-0", "p-1", "p-2"]), labels, 1..4u8, any::<bool>(), weighted(0.2, Just("2026-01-01T00:00:00Z")))
        .prop_map(|(mut metadata, labels, host, ready, ends)| {
            metadata["labels"] = labels;
            if let Some(ends) = ends {
                metadata["deletionTimestamp"] = json!(ends);
            }
            let ready = if ready { "True" } else { "False" };
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                "status": { "podIP": format!("10.0.0.{host}"), "conditions": [{ "type": "Ready", "status": ready }] } })
        })
}

pub(super) fn traffic_policy() -> impl Strategy<Value = Value> {
    let target = prop_oneof![
        some_of(&["s-0", "s-1"]).prop_map(|name| json!({ "group": "", "kind": "Service", "name": name })),
        reference(),
        Just(json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": "be-0" })),
    ];
    let constraint = weighted(0.7, select(vec![json!({}), json!({ "budget": { "percent": 5 } })]));
    let targets = proptest::collection::vec(target, 1..3);
    (meta(&["bt-0", "bt-1"]), targets, constraint, weighted(0.4, session())).prop_map(
        |(metadata, targets, constraint, session)| {
            let mut spec = json!({ "targetRefs": targets });
            if let Some(constraint) = constraint {
                spec["retryConstraint"] = constraint;
            }
            if let Some(session) = session {
                spec["sessionPersistence"] = session;
            }
            json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy",
                "metadata": metadata, "spec": spec })
        },
    )
}
