//! What goes and comes back: parents, classes, fleets, backends.

mod support;

use gatehouse_api::ObjectRef;
use gatehouse_model::{NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, SecretSource};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

#[test]
fn route_survives_its_gateway_vanishing_and_returning() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.remove("Gateway");
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(!scene.has_status("HTTPRoute") && !scene.has_status("Gateway"));
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn class_that_changes_its_controller_takes_its_gateways_along() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.put(scene.edited("GatewayClass", "/spec/controllerName", json!("example.com/other")));
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(
        !scene.has_status("GatewayClass") && !scene.has_status("Gateway") && !scene.has_status("HTTPRoute")
    );
    scene.put(scene.document("GatewayClass"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn deleted_class_takes_its_gateways_along() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    scene.remove("GatewayClass");
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    assert!(!scene.has_status("Gateway") && !scene.has_status("HTTPRoute"));
    scene.put(scene.document("GatewayClass"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn fleet_deleted_and_made_again_in_one_settle_is_not_touched() {
    let mut scene = Scene::new();
    for kind in ["Gateway", "GatewayClass", "HTTPRoute", "Backend"] {
        scene.remove(kind);
    }
    for document in scene.documents.clone() {
        scene.put(document);
    }
    assert_eq!(scene.settle(), Outputs::default());
}

#[test]
fn fleet_made_again_differently_in_one_settle_is_changed_in_place() {
    let mut scene = Scene::new();
    scene.remove("Gateway");
    scene.put(scene.edited("Gateway", "/spec/listeners/0/port", json!(8080)));
    let outputs = scene.settle();
    assert!(outputs.removed_fleets.is_empty());
    let names: Vec<_> =
        scene.picture.fleets[&fleet()].resources.keys().map(|(_, name)| name.clone()).collect();
    assert!(names.contains(&"default/gw/8080/tcp".into()) && !names.contains(&"default/gw/80/tcp".into()));
}

#[test]
fn backend_that_turns_from_a_name_to_an_address_gets_endpoints() {
    let mut scene = Scene::new();
    let before = scene.picture.clone();
    let by_name = json!([{ "fqdn": { "hostname": "up.example.com", "port": 80 } }]);
    scene.put(scene.edited("Backend", "/spec/endpoints", by_name));
    scene.settle();
    assert!(!scene.has(ResourceType::Endpoint), "Envoy resolves the name itself");
    scene.put(scene.document("Backend"));
    scene.settle();
    assert_eq!(scene.picture, before);
}

#[test]
fn statuses_wait_for_secrets_that_are_unknown() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    assert!(scene.has_status("Gateway"));
    let before = scene.picture.statuses.clone();
    let https = json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] } }]);
    scene.put(scene.edited("Gateway", "/spec/listeners", https));
    scene.settle();
    let gateway = |statuses: &std::collections::BTreeMap<ObjectRef, Value>| {
        statuses.iter().find(|(object, _)| object.kind == "Gateway").map(|(_, status)| status.clone())
    };
    assert_eq!(
        gateway(&scene.picture.statuses),
        gateway(&before),
        "nothing is said before the Secret is known"
    );
    let wants = scene.world.take_secret_wants();
    assert_eq!(wants, [(NamespacedName::new("default", "cert"), true)]);
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" } });
    scene.world.apply(Change::Remove(objects::written(secret).key()));
    scene.settle();
    let text = gateway(&scene.picture.statuses).expect("a status").to_string();
    assert!(text.contains("InvalidCertificateRef"), "{text}");
}

#[test]
fn listener_that_waits_for_a_secret_names_none_that_is_gone() {
    let config = Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    let listener = |secret: &str| {
        json!([{ "name": "https", "port": 443, "protocol": "HTTPS",
            "tls": { "certificateRefs": [{ "name": secret }] } }])
    };
    let (chain, key) = gatehouse_testkit::certificates::FIRST;
    let old = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "old" },
        "stringData": { "tls.crt": chain, "tls.key": key } });
    scene.put(old.clone());
    scene.put(scene.edited("Gateway", "/spec/listeners", listener("old")));
    scene.settle();
    scene.put(scene.edited("Gateway", "/spec/listeners", listener("unknown")));
    scene.settle();
    assert!(scene.has(ResourceType::Secret), "the last certificate serves meanwhile");
    scene.world.apply(Change::Remove(objects::written(old).key()));
    scene.settle();
    assert!(!scene.has(ResourceType::Secret) && !scene.has(ResourceType::Listener));
}
