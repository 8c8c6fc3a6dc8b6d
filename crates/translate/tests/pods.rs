//! Gateways whose proxies run in pods: what they need, and what a Gateway says of them.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{
    Change, Config, FleetAddress, FleetPlan, FleetState, Hosting, Outputs, Routability,
};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

fn scene() -> Scene {
    Scene::with(Config { hosting: Hosting::Pods, assume_programmed: true, ..Config::default() }, SCENE)
}

fn ip(value: &str) -> FleetAddress {
    FleetAddress { kind: "IPAddress".into(), value: Some(value.into()), routability: Routability::Default }
}

fn at(addresses: &[&str]) -> FleetState {
    FleetState { addresses: addresses.iter().map(|a| ip(a)).collect(), ready: true, ..FleetState::default() }
}

/// `status reason` of a condition of the Gateway.
fn condition(scene: &Scene, kind: &str) -> String {
    condition_of(scene, "Gateway", kind)
}

/// The same of the first object of a kind.
fn condition_of(scene: &Scene, object: &str, kind: &str) -> String {
    let (_, status) =
        scene.picture.statuses.iter().find(|(known, _)| known.kind == object).expect("its status");
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
    assert_eq!(condition(&scene, "AddressesAssigned"), "False NotAssigned");
    told(&mut scene, FleetState { ready: false, ..at(&["192.0.2.1"]) });
    assert_eq!(condition(&scene, "Programmed"), "False NoResources");
    assert_eq!(condition(&scene, "AddressesAssigned"), "True AddressesAssigned");
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(condition(&scene, "Programmed"), "True Programmed");
    assert_eq!(addresses(&scene), json!([{ "type": "IPAddress", "value": "192.0.2.1" }]));
}

#[test]
fn a_set_of_listeners_is_programmed_when_its_gateway_is() {
    let mut scene = scene();
    let mut gateway = scene.document("Gateway");
    gateway["spec"]["allowedListeners"] = json!({ "namespaces": { "from": "Same" } });
    scene.put(gateway);
    scene.put(json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ListenerSet",
        "metadata": { "name": "set", "namespace": "default" },
        "spec": {
            "parentRef": { "name": "gw" },
            "listeners": [{ "name": "more", "port": 81, "protocol": "HTTP" }],
        },
    }));
    scene.settle();
    let programmed = |scene: &Scene| condition_of(scene, "ListenerSet", "Programmed");
    assert_eq!(programmed(&scene), "False Pending", "whatever an earlier leader said stays");
    told(&mut scene, FleetState::default());
    assert_eq!(programmed(&scene), "False ParentNotProgrammed", "{}", condition(&scene, "Programmed"));
    assert_eq!(condition_of(&scene, "ListenerSet", "Accepted"), "True Accepted");
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(programmed(&scene), "True Programmed");
}

#[test]
fn an_address_of_the_cluster_is_shown_to_who_asks_for_it() {
    let mut scene = scene();
    let inside = FleetAddress { routability: Routability::Cluster, ..ip("10.96.0.9") };
    let both = |addresses: &[FleetAddress]| FleetState { addresses: addresses.to_vec(), ..at(&[]) };
    told(&mut scene, both(std::slice::from_ref(&inside)));
    assert_eq!(condition(&scene, "Programmed"), "False AddressNotAssigned", "it did not ask for that");
    assert_eq!(addresses(&scene), json!([]));
    told(&mut scene, both(&[ip("192.0.2.1"), inside.clone()]));
    let (outside, shown) = (
        json!({ "type": "IPAddress", "value": "192.0.2.1" }),
        json!({ "type": "IPAddress", "value": "10.96.0.9", "routability": "Cluster" }),
    );
    assert_eq!(addresses(&scene), json!([outside]));

    let ask = |scene: &mut Scene, asked: Value| {
        let mut gateway = scene.document("Gateway");
        gateway["spec"]["addresses"] = asked;
        scene.put(gateway);
        scene.settle();
    };
    ask(&mut scene, json!([{ "routability": "Cluster" }]));
    assert_eq!(addresses(&scene), json!([shown]));
    assert_eq!(condition(&scene, "Programmed"), "True Programmed");
    ask(&mut scene, json!([{ "routability": "Cluster", "value": "192.0.2.1" }]));
    assert_eq!(condition(&scene, "Programmed"), "False AddressNotUsable", "it is reached from outside");
    ask(&mut scene, json!([{ "routability": "Cluster", "value": "10.96.0.9" }, {}]));
    assert_eq!(addresses(&scene), json!([outside, shown]));
    told(&mut scene, both(&[inside]));
    assert_eq!(condition(&scene, "Programmed"), "False AddressNotAssigned");
    ask(&mut scene, json!([{ "routability": "example.com/private" }]));
    assert_eq!(condition(&scene, "Accepted"), "False UnsupportedAddress");
}

#[test]
fn what_keeps_pods_or_an_address_away_is_in_the_condition() {
    let mut scene = scene();
    let problem = "container envoy with image none:1 does not start: the image cannot be pulled";
    let with = |state: FleetState| FleetState { problem: Some(problem.into()), ..state };
    let mut message = |state: FleetState, expected: &str| {
        told(&mut scene, state);
        assert_eq!(condition(&scene, "Programmed"), expected);
        let (_, status) =
            scene.picture.statuses.iter().find(|(object, _)| object.kind == "Gateway").expect("a Gateway");
        let conditions = status["conditions"].as_array().expect("conditions");
        let programmed = conditions.iter().find(|condition| condition["type"] == "Programmed");
        let message = programmed.expect("it is there")["message"].as_str().expect("text").to_owned();
        assert!(message.contains(problem), "{message}");
    };
    message(with(FleetState::default()), "False AddressNotAssigned");
    message(with(FleetState { ready: false, ..at(&["192.0.2.1"]) }), "False NoResources");
    // An update whose new pods do not start, while the old ones serve.
    message(with(at(&["192.0.2.1"])), "True Programmed");
}

#[test]
fn an_address_that_was_asked_for_must_be_the_one_that_is_had() {
    let mut scene = scene();
    let gateway = scene.edited(
        "Gateway",
        "/spec",
        json!({
            "gatewayClassName": "c",
            "addresses": [{ "value": "192.0.2.7" }, { "value": "192.0.2.8" }],
            "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }],
        }),
    );
    scene.put(gateway);
    scene.settle();
    for (had, programmed, assigned) in [
        (&["192.0.2.1"][..], "False AddressNotUsable", "False NotAssigned"),
        (&["192.0.2.7"], "False AddressNotUsable", "False PartiallyAssigned"),
        (&["192.0.2.7", "192.0.2.8"], "True Programmed", "True AddressesAssigned"),
    ] {
        told(&mut scene, at(had));
        assert_eq!(condition(&scene, "Programmed"), programmed, "{had:?}");
        assert_eq!(condition(&scene, "AddressesAssigned"), assigned, "{had:?}");
    }
}

#[test]
fn the_class_says_whether_the_definitions_are_those_it_is_made_for() {
    let mut scene = scene();
    let definition = |name: &str, version: Option<&str>| {
        let annotations =
            version.map(|version| json!({ "gateway.networking.k8s.io/bundle-version": version }));
        json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": name, "annotations": annotations } })
    };
    let says = |scene: &Scene| condition_of(scene, "GatewayClass", "SupportedVersion");
    assert_eq!(says(&scene), "Unknown Pending", "nothing is known of them");
    let (routes, gateways) = ("httproutes.gateway.networking.k8s.io", "gateways.gateway.networking.k8s.io");
    for (name, version, expected) in [
        (routes, Some("v1.7.3"), "True SupportedVersion"),
        ("backends.gateway.envoyproxy.io", None, "True SupportedVersion"),
        (gateways, Some("v1.6.1"), "False UnsupportedVersion"),
        (gateways, Some("v1.70.0"), "False UnsupportedVersion"),
        (gateways, Some("v1.7.0-rc.1"), "True SupportedVersion"),
        (routes, None, "False UnsupportedVersion"),
    ] {
        scene.put(definition(name, version));
        scene.settle();
        assert_eq!(says(&scene), expected, "{name} {version:?}");
    }
    assert_eq!(condition_of(&scene, "GatewayClass", "Accepted"), "True Accepted");
    scene.world.apply(Change::Remove(objects::written(definition(routes, None)).key()));
    scene.settle();
    assert_eq!(says(&scene), "True SupportedVersion", "the bad one is gone");
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
            { "name": "tcp", "port": 53, "protocol": "TCP" },
            { "name": "udp", "port": 53, "protocol": "UDP" },
        ]),
    );
    scene.put(gateway);
    let outputs = scene.settle();
    let [(key, Some(plan))] = &plans(&outputs)[..] else { panic!("one plan: {:?}", outputs.plans) };
    assert_eq!(*key, fleet());
    assert_eq!(
        plan.ports.iter().map(|port| (port.port, port.bound, port.udp)).collect::<Vec<_>>(),
        [(53, 53, false), (53, 53, true), (80, 80, false), (8080, 8080, false)]
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

/// A class with an EnvoyProxy, a Gateway of that class, and one with an EnvoyProxy of its own.
const WITH_PARAMETERS: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: plain }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyProxy, metadata: { name: ep }, spec: { concurrency: 2, telemetry: { accessLog: {} } } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: plain, infrastructure: { parametersRef: { group: gateway.envoyproxy.io, kind: EnvoyProxy, name: ep } }, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: other }, spec: { gatewayClassName: plain, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
";

fn with_parameters() -> Scene {
    let config = Config { hosting: Hosting::Pods, assume_programmed: true, ..Config::default() };
    Scene::with(config, WITH_PARAMETERS)
}

/// How often each stage ran in a settle; stages that did not are left out.
fn runs(scene: &mut Scene) -> (BTreeMap<&'static str, u64>, Outputs) {
    let before = scene.world.counters();
    let outputs = scene.settle();
    let after = scene.world.counters().into_iter();
    let runs = after.map(|(stage, now)| (stage, now.computed - before.get(stage).map_or(0, |c| c.computed)));
    (runs.filter(|(_, count)| *count > 0).collect(), outputs)
}

#[test]
fn an_edit_of_parameters_touches_only_gateways_that_use_them() {
    let mut scene = with_parameters();
    scene.put(scene.edited("EnvoyProxy", "/spec/concurrency", json!(3)));
    let (ran, outputs) = runs(&mut scene);
    let expected = ["certificates", "gateways", "overlaps", "ports", "status/gateways", "traced"]
        .map(|stage| (stage, 1));
    assert_eq!(ran, expected.into(), "another concurrency");
    let [(key, Some(plan))] = &plans(&outputs)[..] else { panic!("one plan: {:?}", outputs.plans) };
    assert_eq!(*key, fleet());
    assert_eq!(plan.parameters.as_ref().and_then(|parameters| parameters.concurrency), Some(3));
    assert_eq!(outputs.fleets.values().map(|fleet| fleet.upserts.len()).sum::<usize>(), 0);
    assert_eq!(outputs.statuses, []);

    scene.put(scene.edited("EnvoyProxy", "/spec/telemetry/accessLog", json!({ "disable": true })));
    let (_, outputs) = runs(&mut scene);
    assert_eq!(outputs.fleets[&fleet()].upserts.len(), 1, "its listener");
    let unused = json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": { "name": "unused" }, "spec": {} });
    scene.put(unused);
    assert_eq!(runs(&mut scene), (BTreeMap::new(), Outputs::default()));
}

#[test]
fn parameters_that_are_gone_leave_listeners_as_they_were() {
    let mut scene = with_parameters();
    let before = scene.picture.fleets.clone();
    scene.remove("EnvoyProxy");
    let outputs = scene.settle();
    assert_eq!(plans(&outputs), [(fleet(), None)]);
    assert_eq!(scene.picture.fleets, before);
    assert_eq!(condition(&scene, "Accepted"), "False InvalidParameters");
    scene.put(scene.edited("EnvoyProxy", "/spec/telemetry/accessLog", json!({ "disable": true })));
    scene.settle();
    assert_eq!(condition(&scene, "Accepted"), "True Accepted");
    assert_ne!(scene.picture.fleets, before);
}

#[test]
fn what_the_maker_of_pods_says_of_parameters_is_in_the_status() {
    let mut scene = with_parameters();
    told(&mut scene, at(&["192.0.2.1"]));
    assert_eq!(condition(&scene, "gatehouse.dev/ParametersFollowed"), "True Followed");
    let unheeded = vec!["provider.kubernetes.envoyHpa: has no effect on a DaemonSet".into()];
    told(&mut scene, FleetState { unheeded, ..at(&["192.0.2.1"]) });
    assert_eq!(condition(&scene, "gatehouse.dev/ParametersFollowed"), "False UnsupportedFields");
    assert_eq!(condition(&scene, "Accepted"), "True Accepted");
    let refused = Some("bootstrap.value: is empty".into());
    told(&mut scene, FleetState { refused, ..at(&["192.0.2.1"]) });
    assert_eq!(condition(&scene, "gatehouse.dev/ParametersFollowed"), "False Invalid");
    assert_eq!(condition(&scene, "Accepted"), "False InvalidParameters");
    assert_eq!(condition(&scene, "Programmed"), "True Programmed");
}

const TO_SERVICES: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: plain }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.envoyproxy.io/v1alpha1, kind: EnvoyProxy, metadata: { name: ep }, spec: { routingType: Service } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: plain, infrastructure: { parametersRef: { group: gateway.envoyproxy.io, kind: EnvoyProxy, name: ep } }, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: other }, spec: { gatewayClassName: plain, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: { name: r }, spec: { parentRefs: [{ name: gw }, { name: other }], rules: [{ backendRefs: [{ name: s, port: 80 }] }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: s }, spec: { clusterIP: 10.96.0.7, ports: [{ port: 80 }] } }
---
{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: { name: s-1, labels: { kubernetes.io/service-name: s } }, addressType: IPv4, ports: [{ port: 8080 }], endpoints: [{ addresses: [10.0.0.1] }] }
";

/// The address that a Gateway's proxies have of the Service.
fn endpoint_of(scene: &Scene, gateway: &str) -> String {
    let fleet = FleetKey(NamespacedName::new("default", gateway));
    let resources = scene.picture.fleets[&fleet].resources.values();
    let found: Vec<_> = resources.filter(|resource| resource.kind == ResourceType::Endpoint).collect();
    let [endpoints] = found[..] else { panic!("one assignment: {found:?}") };
    let json = support::decode(endpoints);
    let address = &json["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
    format!("{}:{}", address["address"].as_str().expect("an address"), address["port_value"])
}

#[test]
fn requests_go_to_the_services_address_where_that_is_asked_for() {
    let config = Config { hosting: Hosting::Pods, assume_programmed: true, ..Config::default() };
    let mut scene = Scene::with(config, TO_SERVICES);
    let both = |scene: &Scene| [endpoint_of(scene, "gw"), endpoint_of(scene, "other")];
    assert_eq!(both(&scene), ["10.96.0.7:80", "10.0.0.1:8080"]);
    scene.put(scene.edited("EndpointSlice", "/endpoints/0/addresses/0", json!("10.0.0.2")));
    let outputs = scene.settle();
    assert_eq!(both(&scene), ["10.96.0.7:80", "10.0.0.2:8080"]);
    let told = outputs.fleets.iter().filter(|(_, change)| !change.upserts.is_empty()).count();
    assert_eq!(told, 1, "whoever goes to the Service hears nothing of its pods");
    scene.put(scene.edited("Service", "/spec/clusterIP", json!("None")));
    scene.settle();
    assert_eq!(both(&scene), ["10.0.0.2:8080", "10.0.0.2:8080"], "a headless Service has no address");
    let service = scene.document("Service");
    scene.put(service);
    scene.put(scene.edited("EnvoyProxy", "/spec/routingType", json!("Endpoint")));
    scene.settle();
    assert_eq!(both(&scene), ["10.0.0.2:8080", "10.0.0.2:8080"]);
    let proxy = scene.document("EnvoyProxy");
    scene.put(proxy);
    scene.settle();
    assert_eq!(both(&scene), ["10.96.0.7:80", "10.0.0.2:8080"]);
}
