//! Make before break.

use std::time::Duration;

use gatehouse_model::{ResourceType, Target};

use super::harness::Harness;
use super::world::{World, resource};
use crate::event::Notice;
use crate::table::Commit;

/// A client with listener `l0`, table `r0` and a virtual host `r0/h0` that names `c0`.
pub(super) fn served() -> (World, Harness) {
    let mut world = World::default();
    world.listener("0", "");
    world.host("r0", "h0", &["c0"], "domain:a");
    let mut harness = Harness::new();
    harness.commit(world.commit());
    harness.rest();
    harness.assert_synced();
    harness.assert_unbroken();
    harness.sent.clear();
    (world, harness)
}

#[test]
fn a_virtual_host_waits_until_its_cluster_is_warm() {
    let (mut world, mut harness) = served();
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    assert_eq!(harness.names_sent(ResourceType::Cluster), ["c1"]);
    assert!(harness.names_sent(ResourceType::VirtualHost).is_empty());
    assert_eq!(harness.stream.gated(), 1);
    harness.drain();
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h1"]);
    harness.assert_synced();
    harness.assert_unbroken();
    assert!(harness.notices.is_empty());
}

#[test]
fn others_do_not_wait_for_a_stuck_cluster() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds secret:none".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    let mut commit = world.commit();
    commit.upserts.retain(|(kind, _)| *kind != ResourceType::Secret);
    harness.commit(commit);
    harness.drain();
    assert_eq!(harness.client.warming(), ["c1"], "its secret never comes");
    world.host("r0", "h0", &["c0"], "domain:a changed");
    world.host("r0", "h2", &["c2"], "domain:c");
    let mut commit = world.commit();
    commit.upserts.retain(|(kind, _)| *kind != ResourceType::Secret);
    harness.commit(commit);
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h0"], "what can go goes at once");
    harness.drain();
    harness.pass(Duration::from_millis(500));
    harness.drain();
    assert!(
        harness.names_sent(ResourceType::Cluster).contains(&"c2".to_owned()),
        "a stuck CDS holds no other cluster"
    );
}

#[test]
fn after_its_deadline_a_resource_goes_out_and_says_why() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.drain();
    harness.pass(Duration::from_millis(999));
    assert!(harness.names_sent(ResourceType::VirtualHost).is_empty());
    harness.pass(Duration::from_millis(1));
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h1"]);
    let target: Target = (ResourceType::VirtualHost, "r0/h1".into());
    let expired = Notice::GateExpired { target, clusters: vec!["c1".into()] };
    assert!(harness.notices.contains(&expired), "{:?}", harness.notices);
}

/// Stuck clusters that were told, and those that were told to be warm again, in order.
fn told(harness: &Harness) -> Vec<(bool, String)> {
    let mut told = Vec::new();
    for notice in &harness.notices {
        match notice {
            Notice::GateExpired { clusters, .. } => {
                told.extend(clusters.iter().map(|cluster| (false, cluster.to_string())));
            }
            Notice::Warmed { cluster } => told.push((true, cluster.to_string())),
            _ => {}
        }
    }
    told
}

#[test]
fn a_cluster_that_was_named_too_early_is_told_to_be_warm_once() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(told(&harness), [(false, "c1".to_owned())]);
    harness.notices.clear();
    world.clusters.insert("c1".into(), "eds".into());
    harness.commit(world.commit());
    harness.rest();
    harness.assert_synced();
    assert_eq!(told(&harness), [(true, "c1".to_owned())]);
    harness.notices.clear();
    world.clusters.insert("c1".into(), "eds again".into());
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(told(&harness), [], "what is warm in time is not worth a word");
}

#[test]
fn a_cluster_that_was_named_too_early_and_left_is_waited_for_no_more() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.rest();
    world.hosts.clear();
    world.host("r0", "h0", &["c0"], "domain:a");
    world.clusters.remove("c1");
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(told(&harness), [(false, "c1".to_owned()), (true, "c1".to_owned())]);
}

#[test]
fn a_change_while_waiting_does_not_start_the_deadline_anew() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.drain();
    harness.pass(Duration::from_millis(600));
    world.host("r0", "h1", &["c1"], "domain:b again");
    harness.commit(world.commit());
    harness.pass(Duration::from_millis(400));
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h1"]);
}

#[test]
fn the_endpoints_of_a_changed_cluster_follow_in_the_same_batch() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c0".into(), "eds v2".into());
    harness.commit(world.commit());
    let kinds: Vec<_> = harness.sent.iter().map(|response| response.kind).collect();
    assert_eq!(kinds, [ResourceType::Cluster, ResourceType::Endpoint]);
    assert_eq!(harness.names_sent(ResourceType::Endpoint), ["c0"]);
    harness.drain();
    harness.assert_synced();
}

#[test]
fn a_removal_does_not_wait_for_any_gate() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    world.unhost("r0", "h0");
    harness.commit(world.commit());
    assert_eq!(harness.names_removed(ResourceType::VirtualHost), ["r0/h0"]);
}

#[test]
fn a_cluster_leaves_only_after_its_last_user_is_acknowledged_as_gone_and_a_linger() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c1"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    world.host("r0", "h0", &["c2"], "domain:a");
    harness.commit(world.commit());
    while harness.names_sent(ResourceType::VirtualHost).len() < 2 {
        assert!(harness.serve() || harness.receive());
    }
    harness.pass(Duration::from_secs(100));
    let left = |harness: &Harness| harness.names_removed(ResourceType::Cluster);
    assert_eq!(left(&harness), ["c0"], "c1 may be named while the change is not acknowledged");
    harness.drain();
    harness.pass(Duration::from_secs(39));
    assert_eq!(left(&harness), ["c0"], "its edges asked for 40 seconds");
    harness.pass(Duration::from_secs(1));
    assert_eq!(left(&harness), ["c0", "c1"]);
    harness.rest();
    harness.assert_synced();
    harness.assert_unbroken();
}

#[test]
fn a_cluster_that_comes_back_within_its_linger_is_not_touched() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c1"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    world.host("r0", "h0", &["c0"], "domain:a");
    harness.sent.clear();
    harness.commit(world.commit());
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h0"], "it is warm");
    harness.rest();
    assert!(harness.names_sent(ResourceType::Cluster).is_empty());
    harness.assert_synced();
    harness.assert_unbroken();
}

#[test]
fn a_lingering_cluster_still_gets_endpoints_and_survives_a_reconnect() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c1"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    harness.reconnect();
    harness.drain();
    assert!(harness.sent.is_empty(), "{:?}", harness.sent);
    let endpoints = (ResourceType::Endpoint, resource("c0", "moved"));
    harness.commit(Commit { upserts: vec![endpoints], ..Commit::default() });
    assert_eq!(harness.names_sent(ResourceType::Endpoint), ["c0"]);
    harness.rest();
    assert_eq!(harness.names_removed(ResourceType::Cluster), ["c0"]);
    harness.assert_unbroken();
}

#[test]
fn a_cluster_named_by_refused_bytes_of_the_past_stays() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c1"], "domain:a bad");
    harness.commit(world.commit());
    harness.rest();
    harness.pass(Duration::from_hours(1));
    assert!(harness.names_removed(ResourceType::Cluster).is_empty(), "the old bytes still name it");
    world.mend();
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(harness.names_removed(ResourceType::Cluster), ["c0"]);
    harness.assert_synced();
    harness.assert_unbroken();
}
