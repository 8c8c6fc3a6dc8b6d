//! Random sequences of what happens to objects, in a universe so small that names collide all the time.
//!
//! ```text
//! events(n) --> [Upsert(object) | Remove(key) | Forget(secret) | Settle | Answer]*      final_facts(&events)
//! ```

mod backends;

use std::collections::BTreeMap;

use gatehouse_api::{Object, ObjectRef};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use crate::certificates::{EXACT, FIRST, SECOND};
use crate::objects::written;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// The object is created or edited.
    Upsert(Box<Object>),
    /// The object is deleted, or was never there.
    Remove(ObjectRef),
    /// A Secret cannot be read now: nothing is known of it.
    Forget(ObjectRef),
    /// Everything so far is worked in.
    Settle,
    /// A proxy says something of what was worked in so far.
    Answer(Answer),
}

/// What a proxy speaks of. The number picks one of those that there are.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// A listener or certificate that it was sent.
    Watch(usize),
    /// A virtual host that it was sent.
    Host(usize),
    /// A cluster that was named before it was ready.
    Waits(usize),
    /// One of these that became ready.
    Ready(usize),
}

/// What proxies that are played refuse, wherever it stands.
pub const POISON: &str = "poison";

/// What is known of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It exists.
    Present(Box<Object>),
    /// It does not exist.
    Absent,
}

/// What is known at the end; nothing is known of a Secret that has no entry.
pub fn final_facts(events: &[Event]) -> BTreeMap<ObjectRef, Known> {
    let mut facts = BTreeMap::new();
    for event in events {
        match event {
            Event::Upsert(object) => drop(facts.insert(object.key(), Known::Present(object.clone()))),
            Event::Remove(key) => drop(facts.insert(key.clone(), Known::Absent)),
            Event::Forget(key) => drop(facts.remove(key)),
            Event::Settle | Event::Answer(_) => {}
        }
    }
    facts
}

/// Every Secret of the universe.
pub fn secrets() -> Vec<ObjectRef> {
    let secret = |namespace: &&str, name: &&str| ObjectRef {
        kind: "Secret".to_owned(),
        namespace: (*namespace).to_owned(),
        name: (*name).to_owned(),
        ..ObjectRef::default()
    };
    NAMESPACES.iter().flat_map(|ns| SECRETS.iter().map(move |name| secret(ns, name))).collect()
}

/// A sequence of events, after some objects that nearly everything needs (and that may go like the others).
pub fn events(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Event>> {
    proptest::collection::vec(event(), length).prop_map(|events| {
        let base = base().into_iter().map(|object| Event::Upsert(Box::new(written(object))));
        base.chain(events).collect()
    })
}

/// What nearly everything needs: a class, a Gateway, a Service, a Secret.
pub fn base() -> [Value; 4] {
    let named = |name: &str| json!({ "namespace": NAMESPACES[0], "name": name });
    [
        json!({ "apiVersion": API, "kind": "GatewayClass", "metadata": { "name": "one" },
            "spec": { "controllerName": OURS } }),
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": named("s-0"),
            "spec": { "ports": [{ "name": "web", "port": 80 }] } }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": named("cert-0"),
            "stringData": { "tls.crt": FIRST.0, "tls.key": FIRST.1 } }),
        json!({ "apiVersion": API, "kind": "Gateway", "metadata": named("gw-0"),
            "spec": { "gatewayClassName": "one", "listeners": [{ "name": "l0", "port": 80, "protocol": "HTTP" }],
                "allowedListeners": { "namespaces": { "from": "All" } } } }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => any_object().prop_map(|object| Event::Upsert(Box::new(written(object)))),
        4 => any_object().prop_map(|object| Event::Remove(written(object).key())),
        2 => select(secrets()).prop_map(Event::Forget),
        6 => Just(Event::Settle),
        8 => answer().prop_map(Event::Answer),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let pick = || 0..1000usize;
    prop_oneof![
        3 => pick().prop_map(Answer::Watch),
        6 => pick().prop_map(Answer::Host),
        1 => pick().prop_map(Answer::Waits),
        1 => pick().prop_map(Answer::Ready),
    ]
}

const GROUP: &str = "gateway.networking.k8s.io";
const ENVOY_GATEWAY: &str = "gateway.envoyproxy.io";
const EXPERIMENTAL: &str = "gateway.networking.x-k8s.io";
const OURS: &str = "gatehouse.dev/gatewayclass-controller";
const API: &str = "gateway.networking.k8s.io/v1";
const NAMESPACES: &[&str] = &["a", "b"];
const PROXIES: &[&str] = &["ep-0", "ep-1"];
const SECRETS: &[&str] = &["cert-0", "cert-1"];
const HOSTS: &[&str] = &["a.example.com", "*.example.com", "b.a.example.com", "*.com", "other.org"];

/// An object of any kind of the universe, as JSON.
pub fn any_object() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => class().boxed(),
        4 => gateway().boxed(),
        4 => listener_set().boxed(),
        14 => with_scope("useDefaultGateways", route()).boxed(),
        4 => with_scope("useDefaultGateways", grpc_route()).boxed(),
        5 => with_scope("useDefaultGateways", stream_route()).boxed(),
        3 => service().boxed(),
        3 => slice().boxed(),
        2 => backend().boxed(),
        2 => backend_tls_policy().boxed(),
        3 => backends::xbackend().boxed(),
        2 => backends::pod().boxed(),
        2 => backends::traffic_policy().boxed(),
        8 => envoy_proxy().boxed(),
        2 => grant().boxed(),
        2 => namespace().boxed(),
        5 => secret().boxed(),
    ]
}

/// The first name half of the time, so that objects meet.
fn some_of(names: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(names[0]), select(names)]
}

fn meta(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    (some_of(NAMESPACES), some_of(names), 1..4i64, weighted(0.5, 1..3u8)).prop_map(
        |(namespace, name, generation, day)| {
            let mut meta = json!({ "namespace": namespace, "name": name, "generation": generation });
            if let Some(day) = day {
                meta["creationTimestamp"] = json!(format!("2026-01-0{day}T00:00:00Z"));
            }
            meta
        },
    )
}

fn class() -> impl Strategy<Value = Value> {
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

fn from_namespaces() -> impl Strategy<Value = Value> {
    let selector = json!({ "from": "Selector", "selector": { "matchLabels": { "team": "x" } } });
    prop_oneof![
        4 => Just(json!({ "from": "All" })),
        2 => Just(json!({ "from": "Same" })),
        2 => Just(selector),
        1 => Just(json!({ "from": "None" })),
    ]
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
        from_namespaces(),
        kinds,
        (proptest::collection::vec(certificate_ref(), 0..3), select(vec!["Terminate", "Passthrough"])),
    )
        .prop_map(move |((protocol, port), hostname, namespaces, kinds, (certificates, mode))| {
            let mut listener = json!({
                "name": format!("l{name}"),
                "port": port,
                "protocol": protocol,
                "allowedRoutes": { "namespaces": namespaces, "kinds": kinds },
            });
            if let Some(hostname) = hostname {
                listener["hostname"] = json!(hostname);
            }
            match protocol {
                "HTTPS" => listener["tls"] = json!({ "certificateRefs": certificates }),
                "TLS" => listener["tls"] = json!({ "mode": mode, "certificateRefs": certificates }),
                _ => {}
            }
            listener
        })
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

fn backend_tls_policy() -> impl Strategy<Value = Value> {
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

fn gateway() -> impl Strategy<Value = Value> {
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

/// Sometimes with a scope of default Gateways.
fn with_scope(field: &'static str, object: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (object, weighted(0.3, some_of(&["All", "All", "None"]))).prop_map(move |(mut object, scope)| {
        if let Some(scope) = scope {
            object["spec"][field] = scope.into();
        }
        object
    })
}

fn envoy_proxy() -> impl Strategy<Value = Value> {
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

fn gateway_ref() -> impl Strategy<Value = Value> {
    (weighted(0.7, some_of(NAMESPACES)), some_of(&["gw-0", "gw-1"])).prop_map(|(namespace, name)| {
        let mut reference = json!({ "name": name });
        if let Some(namespace) = namespace {
            reference["namespace"] = json!(namespace);
        }
        reference
    })
}

fn listener_set() -> impl Strategy<Value = Value> {
    (meta(&["set-0", "set-1"]), gateway_ref(), listeners()).prop_map(|(metadata, parent, listeners)| {
        json!({ "apiVersion": API, "kind": "ListenerSet", "metadata": metadata,
            "spec": { "parentRef": parent, "listeners": listeners } })
    })
}

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

fn backend_ref() -> impl Strategy<Value = Value> {
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
        1 => Just(json!({ "type": "ExtensionRef",
            "extensionRef": { "group": "g", "kind": "K", "name": "n" } })),
    ]
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

fn route() -> impl Strategy<Value = Value> {
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

fn grpc_route() -> impl Strategy<Value = Value> {
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
fn stream_route() -> impl Strategy<Value = Value> {
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

fn service() -> impl Strategy<Value = Value> {
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

fn slice() -> impl Strategy<Value = Value> {
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

fn backend() -> impl Strategy<Value = Value> {
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

fn grant() -> impl Strategy<Value = Value> {
    let from =
        (some_of(&["HTTPRoute", "GRPCRoute", "TLSRoute", "Gateway", "ListenerSet"]), some_of(NAMESPACES))
            .prop_map(|(kind, namespace)| json!({ "group": GROUP, "kind": kind, "namespace": namespace }));
    let to = prop_oneof![
        some_of(&["Service", "Secret"]).prop_map(|kind| json!({ "group": "", "kind": kind })),
        Just(json!({ "group": "", "kind": "Secret", "name": "cert-0" })),
        Just(json!({ "group": "gateway.envoyproxy.io", "kind": "Backend" })),
        Just(json!({ "group": EXPERIMENTAL, "kind": "XBackend" })),
    ];
    let some = |strategy| proptest::collection::vec(strategy, 1..3);
    (meta(&["grant-0", "grant-1"]), some(from.boxed()), some(to.boxed())).prop_map(|(metadata, from, to)| {
        json!({ "apiVersion": API, "kind": "ReferenceGrant", "metadata": metadata,
            "spec": { "from": from, "to": to } })
    })
}

fn namespace() -> impl Strategy<Value = Value> {
    (some_of(NAMESPACES), select(vec![json!({}), json!({ "team": "x" }), json!({ "team": "y" })])).prop_map(
        |(name, labels)| {
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } })
        },
    )
}

fn secret() -> impl Strategy<Value = Value> {
    let pair = |crt: &str, key: &str| json!({ "tls.crt": crt, "tls.key": key, "ca.crt": crt });
    let data = select(vec![
        pair(FIRST.0, FIRST.1),
        pair(EXACT.0, EXACT.1),
        pair(SECOND.0, SECOND.1),
        pair(FIRST.0, SECOND.1),
        pair("nonsense", ""),
    ]);
    (meta(SECRETS), data).prop_map(|(metadata, data)| {
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata,
            "stringData": data })
    })
}
