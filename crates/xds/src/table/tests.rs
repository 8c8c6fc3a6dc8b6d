use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::{ResourceType, Target};

use super::{Change, Commit, Edge, REMEMBERED_REMOVALS, Table, Watch, WatchChange};
use crate::resource::Resource;

fn cluster(name: &str, version: &str) -> (ResourceType, Resource) {
    (ResourceType::Cluster, Resource::new(name, version, version.to_owned()))
}

fn upserts(all: Vec<(ResourceType, Resource)>) -> Commit {
    Commit { upserts: all, ..Commit::default() }
}

fn removals(all: &[Target]) -> Commit {
    Commit { removals: all.to_vec(), ..Commit::default() }
}

fn edge(from: &str, cluster: &str, delta: i32, seconds: u64) -> Commit {
    let from = (ResourceType::VirtualHost, from.into());
    let linger = Duration::from_secs(seconds);
    Commit { edges: vec![Edge { from, cluster: cluster.into(), delta, linger }], ..Commit::default() }
}

fn changed(table: &Table, cursor: u64) -> Vec<String> {
    let changes = table.since(cursor).expect("the log reaches back");
    let names = changes.map(|change| match change {
        Change::Resource((_, name)) => name.to_string(),
        other => format!("{other:?}"),
    });
    names.collect()
}

#[test]
fn a_difference_names_each_thing_once_however_often_it_changed() {
    let (mut table, now) = (Table::default(), Instant::now());
    table.apply(upserts(vec![cluster("a", "1"), cluster("b", "1")]), now);
    let cursor = table.seq();
    for version in ["2", "3", "4"] {
        table.apply(upserts(vec![cluster("a", version)]), now);
    }
    assert_eq!(changed(&table, cursor), ["a"]);
}

#[test]
fn equal_resources_change_nothing() {
    let (mut table, now) = (Table::default(), Instant::now());
    table.apply(upserts(vec![cluster("a", "1")]), now);
    let cursor = table.seq();
    assert_eq!(table.apply(upserts(vec![cluster("a", "1")]), now), 2);
    assert!(changed(&table, cursor).is_empty());
}

#[test]
fn removals_are_forgotten_some_day_and_the_log_says_so() {
    let (mut table, now) = (Table::default(), Instant::now());
    table.apply(upserts(vec![cluster("a", "1")]), now);
    let cursor = table.seq();
    for n in 0..=REMEMBERED_REMOVALS {
        let name: Arc<str> = format!("x{n}").into();
        table.apply(upserts(vec![cluster(&name, "1")]), now);
        table.apply(removals(&[(ResourceType::Cluster, name)]), now);
    }
    assert!(table.since(cursor).is_none());
    assert!(table.since(table.seq()).is_some());
    assert!(table.log.len() <= REMEMBERED_REMOVALS + 2);
}

#[test]
fn the_endpoints_of_a_removed_cluster_stay_for_its_linger() {
    let (mut table, now) = (Table::default(), Instant::now());
    let endpoints = (ResourceType::Endpoint, Resource::new("a", "1", "1"));
    table.apply(upserts(vec![cluster("a", "1"), endpoints]), now);
    table.apply(edge("t/h", "a", 1, 90), now);
    table.apply(edge("t/h", "a", -1, 0), now);
    let both = [(ResourceType::Endpoint, "a".into()), (ResourceType::Cluster, "a".into())];
    table.apply(removals(&both), now);
    assert!(table.get(ResourceType::Endpoint, "a").is_none());
    assert!(table.entry(ResourceType::Endpoint, "a").is_some());
    assert_eq!(table.linger("a"), Duration::from_secs(90), "edges that are gone count too");
    table.apply(Commit::default(), now + Duration::from_secs(1000));
    assert!(table.entry(ResourceType::Endpoint, "a").is_none());
}

#[test]
fn edges_are_counted_and_missing_clusters_known() {
    let (mut table, now) = (Table::default(), Instant::now());
    table.apply(edge("t/h", "a", 2, 1), now);
    assert!(table.edges.missing().contains("a"));
    table.apply(upserts(vec![cluster("a", "1")]), now);
    assert!(table.edges.missing().is_empty());
    table.apply(edge("t/h", "a", -1, 1), now);
    assert!(table.edges.of(&(ResourceType::VirtualHost, "t/h".into())).count() > 0);
    table.apply(edge("t/h", "a", -1, 1), now);
    assert!(table.edges.of(&(ResourceType::VirtualHost, "t/h".into())).count() == 0);
}

#[test]
fn virtual_hosts_of_a_table_are_not_those_of_one_with_a_longer_name() {
    let (mut table, now) = (Table::default(), Instant::now());
    let host = |name: &str| (ResourceType::VirtualHost, Resource::new(name, "1", "1"));
    table.apply(upserts(vec![host("t/a"), host("t/x/a"), host("tt/a"), host("t/b")]), now);
    let names: Vec<String> = table.virtual_hosts("t").map(ToString::to_string).collect();
    assert_eq!(names, ["t/a", "t/b"]);
}

#[test]
fn a_patch_of_a_watch_is_logged_need_by_need() {
    let (mut table, now) = (Table::default(), Instant::now());
    let need = |name: &str, version: &str| (ResourceType::Cluster, name.into(), version.into());
    let watch = WatchChange::Set(Watch { id: 1, needs: vec![need("a", "1"), need("b", "1")] });
    table.apply(Commit { watches: vec![watch], ..Commit::default() }, now);
    let (cursor, generation) = (table.seq(), table.watches.generation(1));
    let patch = WatchChange::Patch { id: 1, set: vec![need("a", "2"), need("b", "1")], unset: Vec::new() };
    table.apply(Commit { watches: vec![patch], ..Commit::default() }, now);
    assert_eq!(changed(&table, cursor).len(), 2, "one need, and the watch itself");
    assert_ne!(table.watches.generation(1), generation);
    table.apply(Commit { watches: vec![WatchChange::Remove(1)], ..Commit::default() }, now);
    assert_eq!(table.watches.of(&(ResourceType::Cluster, "a".into())).count(), 0);
}
