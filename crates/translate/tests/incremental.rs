//! Any sequence of changes ends where a fresh world over the final facts begins.

mod support;

use std::collections::BTreeSet;

use gatehouse_model::{FleetKey, NamespacedName, ResourceType};
use gatehouse_testkit::events::{Event, Known, events, final_facts, secrets};
use gatehouse_translate::{Change, Config, Hosting, SecretSource};
use proptest::prelude::*;
use support::Picture;
use support::proxies::{Proxies, Withheld};

fn on_the_host() -> Config {
    Config { secrets: SecretSource::OnDemand, ..Config::default() }
}

fn in_pods() -> Config {
    Config { hosting: Hosting::Pods, shared_namespace: true, ..on_the_host() }
}

/// Applies events one by one, settling where they say so; in the end every Secret is known and everything answered.
fn step_by_step(config: Config, events: &[Event], check: bool) -> Proxies {
    let mut proxies = Proxies::new(config);
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
fn at_once(config: Config, events: &[Event], stepped: &Proxies) -> (Proxies, Withheld) {
    let mut proxies = Proxies::new(config);
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

/// Gateways whose parameters cannot be followed, or may be so: addresses that are refused are told first.
fn without_parameters(picture: &Picture) -> BTreeSet<FleetKey> {
    let bad = picture.statuses.iter().filter(|(object, status)| {
        let reason = &status["conditions"][0]["reason"];
        object.kind == "Gateway" && (reason == "InvalidParameters" || reason == "UnsupportedAddress")
    });
    bad.map(|(object, _)| FleetKey(NamespacedName::new(&*object.namespace, &*object.name))).collect()
}

/// A rule that proxies refuse keeps its last good bytes, and listeners and endpoints keep their settings while parameters
/// cannot be followed: a fresh world knows nothing of what was before. All else is equal.
fn compare(stepped: &Picture, fresh: &Picture, refused: &Withheld) -> Result<(), TestCaseError> {
    let without_parameters = without_parameters(fresh);
    prop_assert_eq!(&without_parameters, &self::without_parameters(stepped));
    let comparable = |picture: &Picture| {
        let mut statuses = picture.statuses.clone();
        statuses.retain(|object, _| {
            let fleet = FleetKey(NamespacedName::new(&*object.namespace, &*object.name));
            object.kind != "Gateway" || !without_parameters.contains(&fleet)
        });
        statuses
    };
    prop_assert_eq!(comparable(stepped), comparable(fresh));
    prop_assert_eq!(&stepped.plans, &fresh.plans);
    prop_assert_eq!(stepped.fleets.keys().collect::<Vec<_>>(), fresh.fleets.keys().collect::<Vec<_>>());
    for (key, fleet) in &stepped.fleets {
        let other = &fresh.fleets[key];
        let names = |fleet: &support::Fleet| fleet.resources.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(names(fleet), names(other), "{}", key);
        let keeps_settings = without_parameters.contains(key);
        for (name, resource) in &fleet.resources {
            // Where requests for a Service go is a setting, too.
            if keeps_settings && matches!(name.0, ResourceType::Listener | ResourceType::Endpoint) {
                continue;
            }
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
        if !keeps_settings {
            prop_assert_eq!(&fleet.watches, &other.watches);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_end_where_a_fresh_world_begins(events in events(20..120), check in prop::bool::weighted(0.25)) {
        ends_where_a_fresh_one_begins(&on_the_host(), &events, check)?;
    }

    #[test]
    fn steps_with_pods_end_where_a_fresh_world_begins(events in events(20..120), check in prop::bool::weighted(0.25)) {
        ends_where_a_fresh_one_begins(&in_pods(), &events, check)?;
    }
}

fn ends_where_a_fresh_one_begins(
    config: &Config,
    events: &[Event],
    check: bool,
) -> Result<(), TestCaseError> {
    let stepped = step_by_step(config.clone(), events, check);
    let (fresh, refused) = at_once(config.clone(), events, &stepped);
    compare(&stepped.picture, &fresh.picture, &refused)?;
    prop_assert_eq!(stepped.picture.dangling(), Vec::<String>::new());
    prop_assert_eq!(fresh.picture.dangling(), Vec::<String>::new());
    Ok(())
}

/// Without this the property above could hold because nothing ever happens.
#[test]
fn the_universe_reaches_what_matters() {
    use gatehouse_model::ResourceType::{Cluster, Listener, Secret, VirtualHost};
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for _ in 0..400 {
        let events = events(30..160).new_tree(&mut runner).expect("events").current();
        let stepped = step_by_step(in_pods(), &events, false);
        let (Proxies { picture, .. }, refused) = at_once(in_pods(), &events, &stepped);
        let fleets = picture.fleets.values();
        let kinds: std::collections::BTreeSet<_> =
            fleets.clone().flat_map(|fleet| fleet.resources.keys().map(|(kind, _)| *kind)).collect();
        for kind in kinds {
            *seen.entry(format!("{kind:?}")).or_default() += 1;
        }
        *seen.entry("edges".to_owned()).or_default() +=
            usize::from(fleets.clone().any(|f| !f.edges.is_empty()));
        let names = |f: &support::Fleet| f.edges.keys().any(|((from, _), _)| *from == Listener);
        *seen.entry("listeners that name clusters".to_owned()).or_default() +=
            usize::from(fleets.clone().any(names));
        *seen.entry("two fleets".to_owned()).or_default() += usize::from(picture.fleets.len() > 1);
        let listeners = fleets.clone().flat_map(|f| f.resources.values()).filter(|r| r.kind == Listener);
        let traced = listeners.map(support::decode).any(|json| json.to_string().contains("opentelemetry"));
        *seen.entry("listeners that make spans".to_owned()).or_default() += usize::from(traced);
        let sets = picture.statuses.iter().filter(|(object, _)| object.kind == "ListenerSet");
        let accepted = sets.filter(|(_, status)| status["conditions"][0]["status"] == "True").count();
        *seen.entry("refused rules".to_owned()).or_default() += usize::from(!refused.is_empty());
        for word in [
            "RefusedByProxy",
            "BackendNotReady",
            "a proxy holds the listener",
            "certificate Secret",
            "OverlappingCertificates",
            "TargetNotFound",
            "InvalidParameters",
            "UnsupportedFields",
            "not allowed for a single Gateway",
            "all fields have an effect",
            " over EnvoyProxy",
            "DefaultGateway",
            "every request is refused",
            "refused the listener's filters",
            "ClientTrafficPolicy",
        ] {
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
    assert!(seen["OverlappingCertificates"] > 3 && seen["TargetNotFound"] > 3, "{seen:?}");
    assert!(seen["BackendNotReady"] > 3 && seen["certificate Secret"] > 3, "{seen:?}");
    for word in [
        "InvalidParameters",
        "all fields have an effect",
        "not allowed for a single Gateway",
        "DefaultGateway",
        "listeners that make spans",
        "every request is refused",
        "ClientTrafficPolicy",
    ] {
        assert!(seen[word] > 10, "{seen:?}");
    }
    assert!(seen["refused the listener's filters"] > 3, "{seen:?}");
    assert!(seen["UnsupportedFields"] > 3 && seen[" over EnvoyProxy"] > 3, "{seen:?}");
    assert!(seen["listeners that name clusters"] > 3, "{seen:?}");
    assert!(seen["edges"] > 30 && seen["two fleets"] > 30 && seen["accepted sets"] > 30, "{seen:?}");
}
