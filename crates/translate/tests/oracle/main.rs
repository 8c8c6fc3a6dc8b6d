//! What the translation makes of random worlds, against an oracle that is written from the specification's text.
//!
//! ```text
//! world --> translation --> resources --> a small model of how Envoy chooses --+--> equal?
//!       \-> gatehouse_testkit::oracle -----------------------------------------+
//! ```
//!
//! That the model is right about Envoy is shown by `live`: there a real one answers the same requests.

mod envoy;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fmt;

use gatehouse_testkit::objects;
use gatehouse_testkit::oracle::{self, Answer, Deed, Request, World};
use gatehouse_translate::{Change, Config, Hosting};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use support::Picture;

fn translate(world: &World) -> Picture {
    let mut translation = gatehouse_translate::World::new(Config {
        hosting: Hosting::Pods,
        assume_programmed: true,
        ..Config::default()
    });
    for document in world.documents() {
        translation.apply(Change::Upsert(Box::new(objects::written(document))));
    }
    let mut picture = Picture::default();
    picture.absorb(translation.settle());
    picture
}

/// A world and requests for it. In print it is nothing: what fails says what of it matters.
#[derive(Clone)]
struct Case(World, Vec<Request>);

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(see above)")
    }
}

fn cases() -> impl Strategy<Value = Case> {
    (oracle::worlds(), oracle::requests(60)).prop_map(|(world, requests)| Case(world, requests))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_are_answered_as_the_specification_says(Case(world, requests) in cases()) {
        let proxies = envoy::proxies(&translate(&world));
        for request in &requests {
            let expected = oracle::answer(&world, request).answer;
            let answer = answer_of(&proxies, &world, request);
            prop_assert!(
                answer == expected,
                "{}\nthe specification: {expected:?}\nthe proxy:         {answer:?}",
                oracle::describe(&world, request),
            );
        }
    }
}

fn answer_of(proxies: &BTreeMap<String, envoy::Proxy>, world: &World, request: &Request) -> Answer {
    let gateway = world.gateways.get(request.gateway).map(|gateway| gateway.name.text());
    let proxy = gateway.and_then(|gateway| proxies.get(&gateway));
    proxy.map_or(Answer::Refused, |proxy| proxy.answer(request))
}

/// Without this the property above could hold because nothing ever collides.
#[test]
fn the_universe_reaches_every_rule_of_precedence() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..400 {
        let world = oracle::worlds().new_tree(&mut runner).expect("a world").current();
        for request in oracle::requests(60).new_tree(&mut runner).expect("requests").current() {
            let verdict = oracle::answer(&world, &request);
            let what = match verdict.answer {
                Answer::Rule(_, Deed::Forwards(_)) => "forwards".to_owned(),
                Answer::Rule(_, deed) => format!("{deed:?}"),
                other => format!("{other:?}"),
            };
            *seen.entry(what).or_default() += 1;
            *seen.entry(verdict.decided_by.unwrap_or("alone").to_owned()).or_default() += 1;
        }
        for gateway in &world.gateways {
            for merged in oracle::merged(&world, gateway) {
                let whose = if merged.set.is_some() { "of a set" } else { "of a Gateway" };
                let what = if merged.conflicted { "in conflict" } else { "serving" };
                *seen.entry(format!("listener {whose} {what}")).or_default() += 1;
            }
        }
    }
    let wanted = [
        "Redirects",
        "forwards",
        "Fails",
        "NotFound",
        "Misdirected",
        "Refused",
        "alone",
        "characters of the exact hostname",
        "characters of the hostname",
        "kind",
        "type of the path",
        "characters of the path",
        "method",
        "headers",
        "query parameters",
        "characters of the service",
        "characters of the method",
        "age",
        "name",
        "place of the rule",
        "listener of a set in conflict",
        "listener of a set serving",
        "listener of a Gateway in conflict",
        "listener of a Gateway serving",
    ];
    for what in wanted {
        assert!(seen.get(what).is_some_and(|count| *count >= 10), "{what}: {seen:#?}");
    }
}
