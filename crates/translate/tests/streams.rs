//! Listeners of connections: what is taken away goes at once, what gains a cluster waits.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::{Interim, ResourceType};
use gatehouse_translate::{Outputs, Resource, WatchKey, WatchState};
use serde_json::{Value, json};
use support::scene::{Scene, fleet};
use support::strings_at;

const SCENE: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: c }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: c, listeners: [{ name: tls, port: 443, protocol: TLS, hostname: '*.example.com', tls: { mode: Passthrough } }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: s0 }, spec: { ports: [{ port: 443 }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: s1 }, spec: { ports: [{ port: 443 }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: far, namespace: elsewhere }, spec: { ports: [{ port: 443 }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: { name: g, namespace: elsewhere }, spec: { from: [{ group: gateway.networking.k8s.io, kind: TLSRoute, namespace: default }], to: [{ group: '', kind: Service }] } }
";

#[test]
fn a_change_that_takes_nothing_away_waits_as_a_whole() {
    let mut scene = scene(&[("a", "a.example.com", "s0")]);
    scene.put(route("a", "a.example.com", "s1"));
    scene.put(route("b", "b.example.com", "s1"));
    assert_eq!(listener(&scene.settle()).interim, None);
}

#[test]
fn a_route_that_is_gone_does_not_wait_for_others() {
    let mut scene = scene(&[("a", "a.example.com", "s0"), ("b", "b.example.com", "s0")]);
    scene.put(route("a", "c.example.com", "s0"));
    scene.put(route("new", "d.example.com", "s1"));
    let (chains, clusters) = meanwhile(&scene.settle());
    let expected = [("*.example.com", ""), ("b.example.com", "s0"), ("c.example.com", "s0")];
    assert_eq!(chains, named(&expected), "without the new route and the old name");
    assert_eq!(clusters, BTreeSet::from(["service/default/s0/443/tcp".into()]));
}

#[test]
fn a_route_keeps_its_old_names_until_the_new_ones_serve() {
    let mut scene = scene(&[("a", "a.b.example.com", "s0"), ("other", "c.example.com", "s0")]);
    scene.put(route("a", "*.b.example.com", "s1"));
    scene.put(route("other", "d.example.com", "s0"));
    let (chains, _) = meanwhile(&scene.settle());
    assert_eq!(chains, named(&[("*.example.com", ""), ("a.b.example.com", "s0"), ("d.example.com", "s0")]));
}

#[test]
fn what_may_not_be_used_any_more_rejects_while_its_successor_waits() {
    let mut scene = scene(&[("a", "a.example.com", "far")]);
    scene.remove("ReferenceGrant");
    scene.put(route("a", "a.example.com", "s0"));
    let (chains, clusters) = meanwhile(&scene.settle());
    assert_eq!(chains, named(&[("*.example.com", ""), ("a.example.com", "")]));
    assert_eq!(clusters, BTreeSet::new());
}

#[test]
fn what_one_change_took_away_no_later_one_brings_back() {
    let mut scene = scene(&[("a", "a.example.com", "far")]);
    scene.remove("ReferenceGrant");
    scene.put(route("a", "a.example.com", "s0"));
    scene.settle();
    scene.put(scene.document("ReferenceGrant"));
    scene.put(route("a", "a.example.com", "s1"));
    let listener = listener(&scene.settle());
    if let Some(Interim::Instead { clusters, .. }) = listener.interim.as_deref() {
        assert_eq!(*clusters, BTreeSet::new());
    }
}

#[test]
fn what_a_proxy_holds_is_what_the_next_change_starts_from() {
    let mut scene = scene(&[("a", "a.example.com", "s0")]);
    scene.put(route("b", "b.example.com", "s1"));
    scene.settle();
    held(&mut scene);
    scene.put(route("a", "a.example.com", "s1"));
    assert_eq!(listener(&scene.settle()).interim.as_deref(), Some(&Interim::Whole), "s1 is served already");
}

/// A world whose routes (name, hostname, backend) a proxy holds.
fn scene(routes: &[(&str, &str, &str)]) -> Scene {
    let mut scene = Scene::with(gatehouse_translate::Config::default(), SCENE);
    for (name, hostname, backend) in routes {
        scene.put(route(name, hostname, backend));
    }
    scene.settle();
    held(&mut scene);
    scene
}

fn held(scene: &mut Scene) {
    let watches = scene.picture.fleets[&fleet()].watches.clone();
    for (key, watch) in watches {
        assert!(matches!(key, WatchKey::Port(_)));
        scene.world.proxy_says(key, &watch.digest, WatchState::Held);
    }
    scene.settle();
}

fn route(name: &str, hostname: &str, backend: &str) -> Value {
    let namespace = if backend == "far" { "elsewhere" } else { "default" };
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "TLSRoute", "metadata": { "name": name },
        "spec": { "parentRefs": [{ "name": "gw" }], "hostnames": [hostname],
            "rules": [{ "backendRefs": [{ "name": backend, "namespace": namespace, "port": 443 }] }] } })
}

fn listener(outputs: &Outputs) -> Resource {
    let upserts = &outputs.fleets[&fleet()].upserts;
    upserts.iter().find(|r| r.kind == ResourceType::Listener).expect("the listener changed").clone()
}

/// Chains by server name with the cluster that each names, and all clusters, while the listener waits.
fn meanwhile(outputs: &Outputs) -> (BTreeMap<String, String>, BTreeSet<Arc<str>>) {
    let listener = listener(outputs);
    let Some(Interim::Instead { body, clusters }) = listener.interim.as_deref() else {
        panic!("nothing goes before the rest: {:?}", listener.interim)
    };
    let json = gatehouse_envoy::json::decode(listener.kind.type_url(), &body.bytes).expect("a listener");
    let chains = json["filter_chains"].as_array().expect("chains").iter();
    let chain = |chain: &Value| {
        let host = chain["filter_chain_match"]["server_names"][0].as_str().expect("a name").to_owned();
        (host, strings_at(chain, "cluster").pop().unwrap_or_default())
    };
    (chains.map(chain).collect(), clusters.clone())
}

fn named(chains: &[(&str, &str)]) -> BTreeMap<String, String> {
    let cluster = |name: &str| match name {
        "" => String::new(),
        name => format!("service/default/{name}/443/tcp"),
    };
    chains.iter().map(|(host, name)| ((*host).to_owned(), cluster(name))).collect()
}
