//! What proxies say of backends stands on the routes that name them, under the parent whose proxies say it.

mod support;

use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_translate::{ClusterNews, Config};
use serde_json::{Value, json};
use support::scene::{SCENE, Scene, fleet};

const CLUSTER: &str = "backend/default/be";

/// Two Gateways, a route under both, and another one to another backend.
fn scene() -> Scene {
    let mut scene = Scene::with(Config { assume_programmed: true, ..Config::default() }, SCENE);
    let mut other = scene.edited("Gateway", "/metadata/name", json!("gw2"));
    other["spec"]["listeners"][0]["port"] = json!(81);
    scene.put(other);
    scene.put(scene.edited("HTTPRoute", "/spec/parentRefs", json!([{ "name": "gw" }, { "name": "gw2" }])));
    let mut backend = scene.edited("Backend", "/metadata/name", json!("other"));
    backend["spec"]["endpoints"] = json!([{ "fqdn": { "hostname": "up.example.com", "port": 80 } }]);
    scene.put(backend);
    let mut route = scene.edited("HTTPRoute", "/metadata/name", json!("other"));
    route["spec"]["rules"][0]["backendRefs"][0]["name"] = json!("other");
    scene.put(route);
    scene.settle();
    scene
}

fn says(scene: &mut Scene, fleet: &FleetKey, cluster: &str, news: ClusterNews) -> Vec<String> {
    scene.world.cluster_says(fleet, &cluster.into(), news);
    let changed = scene.settle().statuses;
    changed.into_iter().map(|change| format!("{} {}", change.object.kind, change.object.name)).collect()
}

/// `gatehouse.dev/Programmed` of a route under each parent: status, reason, message.
fn programmed(scene: &Scene, route: &str) -> Vec<Option<(String, String, String)>> {
    let mut statuses = scene.picture.statuses.iter();
    let found = statuses.find(|(object, _)| object.kind == "HTTPRoute" && object.name == route);
    let parents = found.expect("a status").1["parents"].as_array().expect("parents").clone();
    let condition = |parent: &Value| {
        let mut conditions = parent["conditions"].as_array().expect("conditions").iter();
        let found = conditions.find(|condition| condition["type"] == "gatehouse.dev/Programmed")?;
        let text = |field: &str| found[field].as_str().expect("a text").to_owned();
        Some((text("status"), text("reason"), text("message")))
    };
    parents.iter().map(condition).collect()
}

#[test]
fn route_that_went_out_before_its_backend_was_ready_says_so_until_it_is() {
    let mut scene = scene();
    let before = scene.picture.clone();
    assert_eq!(says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(true)), ["HTTPRoute r"]);
    let [Some((status, reason, message)), None] = &programmed(&scene, "r")[..] else {
        panic!("{:?}", programmed(&scene, "r"))
    };
    assert_eq!((&**status, &**reason), ("True", "BackendNotReady"));
    assert!(message.starts_with("Backend default/be is not ready at the proxy"), "{message}");
    let again = says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(true));
    assert_eq!(again, Vec::<String>::new(), "the next push changes nothing");
    assert_eq!(says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(false)), ["HTTPRoute r"]);
    assert_eq!(scene.picture, before);
}

#[test]
fn name_that_does_not_resolve_is_told() {
    let mut scene = scene();
    says(&mut scene, &fleet(), "backend/default/other", ClusterNews::Waits(true));
    let [Some((.., message))] = &programmed(&scene, "other")[..] else { panic!("no condition") };
    assert!(message.contains("a name server to answer for up.example.com"), "{message}");
    assert_eq!(programmed(&scene, "r"), [None, None]);
}

#[test]
fn refused_backend_is_told_in_the_proxys_words_and_counts_more_than_one_that_is_awaited() {
    let mut scene = scene();
    let before = scene.picture.clone();
    let words = || Some(Arc::from("bad cluster"));
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(true));
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::Refused(words()));
    let [Some((status, reason, message)), None] = &programmed(&scene, "r")[..] else {
        panic!("no condition")
    };
    assert_eq!((&**status, &**reason), ("False", "RefusedByProxy"));
    assert_eq!(message, "Backend default/be: refused by the proxy: bad cluster");
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::EndpointsRefused(words()));
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::Refused(None));
    assert!(programmed(&scene, "r")[0].is_some());
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::EndpointsRefused(None));
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(false));
    assert_eq!(scene.picture, before);
}

#[test]
fn what_proxies_said_goes_with_their_gateway() {
    let mut scene = scene();
    let before = scene.picture.clone();
    let unknown = FleetKey(NamespacedName::new("default", "nobody"));
    assert!(!scene.world.cluster_says(&unknown, &CLUSTER.into(), ClusterNews::Waits(true)));
    says(&mut scene, &fleet(), CLUSTER, ClusterNews::Waits(true));
    scene.remove("Gateway");
    scene.settle();
    scene.put(scene.document("Gateway"));
    scene.settle();
    assert_eq!(scene.picture, before);
}
