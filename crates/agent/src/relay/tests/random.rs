//! Random histories: whatever happens, Envoy and the shelf end with what the controller serves.

use std::time::Duration;

use gatehouse_model::ResourceType;
use proptest::prelude::*;
use proptest::test_runner::{Config as Runner, RngAlgorithm, TestRng, TestRunner};

use super::harness::Harness;

#[derive(Clone, Debug)]
enum Step {
    Site { n: u8, version: u8, bad: bool },
    Unsite(u8),
    Cluster { n: u8, version: u8, secret: bool },
    Commit,
    Move { way: u8, times: u8 },
    Cut,
    Link,
    ResetEnvoy,
    RestartEnvoy,
    RestartAgent,
    Pass(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (0..4_u8, 0..3_u8, prop::bool::weighted(0.15))
            .prop_map(|(n, version, bad)| Step::Site { n, version, bad }),
        2 => (0..4_u8).prop_map(Step::Unsite),
        2 => (0..4_u8, 0..3_u8, any::<bool>()).prop_map(|(n, version, secret)| Step::Cluster { n, version, secret }),
        5 => Just(Step::Commit),
        24 => (0..4_u8, 1..5_u8).prop_map(|(way, times)| Step::Move { way, times }),
        2 => Just(Step::Cut),
        5 => Just(Step::Link),
        1 => Just(Step::ResetEnvoy),
        1 => Just(Step::RestartEnvoy),
        1 => Just(Step::RestartAgent),
        2 => (1..3_000_u16).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..100)
}

fn take(step: &Step, harness: &mut Harness) {
    match step {
        Step::Site { n, version, bad } => {
            harness.site(*n, &format!("v{version} {}", if *bad { "bad" } else { "" }));
        }
        Step::Unsite(n) => harness.unsite(*n),
        Step::Cluster { n, version, secret } => {
            let key = (ResourceType::Cluster, format!("c{n}"));
            if let Some(words) = harness.wanted.get_mut(&key) {
                *words = format!("eds v{version} {}", if *secret { "secret:s" } else { "" });
                harness.wanted.insert((ResourceType::Secret, "s".to_owned()), "secret".to_owned());
            }
        }
        Step::Commit => harness.commit(),
        Step::Move { way, times } => (0..*times).for_each(|_| _ = harness.step(*way)),
        Step::Cut => harness.cut(),
        Step::Link => harness.link(),
        Step::ResetEnvoy => harness.open(),
        Step::RestartEnvoy => harness.restart_envoy(),
        Step::RestartAgent => harness.restart_agent(),
        Step::Pass(millis) => harness.pass(Duration::from_millis(u64::from(*millis))),
    }
}

#[test]
fn any_history_ends_with_the_controllers_table_on_both_sides() {
    let run = |steps: Vec<Step>| {
        let mut harness = Harness::new();
        harness.commit();
        harness.open();
        for step in &steps {
            take(step, &mut harness);
        }
        for words in harness.wanted.values_mut() {
            *words = words.replace("bad", "mended");
        }
        harness.commit();
        harness.link();
        harness.rest();
        harness.assert_synced();

        // What everybody has is not sent again.
        harness.cut();
        harness.sent.clear();
        harness.link();
        harness.rest();
        prop_assert_eq!(harness.sent_names(), Vec::<String>::new());
        harness.assert_synced();

        // A new process beside no controller comes up with all of it.
        harness.restart_envoy();
        harness.cut();
        harness.rest();
        harness.assert_synced();
        harness.link();
        harness.rest();
        prop_assert_eq!(harness.sent_names(), Vec::<String>::new());
        harness.assert_synced();
        Ok(())
    };
    let config = Runner { cases: 2000, failure_persistence: None, ..Runner::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    runner.run(&steps(), run).unwrap();
}
