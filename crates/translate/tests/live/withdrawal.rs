//! What is taken away goes at once, whatever else has to wait.

use std::time::{Duration, Instant};

use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::http::{always_ok, free_port, status};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, FleetChange, Resource, World};
use serde_json::{Value, json};

use crate::rig::Rig;

/// What waits for a cluster goes out after a second. Half of it is far from that, and slow enough for a busy machine.
const AT_ONCE: Duration = Duration::from_millis(500);

const SCENE: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: c }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: c, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: v1, kind: Service, metadata: { name: cold }, spec: { ports: [{ port: 80 }] } }
---
{ apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: { name: cold, labels: { kubernetes.io/service-name: cold } }, addressType: IPv4, ports: [{ port: 80 }], endpoints: [{ addresses: [192.0.2.1] }] }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_rule_answers_no_more_while_a_new_one_waits_for_its_cluster() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut scene = Scene::start(dir.path());
    scene.put(route(&[("/a", "Backend", "warm"), ("/c", "Backend", "warm")]));
    scene.settle();
    let port = scene.port;
    within(PATIENCE, || (get(port, "/a"), get(port, "/c")) == (Some(200), Some(200)));

    scene.put(route(&[("/b", "Service", "cold"), ("/c", "Backend", "warm")]));
    let start = Instant::now();
    scene.settle();
    let gone = within(PATIENCE, || {
        assert_eq!(get(port, "/c"), Some(200), "an untouched rule serves on");
        get(port, "/a") == Some(404)
    });
    assert!(gone < AT_ONCE, "the deleted rule went after {gone:?}");
    assert_eq!(get(port, "/b"), Some(404), "its cluster never was warm");
    within(PATIENCE, || get(port, "/b") == Some(503));
    assert!(start.elapsed() > Duration::from_millis(900), "the new rule did wait");
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);

/// A world whose changes go to an Envoy. It refuses the endpoints of the Service `cold`, whose cluster never is warm.
struct Scene {
    world: World,
    rig: Rig,
    port: u16,
}

impl Scene {
    fn start(dir: &std::path::Path) -> Self {
        let port = free_port();
        let config = Config { port_map: [(80, port)].into(), assume_programmed: true, ..Config::default() };
        let mut scene = Self { world: World::new(config), rig: Rig::start(dir), port };
        for document in objects::documents(SCENE).expect("YAML") {
            scene.put(document);
        }
        let endpoints = json!([{ "ip": { "address": "127.0.0.1", "port": always_ok() } }]);
        scene.put(json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
            "metadata": { "name": "warm" }, "spec": { "endpoints": endpoints } }));
        scene
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn settle(&mut self) {
        let fleet = FleetKey(NamespacedName::new("default", "gw"));
        let mut change: FleetChange = self.world.settle().fleets.remove(&fleet).expect("the fleet changed");
        let cold = |r: &&mut Resource| r.kind == ResourceType::Endpoint && r.name.contains("cold");
        if let Some(cold) = change.upserts.iter_mut().find(cold) {
            let body = String::from_utf8_lossy(&cold.body).replace("192.0.2.1", "192.0.2.x");
            cold.body = body.into();
        }
        self.rig.commit(change);
    }
}

/// A route with a rule for each path prefix.
fn route(rules: &[(&str, &str, &str)]) -> Value {
    let rule = |(path, kind, name): &(&str, &str, &str)| {
        let group = if *kind == "Backend" { "gateway.envoyproxy.io" } else { "" };
        json!({ "matches": [{ "path": { "type": "PathPrefix", "value": path } }],
            "backendRefs": [{ "group": group, "kind": kind, "name": name, "port": 80 }] })
    };
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "r" },
        "spec": { "parentRefs": [{ "name": "gw" }], "rules": rules.iter().map(rule).collect::<Vec<_>>() } })
}

/// Looks again and again until it is so, and returns how long that took.
fn within(patience: Duration, mut is: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < patience, "it does not happen");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

fn get(port: u16, path: &str) -> Option<u16> {
    status(port, "any.example.com", path)
}
