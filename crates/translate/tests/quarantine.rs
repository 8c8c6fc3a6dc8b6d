//! A proxy refuses a virtual host: only the bad rules stay behind, and their routes say so.

mod support;

use std::sync::Arc;

use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::scale::{self, Shape};
use gatehouse_translate::{Change, Config, Outputs, World};
use support::{Picture, decode};

const SHAPE: Shape = Shape::OneHost(1);
const HOST: &str = "default/gw/80/http/one.example.com";

/// A world and a proxy that refuses every host in which a text stands.
struct Scene {
    world: World,
    picture: Picture,
    poison: &'static str,
}

impl Scene {
    fn new(routes: usize, poison: &'static str) -> Self {
        let world = World::new(Config { assume_programmed: true, ..Config::default() });
        let mut scene = Self { world, picture: Picture::default(), poison };
        for object in scale::objects(SHAPE, routes) {
            scene.world.apply(Change::Upsert(Box::new(object)));
        }
        assert_eq!(scene.run(), 0, "nothing is wrong yet");
        scene
    }

    fn edit(&mut self, index: usize, value: &str) {
        self.world.apply(Change::Upsert(Box::new(scale::route(SHAPE, index, value))));
    }

    fn settle(&mut self) -> Outputs {
        let outputs = self.world.settle();
        self.picture.absorb(outputs.clone());
        assert_eq!(self.world.take_panics(), []);
        outputs
    }

    /// Settles and answers until nothing changes; returns how often the proxy refused the host.
    fn run(&mut self) -> usize {
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
    fn step(&mut self) -> Option<bool> {
        let fleet = FleetKey(NamespacedName::new("default", "gw"));
        let outputs = self.settle();
        let upserts = outputs.fleets.get(&fleet).map(|change| change.upserts.clone()).unwrap_or_default();
        let host = upserts.into_iter().find(|resource| *resource.name == *HOST)?;
        let accepted = !decode(&host).to_string().contains(self.poison);
        let words = Arc::from("poisoned");
        for _proxy in 0..2 {
            if accepted {
                self.world.host_acknowledged(&fleet, HOST, &host.version);
            } else {
                self.world.host_refused(&fleet, HOST, &host.version, &words);
            }
        }
        Some(accepted)
    }

    /// What the host does for a route: the header value that it sets, or the status that it answers.
    fn does(&self, index: usize) -> Option<String> {
        let fleet = self.picture.fleets.values().next().expect("a fleet");
        let json = decode(&fleet.resources[&(ResourceType::VirtualHost, HOST.into())]);
        let name = format!("httproute/default/route-{index}/rule/0/match/0");
        let route = json["routes"].as_array()?.iter().find(|route| route["name"] == *name)?;
        let header = route["request_headers_to_add"][0]["header"]["value"].as_str();
        header.map(str::to_owned).or_else(|| Some(route["direct_response"]["status"].to_string()))
    }

    fn refused_routes(&self) -> Vec<String> {
        let says = |status: &&serde_json::Value| status.to_string().contains("RefusedByProxy");
        let refused = self.picture.statuses.iter().filter(|(_, status)| says(status));
        refused.map(|(object, _)| object.name.clone()).collect()
    }
}

#[test]
fn one_bad_edit_among_many_keeps_its_last_good_bytes_and_the_others_serve() {
    let mut scene = Scene::new(200, "poison");
    for index in 0..100 {
        scene.edit(index, if index == 42 { "poison" } else { "second" });
    }
    let refusals = scene.run();
    assert!((1..=12).contains(&refusals), "{refusals} refusals");
    assert_eq!(scene.does(42).as_deref(), Some("first"));
    assert!(
        (0..100).filter(|index| *index != 42).all(|index| scene.does(index).as_deref() == Some("second"))
    );
    assert_eq!(scene.refused_routes(), ["route-42"]);

    scene.edit(7, "third");
    assert_eq!(scene.run(), 0, "the others stay editable");
    assert_eq!(scene.does(7).as_deref(), Some("third"));

    scene.edit(42, "mended");
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.does(42).as_deref(), Some("mended"));
    assert_eq!(scene.refused_routes(), Vec::<String>::new());
}

#[test]
fn new_bad_rules_answer_500() {
    let mut scene = Scene::new(5, "poison");
    for index in 10..40 {
        scene.edit(index, if index % 10 == 3 { "poison" } else { "new" });
    }
    scene.run();
    for index in 10..40 {
        let expected = if index % 10 == 3 { "500" } else { "new" };
        assert_eq!(scene.does(index).as_deref(), Some(expected), "route {index}");
    }
    assert_eq!(scene.refused_routes(), ["route-13", "route-23", "route-33"]);
}

#[test]
fn bad_match_leaves_nothing_behind() {
    let mut scene = Scene::new(5, "/route-23/");
    for index in 10..40 {
        scene.edit(index, "new");
    }
    scene.run();
    assert!((10..40).filter(|index| *index != 23).all(|index| scene.does(index).as_deref() == Some("new")));
    assert_eq!(scene.does(23), None);
    assert_eq!(scene.refused_routes(), ["route-23"]);
}

#[test]
fn edits_during_the_search_are_worked_in() {
    let mut scene = Scene::new(100, "poison");
    for index in 0..60 {
        scene.edit(index, if index == 33 { "poison" } else { "second" });
    }
    for round in 0..4 {
        assert!(scene.step().is_some(), "the search goes on");
        scene.edit(70 + round, "meanwhile");
    }
    scene.world.apply(Change::Remove(scale::route(SHAPE, 50, "second").key()));
    scene.run();
    assert_eq!(scene.does(33).as_deref(), Some("first"));
    assert_eq!(scene.does(50), None);
    assert!(
        (0..60).filter(|i| ![33, 50].contains(i)).all(|index| scene.does(index).as_deref() == Some("second"))
    );
    assert!((70..74).all(|index| scene.does(index).as_deref() == Some("meanwhile")));
    assert_eq!(scene.refused_routes(), ["route-33"]);
}

#[test]
fn known_bad_bytes_are_not_sent_again() {
    let mut scene = Scene::new(20, "poison");
    scene.edit(5, "poison");
    assert!(scene.run() > 0);
    scene.edit(5, "good");
    scene.run();
    scene.edit(5, "poison");
    assert_eq!(scene.run(), 0);
    assert_eq!(scene.does(5).as_deref(), Some("good"));
    assert_eq!(scene.refused_routes(), ["route-5"]);
}
