//! Random histories: whatever happens, the client ends with the table, and nothing breaks on the way.

use std::time::Duration;

use gatehouse_model::ResourceType;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, RngAlgorithm, TestRng, TestRunner};

use super::harness::Harness;
use super::world::World;
use crate::config::Config;

#[derive(Clone, Debug)]
enum Step {
    Host { table: u8, id: u8, cluster: u8, version: u8, bad: bool },
    Unhost { table: u8, id: u8 },
    Listener { n: u8, version: u8, names: Option<u8>, secret: bool, bad: bool },
    Unlisten { n: u8 },
    Cluster { n: u8, version: u8, eds: bool, secret: bool, bad: bool },
    Endpoints { n: u8, version: u8, bad: bool },
    Secret { n: u8, version: u8 },
    Commit,
    Serve(u8),
    Receive(u8),
    Pass(u16),
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bad = || prop::bool::weighted(0.15);
    let step = prop_oneof![
        6 => (0..3u8, 0..3u8, 0..5u8, 0..3u8, bad())
            .prop_map(|(table, id, cluster, version, bad)| Step::Host { table, id, cluster, version, bad }),
        2 => (0..3u8, 0..3u8).prop_map(|(table, id)| Step::Unhost { table, id }),
        3 => (0..3u8, 0..3u8, prop::option::weighted(0.3, 0..5u8), any::<bool>(), bad())
            .prop_map(|(n, version, names, secret, bad)| Step::Listener { n, version, names, secret, bad }),
        1 => (0..3u8).prop_map(|n| Step::Unlisten { n }),
        4 => (0..5u8, 0..3u8, prop::bool::weighted(0.8), any::<bool>(), bad())
            .prop_map(|(n, version, eds, secret, bad)| Step::Cluster { n, version, eds, secret, bad }),
        2 => (0..5u8, 0..3u8, bad()).prop_map(|(n, version, bad)| Step::Endpoints { n, version, bad }),
        1 => (0..2u8, 0..3u8).prop_map(|(n, version)| Step::Secret { n, version }),
        6 => Just(Step::Commit),
        8 => (1..6u8).prop_map(Step::Serve),
        8 => (1..6u8).prop_map(Step::Receive),
        3 => (1..20_000u16).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 1..80)
}

fn word(bad: bool) -> &'static str {
    if bad { "bad" } else { "" }
}

fn take(step: &Step, world: &mut World, harness: &mut Harness) {
    match step {
        Step::Host { table, id, cluster, version, bad } => {
            let extra = format!("domain:d{id} v{version} {}", word(*bad));
            world.host(&format!("r{table}"), &format!("h{id}"), &[&format!("c{cluster}")], &extra);
        }
        Step::Unhost { table, id } => world.unhost(&format!("r{table}"), &format!("h{id}")),
        Step::Listener { n, version, names, secret, bad } => {
            let names = names.map(|cluster| format!("names:c{cluster}")).unwrap_or_default();
            let secret = if *secret { "secret:s0" } else { "" };
            world.listener(&n.to_string(), &format!("v{version} {names} {secret} {}", word(*bad)));
        }
        Step::Unlisten { n } => drop(world.listeners.remove(&format!("l{n}"))),
        Step::Cluster { n, version, eds, secret, bad } => {
            let (eds, secret) = (if *eds { "eds" } else { "static" }, if *secret { "secret:s1" } else { "" });
            world.clusters.insert(format!("c{n}"), format!("{eds} v{version} {secret} {}", word(*bad)));
        }
        Step::Endpoints { n, version, bad } => {
            world.endpoints.insert(format!("c{n}"), format!("v{version} {}", word(*bad)));
        }
        Step::Secret { n, version } => drop(world.secrets.insert(format!("s{n}"), format!("v{version}"))),
        Step::Commit => harness.commit(world.commit()),
        Step::Serve(n) => (0..*n).for_each(|_| _ = harness.serve()),
        Step::Receive(n) => (0..*n).for_each(|_| _ = harness.receive()),
        Step::Pass(millis) => harness.pass(Duration::from_millis(u64::from(*millis))),
        Step::Reconnect => harness.reconnect(),
    }
}

fn runner(cases: u32) -> TestRunner {
    let config = Runner { cases, failure_persistence: None, ..Runner::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

#[test]
fn any_history_ends_with_the_table_and_breaks_nothing_on_the_way() {
    let run = |(steps, interims): (Vec<Step>, bool)| {
        let mut world = World::with_interims(interims);
        let mut harness = Harness::new();
        harness.commit(world.commit());
        for step in &steps {
            take(step, &mut world, &mut harness);
            harness.assert_unbroken();
        }
        world.mend();
        harness.commit(world.commit());
        harness.drain();
        // A cluster that was overtaken by its own change may be stuck until the server's patience ends, not longer.
        for _ in 0..3 {
            harness.pass(Config::default().cluster_patience);
            harness.drain();
        }
        assert_eq!(harness.client.warming(), Vec::<String>::new(), "Envoy would wait for 15 seconds");
        harness.rest();
        harness.assert_synced();
        harness.assert_unbroken();
        harness.reconnect();
        harness.drain();
        harness.sent.retain(|response| !response.resources.is_empty() || !response.removed.is_empty());
        assert_eq!(harness.sent, Vec::new(), "a client that has everything is sent nothing");
        harness.rest();
        harness.assert_synced();
        Ok(())
    };
    runner(4000).run(&(steps(), any::<bool>()), run).unwrap();
}

#[test]
fn a_reconnecting_client_is_sent_only_the_difference() {
    let run = |(before, after): (Vec<Step>, Vec<Step>)| {
        let mut world = World::default();
        let mut harness = Harness::new();
        let world_only = |step: &Step| !matches!(step, Step::Reconnect);
        for step in before.iter().filter(|step| world_only(step)) {
            take(step, &mut world, &mut harness);
        }
        world.mend();
        harness.commit(world.commit());
        harness.rest();
        // The connection is gone while the world goes on.
        for step in
            after.iter().filter(|step| !matches!(step, Step::Serve(_) | Step::Receive(_) | Step::Reconnect))
        {
            take(step, &mut world, &mut harness);
        }
        world.mend();
        let before: Vec<_> =
            ResourceType::ALL.map(|of| harness.client.effective(super::harness::kind(of))).into();
        harness.commit(world.commit());
        harness.reconnect();
        harness.rest();
        harness.assert_synced();
        harness.assert_unbroken();
        for of in [ResourceType::Listener, ResourceType::Cluster] {
            for name in harness.names_sent(of) {
                let now = harness.expected(of).remove(&name);
                assert_ne!(
                    before[of.rank()].get(&name),
                    now.as_ref(),
                    "{name} was sent although the client has it"
                );
            }
        }
        Ok(())
    };
    runner(1000).run(&(steps(), steps()), run).unwrap();
}
