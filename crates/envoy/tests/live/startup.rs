//! What a proxy is after its bootstrap.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gatehouse_envoy::{Address, BootstrapOptions, bootstrap};
use tokio::net::UnixListener;

use crate::client::get;
use crate::world::{Setup, World, start_envoy};

#[tokio::test]
async fn proxy_keeps_the_named_statistics_only() {
    let world = World::start(Setup::default()).await;
    for _ in 0..3 {
        get(world.port, "ready.test", "/").await.unwrap();
    }
    // Not only what is used: a histogram shows what it recorded some seconds later, its name at once.
    let stats = world.admin("/stats").await;
    let names: BTreeSet<&str> = stats.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    let of_cluster: Vec<_> = names.iter().filter_map(|name| name.strip_prefix("cluster.a.")).collect();
    assert_eq!(
        of_cluster,
        [
            "membership_healthy",
            "upstream_cx_active",
            "upstream_rq_2xx",
            "upstream_rq_time",
            "upstream_rq_total"
        ]
    );
    for name in ["control_plane.connected_state", "server.live", "listener_manager.total_listeners_active"] {
        assert!(names.contains(name), "{name} is missing");
    }
    assert!(names.iter().any(|name| name.ends_with("downstream_rq_2xx")), "{names:?}");
    let count = stats.lines().count();
    assert!(count < 400, "{count} series without any user's backend");
    let info = world.admin("/server_info").await;
    assert!(info.contains(r#""zone": "zone-1""#), "the node says where it is");
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn proxy_knocks_at_a_local_server_every_quarter_second() {
    /// The back-off has grown to its limit long before.
    const ATTEMPTS: usize = 25;
    let directory = tempfile::tempdir().unwrap();
    let path = |name| Address::Pipe(directory.path().join(name).display().to_string());
    let server = UnixListener::bind(directory.path().join("xds.sock")).unwrap();
    let options = BootstrapOptions::new("node", "fleet", path("admin.sock"), path("xds.sock"));
    let _envoy = start_envoy(&directory, &bootstrap(&options));
    let mut waits = Vec::new();
    let mut before = None;
    while waits.len() < ATTEMPTS {
        // Hung up on: the attempt failed.
        drop(server.accept().await.unwrap());
        waits.extend(before.map(|before: Instant| before.elapsed()));
        before = Some(Instant::now());
    }
    waits.sort();
    // A machine that is busy adds to some; Envoy's own limit would make most of them longer than a second.
    assert!(waits[ATTEMPTS / 2] < Duration::from_millis(500), "waits before attempts: {waits:?}");
}
