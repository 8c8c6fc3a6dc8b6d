//! What single changes do to a world that runs.

#[path = "../support/mod.rs"]
mod support;
mod tls;
mod unknown;

use gatehouse_model::ResourceType;
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, PortSource};
use serde_json::json;
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
fn port_is_served_when_it_can_be_had_and_only_then() {
    let config = Config { assume_programmed: true, ports: PortSource::OnDemand, ..Config::default() };
    let mut scene = Scene::with(config, SCENE);
    assert!(!scene.has_status("Gateway") && !scene.has(ResourceType::Listener), "nobody answered yet");
    let wants = scene.world.take_port_wants();
    let [(port, true)] = &wants[..] else { panic!("one port is wanted: {wants:?}") };
    assert_eq!(port.port, 80);

    scene.world.port_asked(port.clone(), Some("a stranger has it".into()));
    scene.settle();
    assert!(scene.has_status("Gateway") && !scene.has(ResourceType::Listener));
    let accepted = |scene: &Scene| {
        let (_, status) = scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway").unwrap();
        let conditions = status["listeners"][0]["conditions"].as_array().unwrap();
        let accepted = conditions.iter().find(|condition| condition["type"] == "Accepted").unwrap();
        (accepted["reason"].clone(), accepted["message"].clone())
    };
    assert_eq!(accepted(&scene), (json!("PortUnavailable"), json!("a stranger has it")));

    scene.world.port_asked(port.clone(), None);
    scene.settle();
    assert!(scene.has(ResourceType::Listener), "the stranger went away");
    assert_eq!(accepted(&scene).0, json!("Accepted"));

    scene.remove("Gateway");
    scene.settle();
    assert_eq!(scene.world.take_port_wants(), [(port.clone(), false)]);
    let gateway = scene.document("Gateway");
    scene.put(gateway);
    scene.settle();
    assert!(!scene.has(ResourceType::Listener), "somebody may have taken it meanwhile");
}

#[test]
fn policy_of_a_set_that_moves_to_another_gateway_has_its_status() {
    let mut scene = Scene::new();
    let mut other = scene.edited("Gateway", "/metadata/name", json!("gx"));
    other["spec"]["listeners"][0]["port"] = json!(81);
    for (gateway, port) in [(scene.document("Gateway"), 80), (other, 81)] {
        let mut gateway = gateway;
        gateway["spec"]["allowedListeners"] = json!({ "namespaces": { "from": "All" } });
        gateway["spec"]["listeners"][0]["port"] = json!(port);
        scene.put(gateway);
    }
    let set = |gateway: &str| {
        json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet", "metadata": { "name": "set" },
            "spec": { "parentRef": { "name": gateway }, "listeners": [{ "name": "l", "port": 90, "protocol": "HTTP" }] } })
    };
    scene.put(json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "ClientTrafficPolicy",
        "metadata": { "name": "policy" }, "spec": { "headers": { "requestID": "Preserve" }, "targetRefs": [
            { "group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": "set" }] } }));
    for gateway in ["gx", "gw", "gx", "gw"] {
        scene.put(set(gateway));
        scene.settle();
        assert!(scene.has_status("ClientTrafficPolicy"), "under {gateway}");
    }
}

#[test]
fn collector_of_spans_comes_and_goes_with_its_policy() {
    let mut scene = Scene::new();
    let before = scene.picture.fleets.clone();
    let policy = json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XTelemetryPolicy",
        "metadata": { "name": "spans" }, "spec": {
            "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" }],
            "tracing": { "mode": "Enabled", "provider": { "backendRef": { "name": "otel", "port": 4317 } } } } });
    scene.put(policy.clone());
    scene.settle();
    assert_eq!(scene.picture.fleets, before, "nobody to send spans to");
    let status = |scene: &Scene| {
        scene.picture.statuses.iter().find(|(o, _)| o.kind == "XTelemetryPolicy").map(|(_, s)| s.to_string())
    };
    assert!(status(&scene).expect("a status").contains("BackendNotFound"));

    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "otel" },
        "spec": { "ports": [{ "port": 4317 }] } });
    scene.put(service.clone());
    let outputs = scene.settle();
    let change = &outputs.fleets[&fleet()];
    let kinds: Vec<_> = change.upserts.iter().map(|r| (r.kind, r.interim.is_some())).collect();
    assert!(kinds.contains(&(ResourceType::Listener, false)), "it waits for the collector: {kinds:?}");
    assert!(!kinds.iter().any(|(kind, _)| *kind == ResourceType::VirtualHost), "{kinds:?}");
    assert!(!status(&scene).expect("a status").contains("False"));

    scene.world.apply(Change::Remove(objects::written(service).key()));
    scene.settle();
    assert_eq!(scene.picture.fleets, before, "what is gone is named no more");
    scene.world.apply(Change::Remove(objects::written(policy).key()));
    scene.settle();
    assert_eq!((&scene.picture.fleets, status(&scene)), (&before, None));
}
