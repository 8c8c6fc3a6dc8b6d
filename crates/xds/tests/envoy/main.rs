//! The contract against the real Envoy: no model of it, no 15-second waits.

// The lint spares tests, but not their helpers.
#![allow(clippy::unwrap_used)]

mod config;
mod process;

use std::time::{Duration, Instant};

use config::{cluster, commit, endpoints, host, listener, table};
use gatehouse_model::ResourceType;
use gatehouse_testkit::envoy::Envoy;
use gatehouse_testkit::http::{always_ok, free_port};
use gatehouse_xds::{Commit, Config, Event, FleetId, Notice, Server, Watch, WatchChange, What};
use process::wait_for;
use prometheus::Registry;
use tokio::sync::mpsc::UnboundedReceiver;

/// A server with one Envoy that serves `default` of table `r1` from cluster `a`.
struct World {
    server: Server,
    fleet: FleetId,
    events: UnboundedReceiver<Event>,
    registry: Registry,
    backend: u16,
    port: u16,
    dir: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
    _envoy: Envoy,
    watches: u64,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("xds.sock");
        let server = Server::new(Config::default());
        let (fleet, registry) = (FleetId::new("test"), Registry::new());
        server.register_metrics(&registry).unwrap();
        let events = server.events();
        let serve = server.serve_unix(&socket, &fleet).unwrap();
        let serving = tokio::spawn(async move { serve.await.unwrap() });
        let envoy = process::start(dir.path(), &socket);
        let (backend, port) = (always_ok(), free_port());
        let upserts = vec![
            cluster("a", Duration::from_secs(1)),
            endpoints("a", backend),
            listener("l1", port, "r1"),
            table("r1"),
            host("r1", "default", "a", None),
        ];
        server.commit(&fleet, commit(upserts, &[("r1/default", "a")]));
        wait_for(port, "any", 200);
        Self { server, fleet, events, registry, backend, port, dir, serving, _envoy: envoy, watches: 0 }
    }

    /// Commits, and returns how long it took until Envoy had acknowledged all of it.
    async fn acknowledged(&mut self, mut commit: Commit) -> Duration {
        self.watches += 1;
        let id = self.watches;
        let needs =
            commit.upserts.iter().map(|(kind, r)| (*kind, r.name.clone(), r.version.clone())).collect();
        commit.watches.push(WatchChange::Set(Watch { id, needs }));
        let start = Instant::now();
        self.server.commit(&self.fleet, commit);
        self.until(|what| matches!(what, What::Held { watch, holders: 1, .. } if *watch == id)).await;
        start.elapsed()
    }

    async fn until(&mut self, wanted: impl Fn(&What) -> bool) -> What {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the server lives");
                if wanted(&event.what) {
                    return event.what;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.expect("it happens within 10 seconds")
    }

    fn counted(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().filter(|family| family.name() == name);
        family
            .flat_map(prometheus::proto::MetricFamily::get_metric)
            .map(|metric| metric.get_counter().get_value())
            .sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_takes_every_change_without_waiting() {
    let mut world = World::new();

    // A new cluster with a virtual host that names it: never a 503.
    let upserts =
        vec![cluster("b", Duration::from_secs(1)), endpoints("b", world.backend), host("r1", "b", "b", None)];
    let took = world.acknowledged(commit(upserts, &[("r1/b", "b")])).await;
    assert!(took < Duration::from_secs(2), "a new cluster took {took:?}");
    wait_for(world.port, "b.example.com", 200);

    // In place: Envoy waits for endpoints that it does not ask for.
    let took = world.acknowledged(commit(vec![cluster("b", Duration::from_secs(2))], &[])).await;
    assert!(took < Duration::from_secs(2), "a change in place took {took:?}");

    // A table that appears after the first VHDS request.
    let second = free_port();
    let upserts = vec![listener("l2", second, "r2"), table("r2"), host("r2", "default", "b", None)];
    let took = world.acknowledged(commit(upserts, &[("r2/default", "b")])).await;
    assert!(took < Duration::from_secs(2), "a later table took {took:?}");
    wait_for(second, "any", 200);

    // All tables go, and one comes back: its virtual hosts must be sent again.
    world.acknowledged(commit(vec![host("r1", "default", "a", None)], &[])).await;
    let default = world.watches;
    let gone = |kind, name: &str| (kind, name.into());
    let removals = vec![gone(ResourceType::Listener, "l1"), gone(ResourceType::Listener, "l2")];
    world.server.commit(&world.fleet, Commit { removals, ..Commit::default() });
    // When the listener is drained, Envoy drops the route configuration with its virtual hosts, and never asks again.
    world.until(|what| matches!(what, What::Held { watch, holders: 0, .. } if *watch == default)).await;
    let third = free_port();
    world.acknowledged(commit(vec![listener("l1", third, "r1")], &[])).await;
    wait_for(third, "b.example.com", 200);

    // One bad virtual host among many hurts no other.
    let mut upserts: Vec<_> = (0..100).map(|n| host("r1", &format!("h{n}"), "a", None)).collect();
    upserts[42] = host("r1", "h42", "a", Some("(("));
    let names: Vec<String> = (0..100).map(|n| format!("r1/h{n}")).collect();
    let edges: Vec<_> = names.iter().map(|name| (name.as_str(), "a")).collect();
    let start = Instant::now();
    world.server.commit(&world.fleet, commit(upserts, &edges));
    let refused = world.until(|what| matches!(what, What::Resource(Notice::Refused { .. }))).await;
    let What::Resource(Notice::Refused { target, message, .. }) = refused else { unreachable!() };
    assert_eq!(&*target.1, "r1/h42");
    assert!(message.contains("missing )"), "{message}");
    wait_for(third, "h41.example.com", 200);
    wait_for(third, "h43.example.com", 200);
    assert!(start.elapsed() < Duration::from_secs(2), "finding it took {:?}", start.elapsed());
    world.acknowledged(commit(vec![host("r1", "h42", "a", None)], &[])).await;
    wait_for(third, "h42.example.com", 200);
    assert!(world.counted("gatehouse_xds_nacks_total") >= 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_that_reconnects_is_sent_nothing() {
    let mut world = World::new();
    let sent = world.counted("gatehouse_xds_responses_total");
    assert!(sent > 0.0);
    // The same table on a new server, as after a restart; the old server's stream ends.
    let socket = world.dir.path().join("xds.sock");
    let next = Server::new(Config::default());
    let registry = Registry::new();
    next.register_metrics(&registry).unwrap();
    let mut events = next.events();
    let upserts = vec![
        cluster("a", Duration::from_secs(1)),
        endpoints("a", world.backend),
        listener("l1", world.port, "r1"),
        table("r1"),
        host("r1", "default", "a", None),
    ];
    let needs = upserts.iter().map(|(kind, r)| (*kind, r.name.clone(), r.version.clone())).collect();
    let mut same = commit(upserts, &[("r1/default", "a")]);
    same.watches.push(WatchChange::Set(Watch { id: 1, needs }));
    next.commit(&world.fleet, same);
    world.server.remove_fleet(&world.fleet);
    (&mut world.serving).await.expect("serving ends with the fleet");
    let serve = next.serve_unix(&socket, &world.fleet).unwrap();
    tokio::spawn(async move { serve.await.unwrap() });
    let held = async {
        while let Some(event) = events.recv().await {
            if matches!(event.what, What::Held { watch: 1, holders: 1, .. }) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), held).await.expect("Envoy presents what it has");
    world.registry = registry;
    assert!(world.counted("gatehouse_xds_responses_total") < 1.0, "it has everything");
    wait_for(world.port, "any", 200);
}
