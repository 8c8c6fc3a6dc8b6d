//! Classes, Gateways, their listeners and how their proxies run.

use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::routes::{backend_ref, external_auth};
use super::{
    API, ENVOY_GATEWAY, GROUP, HOSTS, NAMESPACES, OURS, PROXIES, SECRETS, from_namespaces, gateway_ref, meta,
    some_of, with_scope,
};

pub(super) fn class() -> impl Strategy<Value = Value> {
    let controller = prop_oneof![5 => Just(OURS), 1 => Just("example.com/other")];
    let parameters = prop_oneof![
        20 => Just(None),
        1 => Just(Some(json!({ "group": "g", "kind": "K", "name": "n" }))),
        8 => some_of(PROXIES).prop_map(|name| {
            Some(json!({ "group": ENVOY_GATEWAY, "kind": "EnvoyProxy", "namespace": NAMESPACES[0], "name": name }))
        }),
    ];
    (some_of(&["one", "two"]), controller, parameters).prop_map(|(name, controller, parameters)| {
        let mut spec = json!({ "controllerName": controller });
        if let Some(parameters) = parameters {
            spec["parametersRef"] = parameters;
        }
        json!({ "apiVersion": API, "kind": "GatewayClass", "metadata": { "name": name }, "spec": spec })
    })
}

fn certificate_ref() -> impl Strategy<Value = Value> {
    (weighted(0.5, some_of(NAMESPACES)), some_of(SECRETS)).prop_map(|(namespace, name)| {
        let mut reference = json!({ "name": name });
        if let Some(namespace) = namespace {
            reference["namespace"] = json!(namespace);
        }
        reference
    })
}

fn listener(name: usize) -> impl Strategy<Value = Value> {
    let kinds = prop_oneof![
        8 => Just(json!([])),
        1 => Just(json!([{ "kind": "HTTPRoute" }])),
        1 => Just(json!([{ "kind": "GRPCRoute" }])),
    ];
    (
        prop_oneof![
            5 => Just(("HTTP", 80)),
            5 => Just(("HTTPS", 443)),
            1 => Just(("HTTP", 443)),
            1 => Just(("HTTPS", 80)),
            1 => Just(("TCP", 80)),
            1 => Just(("TCP", 443)),
            2 => Just(("UDP", 80)),
            4 => Just(("TLS", 443)),
        ],
        weighted(0.6, some_of(HOSTS)),
        (from_namespaces(), weighted(0.2, proptest::collection::vec(external_auth(), 1..3))),
        kinds,
        (proptest::collection::vec(certificate_ref(), 0..3), select(vec!["Terminate", "Passthrough"])),
    )
        .prop_map(
            move |((protocol, port), hostname, (namespaces, filters), kinds, (certificates, mode))| {
                let mut listener = json!({
                    "name": format!("l{name}"),
                    "port": port,
                    "protocol": protocol,
                    "allowedRoutes": { "namespaces": namespaces, "kinds": kinds },
                });
                if let Some(hostname) = hostname {
                    listener["hostname"] = json!(hostname);
                }
                if let Some(filters) = filters {
                    listener["filters"] = json!({ "requests": filters });
                }
                match protocol {
                    "HTTPS" => listener["tls"] = json!({ "certificateRefs": certificates }),
                    "TLS" => listener["tls"] = json!({ "mode": mode, "certificateRefs": certificates }),
                    _ => {}
                }
                listener
            },
        )
}

fn listeners() -> impl Strategy<Value = Value> {
    (listener(0).boxed(), weighted(0.7, listener(1).boxed()), weighted(0.5, listener(2).boxed())).prop_map(
        |(first, second, third)| Value::Array([Some(first), second, third].into_iter().flatten().collect()),
    )
}

/// A reference to authorities in a Secret.
fn authorities_ref() -> impl Strategy<Value = Value> {
    certificate_ref().prop_map(|mut reference| {
        reference["group"] = json!("");
        reference["kind"] = json!("Secret");
        reference
    })
}

/// `spec.tls` of a Gateway.
fn gateway_tls() -> impl Strategy<Value = Value> {
    let mode = select(vec!["AllowValidOnly", "AllowInsecureFallback"]);
    let validation =
        (mode, authorities_ref()).prop_map(|(mode, ca)| json!({ "mode": mode, "caCertificateRefs": [ca] }));
    (weighted(0.3, validation), weighted(0.3, certificate_ref())).prop_map(|(validation, shown)| {
        let mut tls = json!({});
        if let Some(validation) = validation {
            tls["frontend"] = json!({ "default": { "validation": validation } });
        }
        if let Some(shown) = shown {
            tls["backend"] = json!({ "clientCertificateRef": shown });
        }
        tls
    })
}

pub(super) fn gateway() -> impl Strategy<Value = Value> {
    let addresses = prop_oneof![
        9 => Just(json!([])),
        2 => Just(json!([{ "value": "127.0.0.2" }])),
        1 => Just(json!([{ "value": "127.0.0.3" }])),
        1 => Just(json!([{ "type": "Hostname", "value": "x.example.com" }])),
        1 => Just(json!([{ "routability": "Cluster" }])),
    ];
    let parameters = weighted(0.5, some_of(PROXIES)).prop_map(|name| match name {
        Some(name) => {
            json!({ "parametersRef": { "group": ENVOY_GATEWAY, "kind": "EnvoyProxy", "name": name } })
        }
        None => json!({}),
    });
    let class = some_of(&["one", "one", "two"]);
    let spec = (class, listeners(), from_namespaces(), addresses, parameters, gateway_tls());
    let gateway = (meta(&["gw-0", "gw-1"]), spec).prop_map(
        |(metadata, (class, listeners, allowed, addresses, infrastructure, tls))| {
            json!({ "apiVersion": API, "kind": "Gateway", "metadata": metadata, "spec": {
                "gatewayClassName": class,
                "listeners": listeners,
                "allowedListeners": { "namespaces": allowed },
                "addresses": addresses,
                "infrastructure": infrastructure,
                "tls": tls,
            } })
        },
    );
    with_scope("defaultScope", gateway)
}

pub(super) fn envoy_proxy() -> impl Strategy<Value = Value> {
    let log = |path: &str| json!({ "accessLog": { "settings": [{ "sinks": [{ "type": "File", "file": { "path": path } }] }] } });
    let spec = select(vec![
        json!({}),
        json!({ "telemetry": log("/dev/stdout") }),
        json!({ "telemetry": log("/dev/stderr"), "mergeType": "StrategicMerge", "ipFamily": "DualStack" }),
        json!({ "mergeType": "JSONMerge", "ipFamily": "IPv6", "concurrency": 1, "routingType": "Service" }),
        json!({ "mergeType": "Replace", "filterOrder": [], "routingType": "Service",
            "provider": { "type": "Kubernetes", "kubernetes": { "envoyDeployment": { "patch": { "value": {} } } } } }),
        json!({ "mergeType": "StrategicMerge",
            "provider": { "type": "Kubernetes", "kubernetes": { "envoyDeployment": { "pod": { "volumes": [{ "name": "v" }] } } } } }),
    ]);
    (meta(PROXIES), spec).prop_map(|(metadata, spec)| {
        json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy", "metadata": metadata, "spec": spec })
    })
}

pub(super) fn listener_set() -> impl Strategy<Value = Value> {
    (meta(&["set-0", "set-1"]), gateway_ref(), listeners()).prop_map(|(metadata, parent, listeners)| {
        json!({ "apiVersion": API, "kind": "ListenerSet", "metadata": metadata,
            "spec": { "parentRef": parent, "listeners": listeners } })
    })
}

pub(super) fn client_policy() -> impl Strategy<Value = Value> {
    let target = (weighted(0.4, some_of(&["l0", "l1"])), some_of(&["gw-0", "gw-1", "set-0"]));
    let target = target.prop_map(|(section, name)| {
        let kind = if name.starts_with("gw") { "Gateway" } else { "ListenerSet" };
        let mut target = json!({ "group": GROUP, "kind": kind, "name": name });
        if let Some(section) = section {
            target["sectionName"] = json!(section);
        }
        target
    });
    let spec = select(vec![
        json!({ "headers": { "requestID": "Preserve" } }),
        json!({ "connection": { "bufferLimit": "64Ki" } }),
        json!({ "connection": { "bufferLimit": "many" } }),
        json!({ "proxyProtocol": { "optional": true }, "timeout": { "http": { "idleTimeout": "2m" } } }),
        json!({ "tls": { "minVersion": "1.3" } }),
        json!({ "tls": { "clientValidation": { "caCertificateRefs": [{ "name": "cert-0" }] } } }),
    ]);
    let targets = proptest::collection::vec(target, 1..3);
    (meta(&["client-0", "client-1"]), targets, spec).prop_map(|(metadata, targets, mut spec)| {
        spec["targetRefs"] = json!(targets);
        json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "ClientTrafficPolicy", "metadata": metadata,
            "spec": spec })
    })
}

pub(super) fn telemetry_policy() -> impl Strategy<Value = Value> {
    let target = some_of(&["gw-0", "gw-1"])
        .prop_map(|name| json!({ "group": GROUP, "kind": "Gateway", "name": name }));
    let mode = select(vec!["Enabled", "Enabled", "Enabled", "Disabled"]);
    let targets = proptest::collection::vec(target, 1..3);
    (meta(&["spans-0", "spans-1"]), targets, mode, backend_ref(), weighted(0.3, Just("edge"))).prop_map(
        |(metadata, targets, mode, mut reference, service)| {
            if let Some(fields) = reference.as_object_mut() {
                fields.remove("weight");
            }
            let mut tracing = json!({ "mode": mode, "provider": { "backendRef": reference } });
            if let Some(service) = service {
                tracing["serviceName"] = json!(service);
            }
            json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XTelemetryPolicy",
                "metadata": metadata, "spec": { "targetRefs": targets, "tracing": tracing } })
        },
    )
}
