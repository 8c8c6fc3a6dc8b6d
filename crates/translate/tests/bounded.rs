//! Cost follows the change: one edit among 10,000 routes runs, encodes and hands out a handful of things.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_api::Object;
use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::certificates::SECOND;
use gatehouse_testkit::scale::{self, SERVICES, Shape};
use gatehouse_translate::{Change, Config, Outputs, World};

const ROUTES: usize = 10_000;
/// More than one rule needs, less than two.
const ONE_RULE: u64 = 400;

/// What a settle cost.
#[derive(Debug)]
struct Cost {
    /// Function runs by stage; stages that did not run are left out.
    runs: BTreeMap<&'static str, u64>,
    hosts: u64,
    copied: u64,
    encoded: u64,
    outputs: Outputs,
}

impl Cost {
    fn upserts(&self) -> Vec<(ResourceType, Arc<str>)> {
        let fleets = self.outputs.fleets.values().flat_map(|fleet| &fleet.upserts);
        fleets.map(|resource| (resource.kind, resource.name.clone())).collect()
    }

    fn has_runs(&self, expected: &[(&'static str, u64)]) {
        assert_eq!(self.runs, expected.iter().copied().collect(), "runs by stage");
    }
}

struct Scene {
    world: World,
    shape: Shape,
}

impl Scene {
    fn new(shape: Shape, routes: usize) -> Self {
        let mut world = World::new(Config { assume_programmed: true, ..Config::default() });
        for object in scale::objects(shape, routes) {
            world.apply(Change::Upsert(Box::new(object)));
        }
        let outputs = world.settle();
        let fleet = &outputs.fleets[&FleetKey(NamespacedName::new("default", "gw"))];
        let clusters = fleet.upserts.iter().filter(|r| r.kind == ResourceType::Cluster).count();
        assert_eq!(clusters, SERVICES.min(routes), "the scene is there");
        Self { world, shape }
    }

    fn change(&mut self, object: Object) -> Cost {
        let before = (self.world.counters(), self.world.host_work(), self.world.encoded_bytes());
        self.world.apply(Change::Upsert(Box::new(object)));
        let outputs = self.world.settle();
        let runs = self.world.counters().into_iter().map(|(stage, counters)| {
            let before = before.0.get(stage).map_or(0, |c| c.computed);
            (stage, counters.computed - before)
        });
        let work = self.world.host_work();
        Cost {
            runs: runs.filter(|(_, count)| *count > 0).collect(),
            hosts: work.0 - before.1.0,
            copied: work.1 - before.1.1,
            encoded: self.world.encoded_bytes() - before.2,
            outputs,
        }
    }

    fn edit_route(&mut self, index: usize) -> Cost {
        self.change(scale::route(self.shape, index, "second"))
    }

    /// Endpoint change, certificate rotation and listeners cost the same in every shape.
    fn other_changes_are_bounded(&mut self) {
        let endpoint = self.change(scale::slice(7, 99));
        endpoint.has_runs(&[("endpoints", 1)]);
        assert_eq!(endpoint.upserts(), [(ResourceType::Endpoint, "service/default/svc-7/80".into())]);
        assert_eq!((endpoint.hosts, endpoint.encoded, endpoint.outputs.statuses.len()), (0, 0, 0));

        let rotation = self.change(scale::certificate(SECOND));
        rotation.has_runs(&[("key_pairs", 1), ("certificates", 1), ("ports", 1), ("status/gateways", 1)]);
        assert_eq!(rotation.upserts(), [(ResourceType::Secret, "default/cert".into())]);
        assert_eq!((rotation.hosts, rotation.encoded, rotation.outputs.statuses.len()), (0, 0, 0));

        let listener = self.change(scale::gateway(&["new.example.org"]));
        assert_eq!(listener.runs.get("bindings"), None, "no route looked for the new hostname");
        assert_eq!(listener.runs.get("status/routes"), None);
        assert_eq!(listener.upserts().len(), 1, "its virtual host");
        assert_eq!(listener.outputs.statuses.len(), 1, "the Gateway");
    }
}

fn one_route_was_edited(cost: &Cost) {
    cost.has_runs(&[("bindings", 1), ("lowered", 1), ("fragments", 1), ("status/routes", 1)]);
    assert_eq!(cost.hosts, 1);
    assert_eq!(cost.outputs.fleets.len(), 1);
    assert_eq!(cost.upserts().len(), 1, "one virtual host");
    assert!(cost.outputs.statuses.is_empty(), "the status did not change");
}

#[test]
fn one_edit_among_ten_thousand_hostnames_costs_one_rule() {
    let mut scene = Scene::new(Shape::Hosts, ROUTES);
    let cost = scene.edit_route(4711);
    one_route_was_edited(&cost);
    assert!(cost.encoded < ONE_RULE && cost.copied < 2 * ONE_RULE, "{cost:?}");
    assert_eq!(cost.outputs.fleets.values().map(|f| f.edges.len()).sum::<usize>(), 2);
    scene.other_changes_are_bounded();
}

#[test]
fn one_edit_among_ten_thousand_routes_of_one_host_encodes_one_rule() {
    let mut scene = Scene::new(Shape::OneHost(1), ROUTES);
    let cost = scene.edit_route(4711);
    one_route_was_edited(&cost);
    assert!(cost.encoded < ONE_RULE, "{} bytes encoded", cost.encoded);
    assert!(cost.copied < ONE_RULE * ROUTES as u64, "the host is put together once");
    assert_eq!(cost.outputs.fleets.values().map(|f| f.edges.len()).sum::<usize>(), 2);
    scene.other_changes_are_bounded();
}

#[test]
fn one_edit_among_routes_of_sixteen_rules_encodes_its_own_rules() {
    let mut scene = Scene::new(Shape::OneHost(16), ROUTES / 16);
    let cost = scene.edit_route(321);
    one_route_was_edited(&cost);
    assert!(cost.encoded < 16 * ONE_RULE, "{} bytes encoded", cost.encoded);
    assert_eq!(cost.outputs.fleets.values().map(|f| f.edges.len()).sum::<usize>(), 32);
    scene.other_changes_are_bounded();
}

#[test]
fn equal_objects_cost_nothing() {
    let mut scene = Scene::new(Shape::Hosts, 100);
    let cost = scene.change(scale::route(Shape::Hosts, 5, "first"));
    cost.has_runs(&[]);
    assert_eq!(cost.outputs, Outputs::default());
}
