//! Who is answered what, and when.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatehouse_model::ResourceType;

use super::gates::served;
use super::harness::Harness;
use crate::config::Config;
use crate::stream::{Holding, Input, Stream};
use crate::table::{Commit, Table, Watch, WatchChange};

fn request(kind: ResourceType, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    }
}

#[test]
fn an_empty_table_is_an_answer_too() {
    let mut harness = Harness::new();
    harness.commit(Commit::default());
    harness.drain();
    let kinds: Vec<_> = harness.sent.iter().map(|response| response.kind).collect();
    assert_eq!(kinds, [ResourceType::Cluster, ResourceType::Listener]);
}

#[test]
fn an_unknown_name_is_answered_as_removed() {
    let (_, mut harness) = served();
    harness.to_server.push_back(request(ResourceType::Secret, &["none"]));
    harness.serve();
    assert_eq!(harness.names_removed(ResourceType::Secret), ["none"]);
}

#[test]
fn a_name_that_is_subscribed_again_is_answered_again() {
    let (_, mut harness) = served();
    harness.to_server.push_back(request(ResourceType::Endpoint, &["c0"]));
    harness.serve();
    assert_eq!(harness.names_sent(ResourceType::Endpoint), ["c0"]);
}

#[test]
fn a_subscription_is_answered_while_a_response_of_its_type_is_in_flight() {
    let (mut world, mut harness) = served();
    world.endpoints.insert("c0".into(), "moved".into());
    harness.commit(world.commit());
    world.host("r0", "h1", &["c1"], "domain:b");
    harness.commit(world.commit());
    harness.to_client.retain(|response| response.kind == ResourceType::Cluster);
    harness.drain();
    assert_eq!(harness.names_sent(ResourceType::Endpoint), ["c0", "c1"]);
}

#[test]
fn pushes_coalesce_until_the_acknowledgement() {
    let (mut world, mut harness) = served();
    for version in 0..10 {
        world.host("r0", "h0", &["c0"], &format!("domain:a v{version}"));
        harness.commit(world.commit());
    }
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h0"]);
    harness.rest();
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r0/h0", "r0/h0"]);
    harness.assert_synced();
}

#[test]
fn virtual_hosts_of_a_later_table_are_pushed_unasked() {
    let (mut world, mut harness) = served();
    world.listener("1", "");
    world.host("r1", "h0", &["c0"], "domain:a");
    harness.commit(world.commit());
    harness.drain();
    harness.assert_synced();
    assert_eq!(harness.names_sent(ResourceType::VirtualHost), ["r1/default", "r1/h0"]);
}

#[test]
fn virtual_hosts_are_pushed_again_when_their_table_comes_back() {
    let (mut world, mut harness) = served();
    let listener = world.listeners.remove("l0");
    let mut commit = world.commit();
    commit.removals.retain(|(kind, _)| *kind == ResourceType::Listener);
    harness.commit(commit);
    harness.drain();
    world.listeners.extend(listener.map(|words| ("l0".to_owned(), words)));
    harness.commit(world.commit());
    harness.rest();
    harness.assert_synced();
}

#[test]
fn a_client_that_reconnects_while_a_cluster_warms_gets_its_endpoints_again() {
    let (mut world, mut harness) = served();
    world.clusters.insert("c0".into(), "eds v2".into());
    harness.commit(world.commit());
    harness.to_client.truncate(1);
    harness.receive();
    assert_eq!(harness.client.warming(), ["c0"], "the connection breaks before the endpoints come");
    harness.reconnect();
    harness.drain();
    harness.assert_synced();
}

#[test]
fn a_reconnect_with_everything_is_answered_by_nothing() {
    let (_, mut harness) = served();
    harness.reconnect();
    harness.rest();
    assert!(harness.sent.is_empty(), "{:?}", harness.sent);
    harness.assert_synced();
}

#[test]
fn a_stream_that_is_far_behind_compares_everything_once() {
    let (mut world, mut harness) = served();
    let mut table = Table::default();
    std::mem::swap(&mut table, &mut harness.table);
    for n in 0..5000 {
        world.host("r0", &format!("x{n}"), &["c0"], &format!("domain:d{n}"));
    }
    table.apply(world.commit(), harness.now);
    world.hosts.clear();
    world.host("r0", "h9", &["c0"], "domain:z");
    table.apply(world.commit(), harness.now);
    harness.table = table;
    harness.rest();
    harness.commit(Commit::default());
    harness.rest();
    harness.assert_synced();
}

#[test]
fn a_watch_is_held_when_all_its_needs_are_acknowledged_or_presented() {
    let (_, mut harness) = served();
    let version = |kind, name: &str| harness.table.get(kind, name).unwrap().version.clone();
    let needs = vec![
        (ResourceType::Cluster, "c0".into(), version(ResourceType::Cluster, "c0")),
        (ResourceType::VirtualHost, "r0/h0".into(), version(ResourceType::VirtualHost, "r0/h0")),
    ];
    let held = |harness: &Harness| match harness.holdings.last() {
        Some(Holding { watch: 7, held, .. }) => *held,
        other => panic!("{other:?}"),
    };
    let watches = vec![WatchChange::Set(Watch { id: 7, needs })];
    harness.commit(Commit { watches, ..Commit::default() });
    assert!(held(&harness), "equal versions are held at once");
    let set = vec![(ResourceType::VirtualHost, "r0/h0".into(), "next".into())];
    let patch = WatchChange::Patch { id: 7, set, unset: Vec::new() };
    let mut next = super::world::resource("r0/h0", "domain:next");
    next.version = "next".into();
    let upserts = vec![(ResourceType::VirtualHost, next)];
    harness.commit(Commit { upserts, watches: vec![patch], ..Commit::default() });
    assert!(!held(&harness));
    harness.drain();
    assert!(held(&harness));
    harness.holdings.clear();
    harness.reconnect();
    harness.drain();
    assert!(held(&harness), "presented is held");
}

#[test]
fn requests_for_other_types_are_left_alone() {
    let table = Table::default();
    let now = std::time::Instant::now();
    let mut stream = Stream::new(Config::default(), now);
    let other = DeltaDiscoveryRequest { type_url: "type.googleapis.com/x.Y".into(), ..Default::default() };
    let output = stream.handle(&Input::Request(&other), &table, now);
    assert!(output.responses.is_empty());
}
