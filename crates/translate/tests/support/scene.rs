//! A world over a few documents that are edited one by one.

use gatehouse_api::ObjectRef;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Outputs, World};
use serde_json::Value;

use super::Picture;

/// A Gateway with an HTTP listener and a route to a Backend.
pub(crate) const SCENE: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: c }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: { name: gw }, spec: { gatewayClassName: c, listeners: [{ name: http, port: 80, protocol: HTTP }] } }
---
{ apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: { name: r }, spec: { parentRefs: [{ name: gw }], rules: [{ backendRefs: [{ group: gateway.envoyproxy.io, kind: Backend, name: be }] }] } }
---
{ apiVersion: gateway.envoyproxy.io/v1alpha1, kind: Backend, metadata: { name: be }, spec: { endpoints: [{ ip: { address: 127.0.0.1, port: 3000 } }] } }
";

/// A small world with what a client of it holds.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) picture: Picture,
    pub(crate) documents: Vec<Value>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with(Config { assume_programmed: true, ..Config::default() }, SCENE)
    }

    pub(crate) fn with(config: Config, text: &str) -> Self {
        let documents = objects::documents(text).expect("YAML");
        let mut scene = Self { world: World::new(config), picture: Picture::default(), documents };
        for document in scene.documents.clone() {
            scene.put(document);
        }
        scene.settle();
        scene
    }

    pub(crate) fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    pub(crate) fn remove(&mut self, kind: &str) {
        let key = objects::written(self.document(kind)).key();
        self.world.apply(Change::Remove(key));
    }

    pub(crate) fn document(&self, kind: &str) -> Value {
        self.documents.iter().find(|document| document["kind"] == kind).expect("in the scene").clone()
    }

    pub(crate) fn edited(&self, kind: &str, pointer: &str, value: Value) -> Value {
        let mut document = self.document(kind);
        *document.pointer_mut(pointer).expect("a field of the scene") = value;
        document
    }

    pub(crate) fn settle(&mut self) -> Outputs {
        let outputs = self.world.settle();
        self.picture.absorb(outputs.clone());
        assert_eq!(self.world.take_panics(), []);
        assert_eq!(self.picture.dangling(), Vec::<String>::new());
        outputs
    }

    pub(crate) fn has_status(&self, kind: &str) -> bool {
        self.picture.statuses.keys().any(|object: &ObjectRef| object.kind == kind)
    }

    pub(crate) fn has(&self, kind: ResourceType) -> bool {
        let fleets = self.picture.fleets.values();
        fleets.flat_map(|fleet| fleet.resources.keys()).any(|(of, _)| *of == kind)
    }
}

pub(crate) fn fleet() -> FleetKey {
    FleetKey(NamespacedName::new("default", "gw"))
}
