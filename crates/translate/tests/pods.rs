//! Gateways whose proxies run in pods: what they need, and what a Gateway says of them.

mod support;

use std::sync::Arc;

use gatehouse_model::FleetKey;
use gatehouse_translate::{Config, FleetAddress, FleetPlan, FleetState, Hosting, Outputs};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

fn scene() -> Scene {
    Scene::with(Config { hosting: Hosting::Pods, assume_programmed: true, ..Config::default() }, SCENE)
}

fn ip(value: &str) -> FleetAddress {
    FleetAddress { kind: "IPAddress".into(), value: Some(value.into()) }
}

fn at(addresses: &[&str]) -> FleetState {
    FleetState { addresses: addresses.iter().map(|a| ip(a)).collect(), ready: true, problem: None }
}

/// `status reason` of a condition of the Gateway.
fn condition(scene: &Scene, kind: &str) -> String {
    let (_, status) =
        scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway").expect("a Gateway");
    let conditions = status["conditions"].as_array().expect("conditions");
    let condition = conditions.iter().find(|condition| condition["type"] == kind).expect("the condition");
    let text = |field: &str| condition[field].as_str().expect("text").to_owned();
    format!("{} {}", text("status"), text("reason"))
}

fn addresses(scene: &Scene) -> Value {
    let (_, status) =
        scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway").expect("a Gateway");
    status["addresses"].clone()
}

fn plans(outputs: &Outputs) -> Vec<(FleetKey, Option<Arc<FleetPlan>>)> {
    outputs.plans.clone()
}

fn told(scene: &mut Scene, state: FleetState) {
    scene.world.fleet_is(&fleet(), state);
    scene.settle();
}

#[test]
fn a_gateway_is_programmed_once_it_has_an_address_and_a_proxy() {
    let mut scene = scene();
    assert_eq!(condition(&scene, "Programmed"), "False Pending");
    told(&mut scene, FleetState::default());
    assert_eq!(condition(&scene, "Programmed"), "False AddressNotAssigned");
    told(&mut scene, FleetState { ready: false, ..at(&["192.0.2.1"]) });
    assert_eq!(condition(&scene, "Programmed"), "False NoResources");
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(condition(&scene, "Programmed"), "True Programmed");
    assert_eq!(addresses(&scene), json!([{ "type": "IPAddress", "value": "192.0.2.1" }]));
}

#[test]
fn an_address_that_was_asked_for_must_be_the_one_that_is_had() {
    let mut scene = scene();
    let gateway = scene.edited(
        "Gateway",
        "/spec",
        json!({
            "gatewayClassName": "c",
            "addresses": [{ "type": "IPAddress", "value": "192.0.2.7" }],
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        }),
    );
    scene.put(gateway);
    scene.settle();
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(condition(&scene, "Programmed"), "False AddressNotUsable");
    told(&mut scene, at(&["192.0.2.7"]));
    assert_eq!(condition(&scene, "Programmed"), "True Programmed");
}

#[test]
fn a_plan_is_handed_out_when_it_changes_and_only_then() {
    let mut scene = scene();
    let gateway = scene.edited(
        "Gateway",
        "/spec/listeners",
        json!([
            { "name": "http", "port": 80, "protocol": "HTTP" },
            { "name": "other", "port": 8080, "protocol": "HTTP" },
            { "name": "named", "port": 80, "protocol": "HTTP", "hostname": "a.example.com" },
        ]),
    );
    scene.put(gateway);
    let outputs = scene.settle();
    let [(key, Some(plan))] = &plans(&outputs)[..] else { panic!("one plan: {:?}", outputs.plans) };
    assert_eq!(*key, fleet());
    assert_eq!(
        plan.ports.iter().map(|port| (port.port, port.bound)).collect::<Vec<_>>(),
        [(80, 80), (8080, 8080)]
    );
    let route =
        scene.edited("HTTPRoute", "/spec/rules/0", json!({ "matches": [{ "path": { "value": "/x" } }] }));
    scene.put(route);
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(plans(&scene.settle()), []);
}

#[test]
fn parameters_that_cannot_be_followed_change_nothing_that_runs() {
    let mut scene = scene();
    told(&mut scene, at(&["192.0.2.1"]));
    let before = scene.picture.fleets.clone();
    let class = scene.edited(
        "GatewayClass",
        "/spec",
        json!({
            "controllerName": "gatehouse.dev/gatewayclass-controller",
            "parametersRef": { "group": "example.com", "kind": "Unheard", "name": "of" },
        }),
    );
    scene.put(class);
    let outputs = scene.settle();
    assert_eq!(plans(&outputs), [(fleet(), None)]);
    assert_eq!(outputs.removed_fleets, []);
    assert_eq!(scene.picture.fleets, before);
    assert_eq!(condition(&scene, "Accepted"), "False InvalidParameters");
    assert_eq!(addresses(&scene), json!([{ "type": "IPAddress", "value": "192.0.2.1" }]));
}

#[test]
fn a_gateway_that_is_gone_takes_its_pods_with_it() {
    let mut scene = scene();
    told(&mut scene, at(&["192.0.2.1"]));
    scene.remove("Gateway");
    assert_eq!(scene.settle().removed_fleets, [fleet()]);
    // A late word of its pods is no news.
    scene.world.fleet_is(&fleet(), at(&["192.0.2.9"]));
    let gateway = scene.document("Gateway");
    scene.put(gateway);
    let outputs = scene.settle();
    assert!(matches!(&plans(&outputs)[..], [(_, Some(_))]));
    assert_eq!(condition(&scene, "Programmed"), "False Pending");
}
