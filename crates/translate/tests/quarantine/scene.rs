//! A world and what stands in for its proxies.

use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::objects;
use gatehouse_testkit::scale::{self, Shape};
use gatehouse_translate::{Change, Config, Outputs, Resource, World};
use serde_json::{Value, json};

use super::support::{Picture, decode};

pub(crate) const SHAPE: Shape = Shape::OneHost(1);
const HOST: &str = "default/gw/80/http/one.example.com";

/// A world and a proxy that refuses every host in which a text stands.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) picture: Picture,
    poison: &'static str,
}

impl Scene {
    pub(crate) fn new(routes: usize, poison: &'static str) -> Self {
        let world = World::new(Config { assume_programmed: true, ..Config::default() });
        let mut scene = Self { world, picture: Picture::default(), poison };
        for object in scale::objects(SHAPE, routes) {
            scene.world.apply(Change::Upsert(Box::new(object)));
        }
        assert_eq!(scene.run(), 0, "nothing is wrong yet");
        scene
    }

    pub(crate) fn edit(&mut self, index: usize, value: &str) {
        self.world.apply(Change::Upsert(Box::new(scale::route(SHAPE, index, value))));
    }

    /// Like [`Scene::edit`], with a rule for each of these paths.
    pub(crate) fn rules(&mut self, index: usize, rules: &[(&str, &str)]) {
        let service = format!("svc-{index}");
        let rules: Vec<_> = rules.iter().map(|(path, value)| (*path, *value, &*service)).collect();
        self.forward(index, &rules);
    }

    /// A route with rules of path, header value and Service.
    pub(crate) fn forward(&mut self, index: usize, rules: &[(&str, &str, &str)]) {
        let rule = |(path, value, service): &(&str, &str, &str)| {
            json!({ "matches": [{ "path": { "value": path } }],
                "filters": [{ "type": "RequestHeaderModifier",
                    "requestHeaderModifier": { "set": [{ "name": "x-edit", "value": value }] } }],
                "backendRefs": [{ "name": service, "port": 80 }] })
        };
        let rules: Vec<Value> = rules.iter().map(rule).collect();
        let route = json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": format!("route-{index}") },
            "spec": { "parentRefs": [{ "name": "gw", "sectionName": "http" }],
                "hostnames": ["one.example.com"], "rules": rules } });
        self.world.apply(Change::Upsert(Box::new(objects::written(route))));
    }

    pub(crate) fn settle(&mut self) -> Outputs {
        let outputs = self.world.settle();
        self.picture.absorb(outputs.clone());
        assert_eq!(self.world.take_panics(), []);
        outputs
    }

    /// Settles and answers until nothing changes; returns how often the proxy refused the host.
    pub(crate) fn run(&mut self) -> usize {
        let mut refusals = 0;
        for _ in 0..100 {
            match self.step() {
                None => {
                    assert_eq!(self.picture.dangling(), Vec::<String>::new());
                    return refusals;
                }
                Some(accepted) => refusals += usize::from(!accepted),
            }
        }
        panic!("it never ends");
    }

    /// One settle with the proxy's answer to the host, if the host was sent.
    pub(crate) fn step(&mut self) -> Option<bool> {
        let host = self.send()?;
        Some(self.answer(&host))
    }

    /// Two proxies say whether they take this.
    pub(crate) fn answer(&mut self, host: &Resource) -> bool {
        let accepted = !decode(host).to_string().contains(self.poison);
        for _proxy in 0..2 {
            if accepted {
                self.world.host_acknowledged(&fleet(), HOST, &host.version);
            } else {
                self.refuse(host);
            }
        }
        accepted
    }

    /// One settle; the host, if it is sent.
    pub(crate) fn send(&mut self) -> Option<Resource> {
        let outputs = self.settle();
        let upserts = outputs.fleets.get(&fleet()).map(|change| change.upserts.clone()).unwrap_or_default();
        upserts.into_iter().find(|resource| *resource.name == *HOST)
    }

    pub(crate) fn refuse(&mut self, host: &Resource) -> bool {
        self.world.host_refused(&fleet(), HOST, &host.version, &Arc::from("poisoned"))
    }

    /// What the host does for a route: the header value that it sets, or the status that it answers.
    pub(crate) fn does(&self, index: usize) -> Option<String> {
        self.does_rule(index, 0)
    }

    pub(crate) fn does_rule(&self, index: usize, rule: usize) -> Option<String> {
        let name = format!("httproute/default/route-{index}/rule/{rule}/match/0");
        self.routes().iter().find(|route| route["name"] == *name).map(what)
    }

    /// What the host does for a path that a rule is for.
    pub(crate) fn serves(&self, path: &str) -> Option<String> {
        let matches = |route: &&Value| route["match"]["path_separated_prefix"] == *path;
        self.routes().iter().find(matches).map(what)
    }

    pub(crate) fn host(&self) -> Option<Resource> {
        let fleet = self.picture.fleets.values().next().expect("a fleet");
        fleet.resources.get(&(ResourceType::VirtualHost, HOST.into())).cloned()
    }

    pub(crate) fn routes(&self) -> Vec<Value> {
        let json = self.host().map(|host| decode(&host)).unwrap_or_default();
        json["routes"].as_array().cloned().unwrap_or_default()
    }

    pub(crate) fn refused_routes(&self) -> Vec<String> {
        let says = |status: &&serde_json::Value| status.to_string().contains("RefusedByProxy");
        let refused = self.picture.statuses.iter().filter(|(_, status)| says(status));
        refused.map(|(object, _)| object.name.clone()).collect()
    }
}

fn fleet() -> FleetKey {
    FleetKey(NamespacedName::new("default", "gw"))
}

/// The header value that a route sets, or the status that it answers.
pub(crate) fn what(route: &Value) -> String {
    let header = route["request_headers_to_add"][0]["header"]["value"].as_str();
    header.map_or_else(|| route["direct_response"]["status"].to_string(), str::to_owned)
}
