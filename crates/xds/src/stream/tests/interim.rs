//! A withdrawal never waits for a gate.

use std::time::Duration;

use gatehouse_model::{Interim, ResourceType};

use super::gates::served;
use super::harness::Harness;
use super::world::{World, instead};
use crate::event::Notice;
use crate::table::Commit;

/// A commit in which `r0/h0` comes with these interim words.
fn with_interim(world: &mut World, words: &str) -> Commit {
    let mut commit = world.commit();
    let host = commit.upserts.iter_mut().find(|(_, resource)| &*resource.name == "r0/h0").unwrap();
    host.1.interim = Some(instead(words));
    commit
}

/// Versions of `r0/h0` that were sent.
fn sent(harness: &Harness) -> Vec<String> {
    let hosts = harness.sent.iter().filter(|response| response.kind == ResourceType::VirtualHost);
    hosts.flat_map(|r| &r.resources).map(|(_, body)| body.version.to_string()).collect()
}

#[test]
fn interim_bytes_take_access_away_while_the_rest_waits() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c9"], "domain:a");
    harness.commit(with_interim(&mut world, "domain:a"));
    assert_eq!(sent(&harness), ["v(domain:a)"]);
    harness.rest();
    assert_eq!(sent(&harness), ["v(domain:a)", "v(names:c9 domain:a)"]);
    harness.assert_synced();
    harness.assert_unbroken();
}

#[test]
fn a_second_withdrawal_while_the_first_waits_goes_at_once_too() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c9".into(), "eds bad".into());
    world.host("r0", "h0", &["c0", "c9"], "domain:a");
    harness.commit(with_interim(&mut world, "names:c0 domain:a less"));
    harness.drain();
    world.host("r0", "h0", &["c9"], "domain:a");
    harness.commit(with_interim(&mut world, "domain:a"));
    assert_eq!(sent(&harness), ["v(names:c0 domain:a less)", "v(domain:a)"]);
    harness.rest();
    harness.assert_unbroken();
}

#[test]
fn a_late_client_gets_what_a_change_after_the_withdrawal_left() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c0"], "domain:a changed");
    harness.commit(world.commit());
    world.clusters.insert("c9".into(), "eds bad".into());
    world.host("r0", "h0", &["c9"], "domain:a first");
    harness.commit(with_interim(&mut world, "domain:a first"));
    world.host("r0", "h0", &["c9"], "domain:a second");
    harness.commit(with_interim(&mut world, "domain:a second"));
    assert_eq!(sent(&harness), ["v(names:c0 domain:a changed)"], "it is not acknowledged");
    harness.drain();
    assert_eq!(sent(&harness), ["v(names:c0 domain:a changed)", "v(domain:a second)"]);
}

#[test]
fn interim_bytes_that_name_a_cluster_which_is_not_in_use_wait_too() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c9".into(), "eds bad".into());
    world.host("r0", "h0", &["c9"], "domain:a");
    harness.commit(with_interim(&mut world, "names:c9 names:gone domain:a"));
    harness.drain();
    assert!(sent(&harness).is_empty());
}

#[test]
fn a_client_without_the_resource_has_nothing_to_lose() {
    let (mut world, mut harness) = served();
    world.unhost("r0", "h0");
    harness.commit(world.commit());
    harness.drain();
    harness.sent.clear();
    world.clusters.insert("c9".into(), "eds bad".into());
    world.host("r0", "h0", &["c9"], "domain:a");
    harness.commit(with_interim(&mut world, "domain:a"));
    harness.drain();
    assert!(sent(&harness).is_empty());
}

#[test]
fn refused_interim_bytes_are_not_sent_again() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c9".into(), "eds bad".into());
    world.host("r0", "h0", &["c9"], "domain:a");
    harness.commit(with_interim(&mut world, "domain:a bad"));
    harness.drain();
    world.clusters.insert("c8".into(), "eds".into());
    world.host("r0", "h1", &["c8"], "domain:b");
    harness.commit(world.commit());
    harness.drain();
    assert_eq!(sent(&harness), ["v(domain:a bad)", "v(names:c8 domain:b)"]);
    harness.rest();
    assert_eq!(sent(&harness).pop().as_deref(), Some("v(names:c9 domain:a)"));
}

#[test]
fn a_cluster_that_changes_in_place_holds_no_withdrawal() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c0".into(), "eds secret:none".into());
    world.host("r0", "h0", &["c0"], "domain:a less");
    let mut commit = world.commit();
    commit.upserts.retain(|(kind, _)| *kind != ResourceType::Secret);
    let host = commit.upserts.iter_mut().find(|(_, resource)| &*resource.name == "r0/h0").unwrap();
    host.1.interim = Some(Interim::Whole.into());
    harness.commit(commit);
    assert_eq!(sent(&harness), ["v(names:c0 domain:a less)"]);
    harness.drain();
    assert_eq!(harness.client.warming(), ["c0"], "its secret never comes");
    harness.assert_unbroken();
}

#[test]
fn what_was_let_go_with_a_cold_cluster_does_not_wait_for_it_again() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h0", &["c1"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    harness.pass(Duration::from_secs(1));
    harness.drain();
    harness.sent.clear();
    world.host("r0", "h0", &["c1"], "domain:a less");
    harness.commit(world.commit());
    assert_eq!(sent(&harness), ["v(names:c1 domain:a less)"]);
    harness.drain();
    let expired = harness.notices.iter().filter(|notice| matches!(notice, Notice::GateExpired { .. }));
    assert_eq!(expired.count(), 1);
    // Named anew it is waited for anew.
    world.host("r0", "h0", &["c0"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    harness.sent.clear();
    world.host("r0", "h0", &["c1"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    assert!(sent(&harness).is_empty());
}
