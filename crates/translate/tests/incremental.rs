//! Any sequence of changes ends where a fresh world over the final facts begins.

mod support;

use gatehouse_testkit::events::{Event, Known, events, final_facts, secrets};
use gatehouse_translate::{Change, Config, SecretSource};
use proptest::prelude::*;
use support::Picture;
use support::proxies::{Proxies, Withheld};

fn proxies() -> Proxies {
    Proxies::new(Config { secrets: SecretSource::OnDemand, ..Config::default() })
}

/// Applies events one by one, settling where they say so; in the end every Secret is known and everything answered.
fn step_by_step(events: &[Event], check: bool) -> Proxies {
    let mut proxies = proxies();
    for event in events {
        match event.clone() {
            Event::Upsert(object) => proxies.world.apply(Change::Upsert(object)),
            Event::Remove(key) => proxies.world.apply(Change::Remove(key)),
            Event::Forget(key) => proxies.world.apply(Change::Forget(key)),
            Event::Answer(answer) => proxies.answer(answer),
            Event::Settle => {
                proxies.settle();
                if check {
                    assert_eq!(proxies.picture.dangling(), Vec::<String>::new(), "between the events");
                }
            }
        }
    }
    proxies.settle();
    let known = final_facts(events);
    for secret in secrets().into_iter().filter(|secret| !known.contains_key(secret)) {
        proxies.world.apply(Change::Remove(secret));
    }
    proxies.settle();
    proxies.answer_all();
    proxies
}

/// The final facts at once, in the reverse order of their keys; then every answer that still counts. Also gives what
/// the proxies refuse of it.
fn at_once(events: &[Event], stepped: &Proxies) -> (Proxies, Withheld) {
    let mut proxies = proxies();
    let mut known = final_facts(events);
    for secret in secrets() {
        known.entry(secret).or_insert(Known::Absent);
    }
    for (key, fact) in known.into_iter().rev() {
        proxies.world.apply(match fact {
            Known::Present(object) => Change::Upsert(object),
            Known::Absent => Change::Remove(key),
        });
    }
    proxies.settle();
    let refused = Withheld::of(&proxies.picture);
    proxies.repeat(stepped);
    proxies.answer_all();
    (proxies, refused)
}

/// A rule that proxies refuse keeps its last good bytes, of which a fresh world knows nothing: all else is equal.
fn compare(stepped: &Picture, fresh: &Picture, refused: &Withheld) -> Result<(), TestCaseError> {
    prop_assert_eq!(&stepped.statuses, &fresh.statuses);
    prop_assert_eq!(stepped.fleets.keys().collect::<Vec<_>>(), fresh.fleets.keys().collect::<Vec<_>>());
    for (key, fleet) in &stepped.fleets {
        let other = &fresh.fleets[key];
        let names = |fleet: &support::Fleet| fleet.resources.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(fleet), names(other), "{}", key);
        for (name, resource) in &fleet.resources {
            if refused.is_in(key, &name.1) {
                let (here, there) = (refused.rest(key, resource), refused.rest(key, &other.resources[name]));
                prop_assert_eq!(here, there, "{}", name.1);
                continue;
            }
            let text = || format!("{:#}", support::decode(resource));
            let other_text = || format!("{:#}", support::decode(&other.resources[name]));
            prop_assert!(resource == &other.resources[name], "{}\n{}", text(), other_text());
        }
        let edges = |fleet: &support::Fleet| -> Vec<_> {
            let certain = fleet.edges.iter().filter(|((from, _), _)| !refused.is_in(key, &from.1));
            certain.map(|(edge, count)| (edge.clone(), *count)).collect()
        };
        prop_assert_eq!(edges(fleet), edges(other));
        prop_assert_eq!(&fleet.watches, &other.watches);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_end_where_a_fresh_world_begins(events in events(20..120), check in prop::bool::weighted(0.25)) {
        let stepped = step_by_step(&events, check);
        let (fresh, refused) = at_once(&events, &stepped);
        compare(&stepped.picture, &fresh.picture, &refused)?;
        prop_assert_eq!(stepped.picture.dangling(), Vec::<String>::new());
        prop_assert_eq!(fresh.picture.dangling(), Vec::<String>::new());
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
        let (Proxies { picture, .. }, refused) = at_once(&events, &step_by_step(&events, false));
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
        *seen.entry("refused rules".to_owned()).or_default() += usize::from(!refused.is_empty());
        for word in ["RefusedByProxy", "BackendNotReady", "a proxy holds the listener", "certificate Secret"]
        {
            let said = picture.statuses.values().any(|status| status.to_string().contains(word));
            *seen.entry(word.to_owned()).or_default() += usize::from(said);
        }
        *seen.entry("accepted sets".to_owned()).or_default() += usize::from(accepted > 0);
    }
    for kind in [Cluster, Listener, Secret, VirtualHost] {
        assert!(seen[&format!("{kind:?}")] > 20, "{seen:?}");
    }
    for word in ["refused rules", "RefusedByProxy", "a proxy holds the listener"] {
        assert!(seen[word] > 20, "{seen:?}");
    }
    assert!(seen["BackendNotReady"] > 3 && seen["certificate Secret"] > 3, "{seen:?}");
    assert!(seen["edges"] > 30 && seen["two fleets"] > 30 && seen["accepted sets"] > 30, "{seen:?}");
}
