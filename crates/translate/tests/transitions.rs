//! What goes and comes back: parents, classes, fleets, backends.

mod support;

use gatehouse_api::ObjectRef;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, SecretSource, World};
use serde_json::{Value, json};
use support::Picture;

const SCENE: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: c }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: c, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: { name: r }, spec: { parentRefs: [{ name: gw }], rules: [{ backendRefs: [{ group: gateway.envoyproxy.io, kind: Backend, name: be }] }] } }
---
{ apiVersion: gateway.envoyproxy.io/v1alpha1, kind: Backend, metadata: { name: be }, spec: { endpoints: [{ ip: { address: 127.0.0.1, port: 3000 } }] } }
";

struct Scene {
    world: World,
    picture: Picture,
    documents: Vec<Value>,
}

impl Scene {
    fn new() -> Self {
        Self::with(Config { assume_programmed: true, ..Config::default() }, SCENE)
    }

    fn with(config: Config, text: &str) -> Self {
        let documents = objects::documents(text).expect("YAML");
        let mut scene = Self { world: World::new(config), picture: Picture::default(), documents };
        for document in scene.documents.clone() {
            scene.put(document);
        }
        scene.settle();
        scene
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn remove(&mut self, kind: &str) {
        let key = objects::written(self.document(kind)).key();
        self.world.apply(Change::Remove(key));
    }

    fn document(&self, kind: &str) -> Value {
        self.documents.iter().find(|document| document["kind"] == kind).expect("in the scene").clone()
    }

    fn edited(&self, kind: &str, pointer: &str, value: Value) -> Value {
        let mut document = self.document(kind);
        *document.pointer_mut(pointer).expect("a field of the scene") = value;
        document
    }

    fn settle(&mut self) -> Outputs {
        let outputs = self.world.settle();
        self.picture.absorb(outputs.clone());
        assert_eq!(self.world.take_panics(), []);
        assert_eq!(self.picture.dangling(), Vec::<String>::new());
        outputs
    }

    fn has_status(&self, kind: &str) -> bool {
        self.picture.statuses.keys().any(|object: &ObjectRef| object.kind == kind)
    }

    fn has(&self, kind: ResourceType) -> bool {
        let fleets = self.picture.fleets.values();
        fleets.flat_map(|fleet| fleet.resources.keys()).any(|(of, _)| *of == kind)
    }
}

fn fleet() -> FleetKey {
    FleetKey(NamespacedName::new("default", "gw"))
}

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
