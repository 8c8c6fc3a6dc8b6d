//! The supervisor with real Envoys, which serve a static bootstrap. Every wait is for an event and bounded.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in test functions, not in what they share")]

mod support;

use std::time::{Duration, Instant};

use gatehouse_standalone::envoy::{AdminClient, Drain, EnvoyEventKind, Phase, SupervisorOptions, find_envoy};
use support::{Client, PATIENCE, Rig, envoy_path, is_alive, kill};
use tokio::time::timeout;

#[tokio::test]
async fn crashed_envoy_is_started_again() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    assert_eq!(rig.get().await, "one");
    kill(pid);
    let crash = rig.until(|kind| matches!(kind, EnvoyEventKind::Crashed { .. })).await;
    let EnvoyEventKind::Crashed { how, retry_in, .. } = crash else { unreachable!() };
    assert!(how.contains("signal: 9"), "{how}");
    assert_eq!(retry_in, Duration::from_millis(100));
    let next = rig.ready(2).await;
    assert_ne!(next, pid);
    assert_eq!(rig.get().await, "one");
    rig.stop().await;
    assert!(!is_alive(next));
}

#[tokio::test]
async fn detached_envoy_is_taken_over_and_its_connections_live_on() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    let mut client = Client::connect(rig.port).await;
    assert_eq!(client.get("").await, "one");
    rig.restart().await;
    assert_eq!(client.get("").await, "one");
    rig.run("one");
    let taken = rig.until(|kind| !matches!(kind, EnvoyEventKind::Ready)).await;
    assert_eq!(taken, EnvoyEventKind::TakenOver { pid });
    assert_eq!(rig.ready(1).await, pid);
    assert_eq!(client.get("").await, "one");
    // It is followed although it is nobody's child.
    kill(pid);
    rig.until(|kind| matches!(kind, EnvoyEventKind::Crashed { .. })).await;
    rig.ready(2).await;
    rig.stop().await;
}

#[tokio::test]
async fn changed_bootstrap_starts_beside_and_the_old_finishes_its_work() {
    let mut rig = Rig::new();
    rig.run("one");
    let old = rig.ready(1).await;
    let mut slow = Client::connect(rig.port).await;
    let mut idle = Client::connect(rig.port).await;
    assert_eq!(idle.get("").await, "one");
    slow.send("x-slow: 1\r\n").await;
    rig.run("two");
    let new = rig.ready(2).await;
    assert_ne!(old, new);
    assert_eq!(slow.receive().await, "one");
    // New connections come to the new one once the old one closed its listener.
    let end = Instant::now() + PATIENCE;
    while rig.get().await != "two" {
        assert!(Instant::now() < end);
    }
    for _ in 0..20 {
        assert_eq!(rig.get().await, "two");
    }
    // The idle connection is served by the old one once more, which then asks to close it.
    assert!(is_alive(old));
    assert_eq!(idle.get("").await, "one");
    assert!(idle.is_closed().await);
    drop(slow);
    rig.until(|kind| *kind == EnvoyEventKind::Ended).await;
    assert!(!is_alive(old));
    rig.stop().await;
}

#[tokio::test]
async fn stop_waits_for_requests_but_not_for_idle_connections() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    let mut slow = Client::connect(rig.port).await;
    let mut idle = Client::connect(rig.port).await;
    assert_eq!(idle.get("").await, "one");
    slow.send("x-slow: 1\r\n").await;
    let port = rig.port;
    let (answer, ()) = tokio::join!(slow.receive(), rig.stop());
    assert_eq!(answer, "one");
    assert!(!is_alive(pid));
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn drain_ends_at_its_deadline() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    let mut endless = Client::connect(rig.port).await;
    endless.send("x-endless: 1\r\n").await;
    let start = Instant::now();
    rig.stop_within(Duration::from_millis(300)).await;
    assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(3));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn refused_bootstrap_costs_nothing_and_its_revert_is_free() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    let mut client = Client::connect(rig.port).await;
    rig.run_bootstrap("static_resources: {listenerz: []}".to_owned());
    let crash = rig.until(|kind| matches!(kind, EnvoyEventKind::Crashed { .. })).await;
    let EnvoyEventKind::Crashed { log, .. } = crash else { unreachable!() };
    assert!(log.contains("listenerz"), "{log}");
    assert_eq!((client.get("").await.as_str(), rig.get().await.as_str()), ("one", "one"));
    rig.run("one");
    rig.until(|kind| *kind == EnvoyEventKind::TakenOver { pid }).await;
    rig.ready(1).await;
    assert_eq!(client.get("").await, "one");
    rig.stop().await;
}

#[tokio::test]
async fn fleet_that_left_is_ended_even_when_an_earlier_gatehouse_started_it() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    rig.restart().await;
    rig.supervisor().set_fleets([]);
    rig.until(|kind| *kind == EnvoyEventKind::Ended).await;
    assert!(!is_alive(pid));
    // It may return.
    rig.run("one");
    rig.ready(2).await;
    assert_eq!(rig.get().await, "one");
    rig.supervisor().set_fleets([]);
    rig.until(|kind| *kind == EnvoyEventKind::Ended).await;
    assert_eq!(rig.state().phase, Phase::Absent);
    rig.stop().await;
}

#[tokio::test]
async fn envoy_without_a_record_is_found_and_replaced() {
    let mut rig = Rig::new();
    rig.run("one");
    let pid = rig.ready(1).await;
    rig.restart().await;
    let admin = rig.last_admin_socket.clone().unwrap();
    std::fs::remove_file(admin.with_file_name("state.json")).unwrap();
    rig.run("one");
    assert_ne!(rig.ready(2).await, pid);
    rig.until(|kind| *kind == EnvoyEventKind::Ended).await;
    assert!(!is_alive(pid));
    rig.stop().await;
}

#[tokio::test]
async fn admin_interface_is_on_its_socket_whatever_the_bootstrap_says() {
    let mut rig = Rig::new();
    rig.run("one");
    rig.ready(1).await;
    let state = rig.state();
    assert_eq!((state.phase, state.generation, state.older), (Phase::Ready, 1, 0));
    let admin = AdminClient::new(state.admin_socket.unwrap());
    let (status, info) = admin.get("/server_info").await.unwrap();
    assert!(status == 200 && info.contains("\"state\": \"LIVE\""), "{info}");
    assert!(admin.post("/nonexistent").await.is_err());
    rig.stop().await;
}

#[tokio::test]
async fn real_binary_tells_its_version() {
    let binary = timeout(PATIENCE, find_envoy(Some(envoy_path()))).await.unwrap().unwrap();
    assert!(binary.version.starts_with("1."), "{}", binary.version);
}

#[test]
fn replaced_envoys_get_long_and_stopped_ones_do_not_wait_for_idle_clients() {
    let options = SupervisorOptions::default();
    assert!(options.replaced.deadline >= Duration::from_mins(1) && options.replaced.idle.is_none());
    assert!(Drain::stop(Duration::from_secs(10)).idle.is_some());
}
