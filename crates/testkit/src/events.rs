//! Random sequences of what happens to objects, in a universe so small that names collide all the time.
//!
//! ```text
//! events(n) --> [Upsert(object) | Remove(key) | Forget(secret) | Settle | Answer]*      final_facts(&events)
//! ```

mod backends;
mod gateways;
mod routes;

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
        1 => gateways::class().boxed(),
        4 => gateways::gateway().boxed(),
        4 => gateways::listener_set().boxed(),
        14 => with_scope("useDefaultGateways", routes::route()).boxed(),
        4 => with_scope("useDefaultGateways", routes::grpc_route()).boxed(),
        5 => with_scope("useDefaultGateways", routes::stream_route()).boxed(),
        3 => backends::service().boxed(),
        3 => backends::slice().boxed(),
        2 => backends::backend().boxed(),
        2 => backends::backend_tls_policy().boxed(),
        3 => backends::xbackend().boxed(),
        2 => backends::pod().boxed(),
        2 => backends::traffic_policy().boxed(),
        8 => gateways::envoy_proxy().boxed(),
        2 => gateways::client_policy().boxed(),
        2 => gateways::telemetry_policy().boxed(),
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

fn from_namespaces() -> impl Strategy<Value = Value> {
    let selector = json!({ "from": "Selector", "selector": { "matchLabels": { "team": "x" } } });
    prop_oneof![
        4 => Just(json!({ "from": "All" })),
        2 => Just(json!({ "from": "Same" })),
        2 => Just(selector),
        1 => Just(json!({ "from": "None" })),
    ]
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

fn gateway_ref() -> impl Strategy<Value = Value> {
    (weighted(0.7, some_of(NAMESPACES)), some_of(&["gw-0", "gw-1"])).prop_map(|(namespace, name)| {
        let mut reference = json!({ "name": name });
        if let Some(namespace) = namespace {
            reference["namespace"] = json!(namespace);
        }
        reference
    })
}

fn grant() -> impl Strategy<Value = Value> {
    let kinds = &["HTTPRoute", "GRPCRoute", "TLSRoute", "Gateway", "ListenerSet", "XTelemetryPolicy"];
    let from = (some_of(kinds), some_of(NAMESPACES)).prop_map(|(kind, namespace)| {
        let group = if kind.starts_with('X') { EXPERIMENTAL } else { GROUP };
        json!({ "group": group, "kind": kind, "namespace": namespace })
    });
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
