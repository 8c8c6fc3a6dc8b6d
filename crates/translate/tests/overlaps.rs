//! What rotated certificates do to the statuses of listeners whose certificates overlap.

mod support;

use gatehouse_testkit::certificates::{EXACT, FIRST, Pair, SECOND};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, SecretSource};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene};

fn secret(name: &str, (chain, key): Pair) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "stringData": { "tls.crt": chain, "tls.key": key } })
}

fn listener(name: &str) -> Value {
    json!({ "name": name, "port": 443, "protocol": "HTTPS", "hostname": format!("{name}.test"),
        "tls": { "certificateRefs": [{ "name": name }] } })
}

/// Two listeners of a port with certificates of their own, for different hosts.
fn scene(secrets: SecretSource) -> Scene {
    let mut scene = Scene::with(Config { assume_programmed: true, secrets, ..Config::default() }, SCENE);
    scene.put(scene.edited("Gateway", "/spec/listeners", json!([listener("one"), listener("two")])));
    scene
}

/// The reasons of `OverlappingTLSConfig` of both listeners.
fn reasons(scene: &Scene) -> [Option<String>; 2] {
    let status = scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway");
    let (_, status) = status.expect("a status");
    [0, 1].map(|listener| {
        let conditions = status["listeners"][listener]["conditions"].as_array()?;
        let condition = conditions.iter().find(|condition| condition["type"] == "OverlappingTLSConfig")?;
        Some(condition["reason"].as_str()?.to_owned())
    })
}

#[test]
fn rotation_that_changes_no_names_changes_no_status() {
    let mut scene = scene(SecretSource::Complete);
    scene.put(secret("one", FIRST));
    scene.put(secret("two", EXACT));
    scene.settle();
    assert_eq!(reasons(&scene), [(); 2].map(|()| Some("OverlappingCertificates".to_owned())));
    let before = scene.world.counters();
    scene.put(secret("one", SECOND));
    let outputs = scene.settle();
    assert!(outputs.statuses.is_empty() && !outputs.fleets.is_empty(), "only proxies are told");
    let ran = |stage: &str| scene.world.counters()[stage].computed - before[stage].computed;
    assert_eq!((ran("key_pairs"), ran("overlaps")), (1, 0));
}

#[test]
fn rotation_to_other_names_is_told_on_both_listeners() {
    let mut scene = scene(SecretSource::Complete);
    let (chain, key) = EXACT;
    scene.put(secret("one", FIRST));
    scene.put(secret("two", (chain, "nonsense")));
    scene.settle();
    assert_eq!(reasons(&scene), [None, None], "what cannot be served overlaps with nothing");
    scene.put(secret("two", (chain, key)));
    scene.settle();
    assert_eq!(reasons(&scene), [(); 2].map(|()| Some("OverlappingCertificates".to_owned())));
    scene.world.apply(Change::Remove(objects::written(secret("one", FIRST)).key()));
    scene.settle();
    assert_eq!(reasons(&scene), [None, None]);
}

#[test]
fn listener_set_says_nothing_before_all_certificates_that_may_overlap_are_known() {
    let mut scene = scene(SecretSource::OnDemand);
    // As after a start: nothing was said before.
    scene.remove("Gateway");
    scene.settle();
    let mut gateway = scene.edited("Gateway", "/spec/listeners", json!([listener("one")]));
    gateway["spec"]["allowedListeners"] = json!({ "namespaces": { "from": "All" } });
    scene.put(gateway);
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
        "metadata": { "name": "set" },
        "spec": { "parentRef": { "name": "gw" }, "listeners": [listener("two")] } }));
    scene.put(secret("two", EXACT));
    scene.settle();
    assert!(!scene.has_status("ListenerSet"));
    scene.put(secret("one", FIRST));
    scene.settle();
    let status = scene.picture.statuses.iter().find(|(object, _)| object.kind == "ListenerSet");
    let text = status.expect("a status").1.to_string();
    assert!(text.contains("that of listener one on the same port for *.example.com"), "{text}");
}
