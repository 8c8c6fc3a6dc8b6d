//! Any sequence of changes ends where a fresh world over the final facts begins.

mod support;

use gatehouse_testkit::events::{Event, Known, events, final_facts, secrets};
use gatehouse_translate::{Change, Config, SecretSource, World};
use proptest::prelude::*;
use support::Picture;

fn config() -> Config {
    Config { assume_programmed: true, secrets: SecretSource::OnDemand, ..Config::default() }
}

fn settle(world: &mut World, picture: &mut Picture) {
    picture.absorb(world.settle());
    assert_eq!(world.take_panics(), []);
}

/// Applies events one by one, settling where they say so; in the end every Secret is known.
fn step_by_step(events: &[Event], check: bool) -> Picture {
    let mut world = World::new(config());
    let mut picture = Picture::default();
    for event in events {
        match event.clone() {
            Event::Upsert(object) => world.apply(Change::Upsert(object)),
            Event::Remove(key) => world.apply(Change::Remove(key)),
            Event::Forget(key) => world.apply(Change::Forget(key)),
            Event::Settle => {
                settle(&mut world, &mut picture);
                if check {
                    assert_eq!(picture.dangling(), Vec::<String>::new(), "between the events");
                }
            }
        }
    }
    settle(&mut world, &mut picture);
    let known = final_facts(events);
    for secret in secrets().into_iter().filter(|secret| !known.contains_key(secret)) {
        world.apply(Change::Remove(secret));
    }
    settle(&mut world, &mut picture);
    picture
}

/// The final facts at once, in the reverse order of their keys.
fn at_once(events: &[Event]) -> Picture {
    let mut world = World::new(config());
    let mut known = final_facts(events);
    for secret in secrets() {
        known.entry(secret).or_insert(Known::Absent);
    }
    for (key, fact) in known.into_iter().rev() {
        world.apply(match fact {
            Known::Present(object) => Change::Upsert(object),
            Known::Absent => Change::Remove(key),
        });
    }
    let mut picture = Picture::default();
    settle(&mut world, &mut picture);
    picture
}

fn compare(stepped: &Picture, fresh: &Picture) -> Result<(), TestCaseError> {
    prop_assert_eq!(&stepped.statuses, &fresh.statuses);
    prop_assert_eq!(stepped.fleets.keys().collect::<Vec<_>>(), fresh.fleets.keys().collect::<Vec<_>>());
    for (key, fleet) in &stepped.fleets {
        let other = &fresh.fleets[key];
        let names = |fleet: &support::Fleet| fleet.resources.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(fleet), names(other), "{}", key);
        for (name, resource) in &fleet.resources {
            let text = || format!("{:#}", support::decode(resource));
            let other_text = || format!("{:#}", support::decode(&other.resources[name]));
            prop_assert!(resource == &other.resources[name], "{}\n{}", text(), other_text());
        }
        prop_assert_eq!(&fleet.edges, &other.edges);
        prop_assert_eq!(&fleet.watches, &other.watches);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_end_where_a_fresh_world_begins(events in events(20..120), check in prop::bool::weighted(0.25)) {
        let stepped = step_by_step(&events, check);
        let fresh = at_once(&events);
        compare(&stepped, &fresh)?;
        prop_assert_eq!(fresh.dangling(), Vec::<String>::new());
    }
}

/// Without this the property above could hold because nothing ever happens.
#[test]
fn the_universe_reaches_what_matters() {
    use gatehouse_model::ResourceType::{Cluster, Listener, Secret, VirtualHost};
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for _ in 0..200 {
        let events = events(20..120).new_tree(&mut runner).expect("events").current();
        let picture = at_once(&events);
        let fleets = picture.fleets.values();
        let kinds: std::collections::BTreeSet<_> =
            fleets.clone().flat_map(|fleet| fleet.resources.keys().map(|(kind, _)| *kind)).collect();
        for kind in kinds {
            *seen.entry(format!("{kind:?}")).or_default() += 1;
        }
        *seen.entry("edges".to_owned()).or_default() +=
            usize::from(fleets.clone().any(|f| !f.edges.is_empty()));
        *seen.entry("two fleets".to_owned()).or_default() += usize::from(picture.fleets.len() > 1);
        let sets = picture.statuses.iter().filter(|(object, _)| object.kind == "ListenerSet");
        let accepted = sets.filter(|(_, status)| status["conditions"][0]["status"] == "True").count();
        *seen.entry("accepted sets".to_owned()).or_default() += usize::from(accepted > 0);
    }
    for kind in [Cluster, Listener, Secret, VirtualHost] {
        assert!(seen[&format!("{kind:?}")] > 20, "{seen:?}");
    }
    assert!(seen["edges"] > 30 && seen["two fleets"] > 30 && seen["accepted sets"] > 30, "{seen:?}");
}
