//! A refusal is about a response; these find the resource.

use gatehouse_model::ResourceType;

use super::gates::served;
use super::harness::Harness;
use crate::event::Notice;

fn refused(harness: &Harness) -> Vec<String> {
    let names = harness.notices.iter().filter_map(|notice| match notice {
        Notice::Refused { target, .. } => Some(target.1.to_string()),
        _ => None,
    });
    names.collect()
}

fn cleared(harness: &Harness) -> Vec<String> {
    let names = harness.notices.iter().filter_map(|notice| match notice {
        Notice::Cleared { target } => Some(target.1.to_string()),
        _ => None,
    });
    names.collect()
}

#[test]
fn one_bad_virtual_host_among_a_thousand_holds_no_other() {
    let (mut world, mut harness) = served();
    for n in 0..1000 {
        let extra = format!("domain:d{n} {}", if n == 617 { "bad" } else { "" });
        world.host("r0", &format!("x{n}"), &["c0"], &extra);
    }
    harness.commit(world.commit());
    harness.drain();
    assert_eq!(refused(&harness), ["r0/x617"]);
    assert_eq!(harness.client.effective(super::harness::kind(ResourceType::VirtualHost)).len(), 1001);
    assert!(harness.sent.len() < 40, "{} responses", harness.sent.len());
    world.mend();
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(cleared(&harness), ["r0/x617"]);
    harness.assert_synced();
}

#[test]
fn refused_bytes_are_not_sent_again_until_they_change() {
    let (mut world, mut harness) = served();
    world.host("r0", "h0", &["c0"], "domain:a bad");
    harness.commit(world.commit());
    harness.drain();
    let sent = harness.sent.len();
    world.host("r0", "h1", &["c0"], "domain:b");
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(harness.sent.len(), sent + 1, "only the other one");
    assert_eq!(refused(&harness), ["r0/h0"]);
}

#[test]
fn a_removed_resource_is_refused_no_more() {
    let (mut world, mut harness) = served();
    world.host("r0", "h1", &["c0"], "domain:b bad");
    harness.commit(world.commit());
    harness.drain();
    world.unhost("r0", "h1");
    harness.commit(world.commit());
    harness.rest();
    assert_eq!(cleared(&harness), ["r0/h1"]);
    harness.assert_synced();
}

#[test]
fn what_a_refused_response_brought_is_removed_explicitly_when_it_is_deleted() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c1".into(), "eds bad".into());
    world.host("r0", "h1", &["c1", "c2"], "domain:b");
    harness.commit(world.commit());
    while harness.client.refused == 0 {
        assert!(harness.serve() || harness.receive());
    }
    assert!(
        !harness.client.effective(super::harness::kind(ResourceType::Cluster)).contains_key("c2"),
        "not recorded"
    );
    world.unhost("r0", "h1");
    harness.commit(world.commit());
    harness.rest();
    assert!(harness.names_removed(ResourceType::Cluster).contains(&"c2".to_owned()));
    harness.assert_synced();
}

#[test]
fn a_domain_that_moves_between_virtual_hosts_refuses_neither() {
    let (mut world, mut harness) = served();
    for n in 0..8 {
        world.host("r0", &format!("x{n}"), &["c0"], &format!("domain:d{n}"));
    }
    harness.commit(world.commit());
    harness.drain();
    world.host("r0", "x0", &["c0"], "domain:d7");
    world.host("r0", "x7", &["c0"], "domain:d0");
    world.host("r0", "x3", &["c0"], "domain:d3 bad");
    harness.commit(world.commit());
    harness.rest();
    assert!(refused(&harness).contains(&"r0/x3".to_owned()));
    world.mend();
    harness.commit(world.commit());
    harness.rest();
}

#[test]
fn a_bad_route_configuration_takes_no_good_one_along() {
    let (mut world, mut harness) = served();
    for n in 1..4 {
        world.listener(&n.to_string(), "");
    }
    let mut commit = world.commit();
    for (kind, resource) in &mut commit.upserts {
        if *kind == ResourceType::RouteConfiguration && &*resource.name == "r2" {
            resource.body = "vhds bad".into();
        }
    }
    harness.commit(commit);
    harness.rest();
    assert_eq!(refused(&harness), ["r2"]);
    assert_eq!(harness.client.refused, 1);
    let has: Vec<_> = harness
        .client
        .effective(super::harness::kind(ResourceType::RouteConfiguration))
        .into_keys()
        .collect();
    assert_eq!(has, ["r0", "r1", "r3"]);
}

#[test]
fn bad_endpoints_beside_good_ones_leave_no_cluster_hollow() {
    let (mut world, mut harness) = served();
    world.endpoints.insert("c0".into(), "bad".into());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.rest();
    assert!(harness.client.usable("c1"));
    assert_eq!(refused(&harness), ["c0"]);
    harness.assert_unbroken();
}
