use super::super::*;
use super::harness::{Harness, MapShelf, of};

/// A harness whose Envoy has sites 1 and 2.
fn served() -> Harness {
    let mut harness = Harness::new();
    harness.site(1, "a");
    harness.site(2, "a");
    harness.commit();
    harness.open();
    harness.link();
    harness.rest();
    harness.assert_synced();
    harness.sent.clear();
    harness
}

#[test]
fn envoy_is_served_through_the_relay_and_breaks_nothing() {
    let mut harness = served();
    assert_eq!((harness.from_shelf, harness.client.violations.len()), (0, 0));
    harness.site(3, "a");
    harness.unsite(1);
    harness.commit();
    harness.rest();
    harness.assert_synced();
    assert_eq!(harness.client.violations, Vec::new());
}

#[test]
fn a_new_controller_sends_only_what_changed_meanwhile() {
    let mut harness = served();
    harness.cut();
    harness.rest();
    harness.link();
    harness.rest();
    assert_eq!(harness.sent_names(), Vec::<String>::new());
    harness.cut();
    harness.site(2, "b");
    harness.commit();
    harness.link();
    harness.rest();
    assert_eq!(harness.sent_names(), ["r2/h"]);
    harness.assert_synced();
    assert_eq!(harness.from_shelf, 0, "Envoy had everything all the time");
}

#[test]
fn an_edit_writes_one_resource_to_the_shelf() {
    let mut harness = served();
    let before = harness.shelf.puts;
    harness.site(2, "b");
    harness.commit();
    harness.rest();
    assert_eq!(harness.shelf.puts - before, 1);
}

#[test]
fn what_envoy_acknowledges_late_is_not_sent_again() {
    let mut harness = served();
    harness.site(2, "b");
    harness.commit();
    // The change is on its way to Envoy when the stream breaks.
    harness.step(2);
    harness.cut();
    harness.link();
    harness.rest();
    assert_eq!(harness.sent_names(), ["r2/h"], "once, on the old stream");
    harness.assert_synced();
}

#[test]
fn an_envoy_that_restarts_without_a_controller_gets_all_it_had() {
    let mut harness = served();
    harness.cut();
    harness.restart_envoy();
    harness.cut();
    harness.rest();
    assert!(harness.from_shelf > 0);
    assert_eq!(harness.client.violations, Vec::new());
    harness.assert_synced();
    assert!(harness.relay.progress().fresh);
    harness.link();
    harness.rest();
    assert_eq!(harness.sent_names(), Vec::<String>::new(), "the controller has nothing to add");
}

#[test]
fn a_silent_controller_is_as_good_as_none() {
    let mut harness = served();
    harness.restart_envoy();
    harness.step(0);
    harness.pass(Timing::default().silence / 2);
    assert_eq!(harness.from_shelf, 0, "it may still come");
    harness.rest();
    assert!(harness.from_shelf > 0);
    harness.assert_synced();
}

#[test]
fn a_pod_that_never_had_a_controller_is_told_nothing() {
    let mut harness = Harness::new();
    harness.open();
    harness.cut();
    harness.rest();
    assert_eq!(harness.from_shelf, 0, "an empty store is not an empty configuration");
    assert_eq!(harness.relay.needs().len(), 2, "{:?}", harness.relay.needs());
    harness.site(1, "a");
    harness.commit();
    harness.link();
    harness.rest();
    harness.assert_synced();
}

#[test]
fn an_empty_configuration_that_was_acknowledged_is_one() {
    let mut harness = Harness::new();
    harness.commit();
    harness.open();
    harness.link();
    harness.rest();
    harness.assert_synced();
    harness.restart_envoy();
    harness.cut();
    harness.rest();
    assert_eq!(harness.from_shelf, 2, "no clusters, no listeners");
    harness.assert_synced();
}

#[test]
fn a_relay_that_restarts_beside_a_running_envoy_sends_nothing() {
    let mut harness = served();
    harness.restart_agent();
    harness.link();
    harness.rest();
    assert_eq!((harness.sent_names(), harness.from_shelf), (Vec::new(), 0));
    harness.assert_synced();
    assert!(!harness.relay.progress().fresh);
}

#[test]
fn a_relay_without_its_shelf_has_it_filled_again() {
    let mut harness = served();
    harness.shelf = MapShelf::default();
    harness.restart_agent();
    harness.link();
    harness.rest();
    assert!(!harness.sent.is_empty());
    harness.assert_synced();
}

#[test]
fn what_went_while_envoy_restarted_leaves_the_shelf() {
    let mut harness = served();
    harness.cut();
    harness.unsite(1);
    harness.commit();
    harness.restart_envoy();
    harness.link();
    harness.rest();
    assert!(harness.shelf.held(of_url(), "l1").is_some(), "until Envoy has everything");
    harness.assert_synced();
    assert!(harness.shelf.held(of_url(), "l1").is_none());
}

fn of_url() -> &'static str {
    of(ResourceType::Listener).type_url()
}

#[test]
fn one_stored_resource_that_envoy_refuses_holds_up_no_other() {
    let mut harness = served();
    harness.cut();
    let target = (ResourceType::VirtualHost.type_url().to_owned(), "r1/h".into());
    let resource = envoy_types::pb::envoy::service::discovery::v3::Resource {
        name: "r1/h".to_owned(),
        version: "bad".to_owned(),
        resource: Some(envoy_types::pb::google::protobuf::Any {
            type_url: ResourceType::VirtualHost.type_url().to_owned(),
            value: b"bad".to_vec(),
        }),
        ..Default::default()
    };
    let bad = (Held::Version("bad".into()), Bytes::from(prost::Message::encode_to_vec(&resource)));
    harness.shelf.entries.insert(target, bad);
    harness.restart_envoy();
    harness.cut();
    harness.rest();
    let hosts = harness.client.effective(of(ResourceType::VirtualHost));
    assert_eq!(hosts.into_keys().collect::<Vec<_>>(), ["r2/h"]);
    harness.link();
    harness.rest();
    harness.assert_synced();
}

#[test]
fn a_request_while_the_controller_is_away_is_answered_when_it_is_back() {
    let mut harness = Harness::new();
    harness.site(1, "a");
    harness.commit();
    harness.open();
    harness.link();
    // Up to the clusters, whose endpoints Envoy asks for when the stream is gone.
    while harness.client.effective(of(ResourceType::Cluster)).is_empty() {
        assert!((0..4).any(|way| harness.step(way)));
    }
    harness.cut();
    harness.rest();
    assert!(!harness.relay.needs().is_empty());
    harness.link();
    harness.rest();
    harness.assert_synced();
}
