//! The agent beside the real Envoy.

// The lint spares tests, but not their helpers.
#![allow(clippy::unwrap_used)]

mod client;
#[path = "../../../xds/tests/envoy/config.rs"]
mod config;
mod pod;

use std::time::{Duration, Instant};

use client::{Traffic, get, get_h2, wait_for};
use config::{cluster, commit, endpoints, host, listener, table};
use gatehouse_testkit::echo;
use gatehouse_testkit::http::{always_ok, free_port};
use gatehouse_xds::Commit;
use pod::Pod;

/// The hosts `h0..h<n>.example.com`; another is answered with 404.
fn site(port: u16, backend: u16, hosts: usize) -> Commit {
    let mut upserts = vec![
        cluster("a", Duration::from_secs(1)),
        endpoints("a", backend),
        listener("l1", port, "r1"),
        table("r1"),
    ];
    upserts.extend((0..hosts).map(|n| host("r1", &format!("h{n}"), "a", None)));
    let names: Vec<String> = (0..hosts).map(|n| format!("r1/h{n}")).collect();
    let edges: Vec<_> = names.iter().map(|name| (name.as_str(), "a")).collect();
    commit(upserts, &edges)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_ready_only_when_it_holds_its_whole_configuration() {
    let (mut pod, port) = (Pod::new(), free_port());
    std::fs::write(pod.path("token"), "another").unwrap();
    pod.start_agent().await;
    assert_eq!(pod.probe("/ready").await.0, 503);
    pod.start_envoy();
    let controller = pod.controller();
    let start = Instant::now();
    while controller.count("gatehouse_xds_denied_total") < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the agent asks");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(pod.probe("/ready").await.0, 503, "a controller that refuses the token");
    std::fs::write(pod.path("token"), pod::TOKEN).unwrap();
    while controller.count("gatehouse_xds_streams") < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the new token is read");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, why) = pod.probe("/ready").await;
    assert_eq!(status, 503, "a controller that has nothing to say yet");
    assert!(why.contains("the first clusters"), "{why}");
    controller.commit(site(port, always_ok(), 10));
    pod.ready().await;
    assert_eq!(get(port, "h9.example.com", "/").await.unwrap().status, 200, "at once");
    assert_eq!(pod.probe("/healthz").await.0, 200);
    let (_, metrics) = pod.probe("/metrics").await;
    for name in ["gatehouse_agent_controller_connected 1", "gatehouse_agent_ready 1", "envoy_server_live"] {
        assert!(metrics.contains(name), "{name} is in {} bytes of metrics", metrics.len());
    }
    assert_eq!(pod.probe("/stats").await.0, 404, "Envoy's admin interface is not shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_killed_and_comes_back_costs_nothing_and_repeats_nothing() {
    let (mut pod, port, backend) = (Pod::new(), free_port(), always_ok());
    let controller = pod.controller();
    controller.commit(site(port, backend, 20));
    pod.start_agent().await;
    pod.start_envoy();
    pod.ready().await;
    let traffic = Traffic::start(port, "h1.example.com");
    drop(controller);
    let before = traffic.sent();
    while traffic.sent() < before + 300 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(pod.probe("/ready").await.0, 200, "without a controller");

    let controller = pod.controller();
    let mut next = site(port, backend, 20);
    next.upserts.push(host("r1", "new", "a", Some("/.*")));
    controller.commit(next);
    wait_for(port, "new.example.com").await;
    let start = Instant::now();
    while controller.count("gatehouse_xds_acks_total") < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(10), "the difference is acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        controller.count("gatehouse_xds_responses_total").to_string(),
        "1",
        "the difference, and no more"
    );
    let (sent, failures) = traffic.stop().await;
    assert!(failures.is_empty() && sent > 300, "{sent} requests, failed: {failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_that_is_killed_while_there_is_no_controller_serves_all_again() {
    let (mut pod, port, backend) = (Pod::new(), free_port(), always_ok());
    let controller = pod.controller();
    controller.commit(site(port, backend, 50));
    pod.start_agent().await;
    pod.start_envoy();
    pod.ready().await;
    drop(controller);
    pod.kill_envoy();
    // The whole pod's containers restart: neither has anything but the directory.
    pod.stop_agent().await;
    pod.start_agent().await;
    pod.start_envoy();
    pod.ready().await;
    for n in 0..50 {
        let answer = get(port, &format!("h{n}.example.com"), "/").await;
        assert_eq!(answer.unwrap().status, 200, "h{n}");
    }
    let controller = pod.controller();
    let mut next = site(port, backend, 50);
    next.upserts.push(host("r1", "new", "a", None));
    controller.commit(next);
    wait_for(port, "new.example.com").await;
    assert_eq!(
        controller.count("gatehouse_xds_responses_total").to_string(),
        "1",
        "the difference, and no more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_restarts_beside_a_running_envoy_costs_nothing() {
    let (mut pod, port, backend) = (Pod::new(), free_port(), always_ok());
    let controller = pod.controller();
    controller.commit(site(port, backend, 20));
    pod.start_agent().await;
    pod.start_envoy();
    pod.ready().await;
    let sent = controller.count("gatehouse_xds_responses_total");
    let traffic = Traffic::start(port, "h1.example.com");
    pod.stop_agent().await;
    pod.start_agent().await;
    pod.ready().await;
    let now = controller.count("gatehouse_xds_responses_total");
    assert_eq!(now.to_string(), sent.to_string(), "Envoy has everything");
    controller.commit(commit(vec![host("r1", "new", "a", None)], &[("r1/new", "a")]));
    wait_for(port, "new.example.com").await;
    let (sent, failures) = traffic.stop().await;
    assert!(failures.is_empty() && sent > 0, "{sent} requests, failed: {failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_lets_slow_answers_finish_and_refuses_nobody() {
    let (mut pod, port) = (Pod::new(), free_port());
    let listening = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let echo = echo::serve(listening, echo::Identity::default()).unwrap();
    let controller = pod.controller();
    controller.commit(site(port, echo.addr().port(), 1));
    pod.start_agent().await;
    pod.start_envoy();
    pod.ready().await;

    let slow = tokio::spawn(async move { get(port, "h0.example.com", "/?delay=3s").await });
    let slow_h2 = tokio::spawn(get_h2(port, "h0.example.com", "/?delay=3s", 5));
    let traffic = Traffic::start(port, "h0.example.com");
    while echo.requests() < 50 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let probes = pod.probes.port();
    // Envoy's hook may come before the agent's, which alone begins it.
    let drain = tokio::spawn(async move { get(probes, "probe", "/drained").await.unwrap().body });
    assert_eq!(pod.probe("/drain").await.0, 405, "looking at it begins nothing");
    assert_eq!(pod.probe("/ready").await.0, 200);
    gatehouse_agent::drain_by(pod.probes).await.unwrap();
    let start = Instant::now();
    while pod.probe("/ready").await.0 != 503 {
        assert!(start.elapsed() < Duration::from_secs(2), "readiness fails as soon as the drain begins");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Until others have noticed, new requests come: each is answered, and told to go elsewhere.
    let mut closes = false;
    while !closes {
        closes = get(port, "h0.example.com", "/").await.unwrap().closes;
        assert!(start.elapsed() < Duration::from_secs(5), "answers say that the connection closes");
    }
    let (sent, failures) = traffic.stop().await;
    assert!(failures.is_empty(), "{sent} requests, failed: {failures:?}");
    assert!(!drain.is_finished(), "slow answers are waited for");
    assert_eq!(drain.await.unwrap(), "drained\n");
    // The kubelet ends Envoy at once now.
    pod.kill_envoy();
    assert_eq!(slow.await.unwrap().unwrap().status, 200);
    for answer in slow_h2.await.unwrap() {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert!(start.elapsed() < Duration::from_secs(15), "it took {:?}, not the deadline", start.elapsed());

    // A container that was restarted takes requests again.
    pod.start_envoy();
    pod.ready().await;
    assert_eq!(get(port, "h0.example.com", "/").await.unwrap().status, 200);
}
