//! Services, Backends, XBackends, the pods behind them, and policies for backends.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::{API, ENVOY_GATEWAY, EXPERIMENTAL, SECRETS, meta, some_of};

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

pub(super) fn service() -> impl Strategy<Value = Value> {
    let spec = select(vec![
        json!({ "ports": [{ "name": "web", "port": 80 }, { "name": "dns", "port": 80, "protocol": "UDP" }] }),
        json!({ "ports": [{ "name": "web", "port": 80 }], "clusterIP": "10.96.0.1" }),
        json!({ "ports": [{ "name": "web", "port": 80, "appProtocol": "kubernetes.io/h2c" }] }),
        json!({ "ports": [{ "name": "web", "port": 80 }, { "name": "alt", "port": 81 }] }),
        json!({ "ports": [{ "name": "web", "port": 80 }], "type": "ExternalName",
            "externalName": "up.example.com" }),
    ]);
    (meta(&["s-0", "s-1"]), spec).prop_map(|(metadata, spec)| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec })
    })
}

pub(super) fn slice() -> impl Strategy<Value = Value> {
    let endpoint = (1..4u8, any::<bool>(), weighted(0.3, some_of(&["zone-a", "zone-b"]))).prop_map(
        |(host, ready, zone)| {
            let mut endpoint = json!({ "addresses": [format!("10.0.0.{host}")],
                "conditions": { "ready": ready, "serving": true, "terminating": !ready } });
            if let Some(zone) = zone {
                endpoint["zone"] = json!(zone);
            }
            endpoint
        },
    );
    (meta(&["slice-0", "slice-1"]), some_of(&["s-0", "s-1"]), proptest::collection::vec(endpoint, 0..3))
        .prop_map(|(mut metadata, service, endpoints)| {
            metadata["labels"] = json!({ "kubernetes.io/service-name": service });
            json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                "addressType": "IPv4", "ports": [{ "name": "web", "port": 8080 }, { "name": "dns", "port": 5353, "protocol": "UDP" }],
                "endpoints": endpoints })
        })
}

pub(super) fn backend() -> impl Strategy<Value = Value> {
    let endpoints = select(vec![
        json!([{ "ip": { "address": "127.0.0.1", "port": 3000 } }]),
        json!([{ "ip": { "address": "192.0.2.1", "port": 3000 } }]),
        json!([{ "fqdn": { "hostname": "up.example.com", "port": 80 } }]),
        json!([{ "unix": { "path": "/run/app.sock" } }]),
        json!([{ "ip": { "address": "nonsense", "port": 3000 } }]),
    ]);
    (meta(&["be-0", "be-1"]), endpoints).prop_map(|(metadata, endpoints)| {
        json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": metadata,
            "spec": { "endpoints": endpoints } })
    })
}

pub(super) fn backend_tls_policy() -> impl Strategy<Value = Value> {
    let service = |name: &str| json!({ "group": "", "kind": "Service", "name": name });
    let target = select(vec![
        service("s-0"),
        service("s-1"),
        json!({ "group": "", "kind": "Service", "name": "s-0", "sectionName": "web" }),
        json!({ "group": ENVOY_GATEWAY, "kind": "Backend", "name": "be-0" }),
    ]);
    let authorities = prop_oneof![
        Just(json!({ "wellKnownCACertificates": "System" })),
        some_of(SECRETS).prop_map(
            |name| json!({ "caCertificateRefs": [{ "group": "", "kind": "Secret", "name": name }] })
        ),
    ];
    (meta(&["tls-0", "tls-1"]), target, authorities).prop_map(|(metadata, target, mut validation)| {
        validation["hostname"] = json!("a.example.com");
        json!({ "apiVersion": API, "kind": "BackendTLSPolicy", "metadata": metadata,
            "spec": { "targetRefs": [target], "validation": validation } })
    })
}
