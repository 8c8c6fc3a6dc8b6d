//! Random edits of rules that collide, with answers that come late or not at all.

use std::collections::BTreeMap;

use gatehouse_testkit::scale;
use gatehouse_translate::{Change, Resource};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

use super::scene::{SHAPE, Scene, what};

const ROUTES: usize = 3;
/// Most of one length: they take each other's places. The last is a match that no proxy takes.
const PATHS: [&str; 6] = ["/a", "/b", "/c", "/d", "/longer", "/poison"];

/// Path, header value, Service.
type Rule = (&'static str, &'static str, &'static str);

#[derive(Clone, Debug)]
enum Event {
    Edit(usize, Vec<Rule>),
    Remove(usize),
    /// Everything so far is worked in.
    Settle,
    /// The proxies answer to one of the last versions, which may be overtaken.
    Answer(usize),
}

fn rules(values: &'static [&'static str]) -> impl Strategy<Value = Vec<Rule>> {
    let paths = subsequence(PATHS.to_vec(), 1..4).prop_shuffle();
    let rest =
        proptest::collection::vec((select(values), prop_oneof![3 => Just("svc-1"), 1 => Just("svc-2")]), 3);
    (paths, rest).prop_map(|(paths, rest)| {
        paths.into_iter().zip(rest).map(|(path, (value, service))| (path, value, service)).collect()
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (0..ROUTES, rules(&["one", "one", "two", "three", "poison-one", "poison-two"]))
            .prop_map(|(route, rules)| Event::Edit(route, rules)),
        1 => (0..ROUTES).prop_map(Event::Remove),
        4 => Just(Event::Settle),
        4 => prop_oneof![3 => Just(0), 1 => 1..3usize].prop_map(Event::Answer),
    ]
}

/// The scene with what its routes say now.
struct Story {
    scene: Scene,
    routes: BTreeMap<usize, Vec<Rule>>,
    sent: Vec<Resource>,
}

impl Story {
    fn new() -> Self {
        let scene = Scene::new(0, "poison");
        Self { scene, routes: BTreeMap::new(), sent: Vec::new() }
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Edit(route, rules) => {
                self.scene.forward(*route, rules);
                self.routes.insert(*route, rules.clone());
            }
            Event::Remove(route) => {
                self.scene.world.apply(Change::Remove(scale::route(SHAPE, *route, "").key()));
                self.routes.remove(route);
            }
            Event::Settle => {
                self.sent.extend(self.scene.send());
                self.check();
            }
            Event::Answer(age) => {
                if let Some(host) = self.sent.iter().rev().nth(*age).cloned() {
                    self.scene.answer(&host);
                }
            }
        }
    }

    /// The proxies answer until nothing changes. An answer to a version that came back is told again.
    fn rest(&mut self) {
        self.sent.extend(self.scene.send());
        for _ in 0..200 {
            self.check();
            let Some(host) = self.scene.host() else { return };
            let accepted = self.scene.answer(&host);
            if self.scene.send().is_none() {
                assert!(accepted, "the search is over, and this is still refused");
                return;
            }
        }
        panic!("it never ends");
    }

    /// Nothing that a route says no more is served.
    fn check(&self) {
        for (route, path, served) in self.served() {
            let rules = &self.routes[&route];
            let rule = rules.iter().find(|(own, _, _)| *own == path);
            let (_, _, service) = rule.unwrap_or_else(|| panic!("route {route} is not for {path}"));
            let cluster = served["route"]["cluster"].as_str();
            assert!(cluster.is_none_or(|cluster| cluster.contains(service)), "route {route}: {cluster:?}");
        }
    }

    /// What the host holds: route, path, Envoy route.
    fn served(&self) -> Vec<(usize, String, Value)> {
        let routes = self.scene.routes().into_iter().map(|route| {
            let name = route["name"].as_str().expect("a name");
            let index = name.trim_start_matches("httproute/default/route-").split('/').next();
            let index = index.and_then(|index| index.parse().ok()).expect("one of our routes");
            let path = route["match"]["path_separated_prefix"].as_str().expect("a path").to_owned();
            (index, path, route)
        });
        routes.collect()
    }

    fn serving(&self) -> BTreeMap<(usize, String), Value> {
        self.served().into_iter().map(|(route, path, served)| ((route, path), served)).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn good_rules_serve_and_bad_ones_serve_what_was_last_good(
        events in proptest::collection::vec(event(), 5..40),
        last in (0..ROUTES, rules(&["one", "four", "five", "poison-last"])),
    ) {
        let mut story = Story::new();
        for event in &events {
            story.take(event);
        }
        story.rest();
        for (key, served) in story.serving() {
            let rule = story.routes[&key.0].iter().find(|(path, _, _)| *path == key.1);
            let (_, value, _) = rule.expect("checked before");
            prop_assert!(value.contains("poison") || what(&served) == *value, "{:?}: {}", key, served);
        }
        let before = story.serving();
        let (route, rules) = last;
        story.take(&Event::Edit(route, rules.clone()));
        story.rest();
        let after = story.serving();
        for (path, value, service) in rules {
            let key = (route, path.to_owned());
            let good = before.get(&key).filter(|old| {
                old["route"]["cluster"].as_str().is_none_or(|cluster| cluster.contains(service))
            });
            let expected = if path.contains("poison") {
                None
            } else if value.contains("poison") {
                Some(good.map_or("500".to_owned(), what))
            } else {
                Some(value.to_owned())
            };
            prop_assert_eq!(after.get(&key).map(what), expected, "{:?}", key);
        }
        for (key, served) in before.iter().filter(|((other, _), _)| *other != route) {
            prop_assert_eq!(after.get(key), Some(served), "{:?}", key);
        }
    }
}
