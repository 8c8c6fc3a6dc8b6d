//! Spans of requests reach a collector, as many as were asked for, and say what they were asked to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::Hostname;
use gatehouse_model::backend::{ClusterName, Protocol};
use gatehouse_model::http::Fraction;
use gatehouse_model::tracing::{AttributeValue, RequestProperty, Tracing};
use gatehouse_testkit::collector::{Collector, Seen};
use tokio::net::TcpListener;

use crate::client::{Ask, ask};
use crate::rules::to;
use crate::world::{Setup, World, cluster, endpoints};

const HOST: &str = "traced.test";
/// A trace that somebody else began, sampled (`01`) or not (`00`).
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
/// Longer than Envoy keeps spans to itself (5 s, or 5 of them).
const PATIENCE: Duration = Duration::from_secs(15);

fn tracing(sampling: (u32, u32), follows_parent: bool) -> Tracing {
    let attribute = |name: &str, value| (Arc::from(name), value);
    Tracing {
        cluster: ClusterName("collector".into()),
        authority: "collector.telemetry:4317".into(),
        headers: vec![("X-Token".into(), "secret".into())],
        sampling: Fraction { numerator: sampling.0, denominator: sampling.1 },
        follows_parent,
        service_name: "edge".into(),
        span_name: Some("ingress request".into()),
        attributes: vec![
            attribute("test", AttributeValue::RequestHeader("X-Test".into())),
            attribute("env", AttributeValue::Literal("100% test".into())),
            attribute("method", AttributeValue::Of(RequestProperty::Method)),
            attribute("status", AttributeValue::Of(RequestProperty::Status)),
            attribute("path", AttributeValue::Of(RequestProperty::Path)),
            attribute("scheme", AttributeValue::Of(RequestProperty::Scheme)),
            attribute("agent", AttributeValue::Of(RequestProperty::UserAgent)),
            attribute("client", AttributeValue::Of(RequestProperty::ClientAddress)),
            attribute("client port", AttributeValue::Of(RequestProperty::ClientPort)),
            attribute("peer", AttributeValue::Of(RequestProperty::PeerAddress)),
            attribute("received", AttributeValue::Of(RequestProperty::RequestBytes)),
            attribute("sent", AttributeValue::Of(RequestProperty::ResponseBytes)),
        ],
    }
}

async fn world(tracing: Tracing) -> (World, Collector) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let collector = Collector::serve(listener).unwrap();
    let setup = Setup {
        hosts: vec![(Hostname::parse(HOST), vec![to("/", "a")])],
        clusters: vec![(cluster("collector", Protocol::H2c), endpoints("collector", [collector.address()]))],
        tracing: Some(Arc::new(tracing)),
        ..Setup::default()
    };
    (World::start(setup).await, collector)
}

async fn send(world: &World, count: usize, headers: &[(&str, &str)]) {
    for _ in 0..count {
        let ask = ask(world.port, Ask { method: "GET", host: HOST, path: "/a/b?c=d&status=201", headers });
        assert_eq!(ask.await.unwrap().status, 201);
    }
}

async fn until(collector: &Collector, test: &str, count: usize) -> Vec<Seen> {
    let start = Instant::now();
    loop {
        let seen = collector.of(test);
        if seen.len() >= count {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "{test}: {} spans of {count}", seen.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_request_has_a_span_that_says_what_it_was_asked_to() {
    let (world, collector) = world(tracing((1, 1), true)).await;
    send(&world, 10, &[("x-test", "all"), ("user-agent", "tester")]).await;
    let seen = until(&collector, "all", 10).await;
    assert_eq!(seen.len(), 10);
    let Seen { service, name, kind, attributes, headers } = &seen[0];
    assert_eq!(headers["x-token"], "secret");
    assert_eq!((&**service, &**name, *kind), ("edge", "ingress request", 2), "a server's");
    let port = attributes.get("client port").and_then(|port| port.parse::<u16>().ok());
    assert!(port.is_some(), "{attributes:?}");
    for (name, value) in [
        ("env", "100% test"),
        ("method", "GET"),
        ("status", "201"),
        ("path", "/a/b"),
        ("scheme", "http"),
        ("agent", "tester"),
        ("client", "127.0.0.1"),
        ("peer", "127.0.0.1"),
        ("received", "0"),
    ] {
        assert_eq!(attributes.get(name).map(String::as_str), Some(value), "{name} in {attributes:?}");
    }
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn a_sampled_parent_is_followed_and_nobody_else_is_sampled() {
    let (world, collector) = world(tracing((0, 100), true)).await;
    let sampled = format!("{PARENT}01");
    send(&world, 20, &[("x-test", "none")]).await;
    send(&world, 20, &[("x-test", "forced"), ("x-envoy-force-trace", "true"), ("x-client-trace-id", "1")])
        .await;
    send(&world, 20, &[("x-test", "not sampled"), ("traceparent", &format!("{PARENT}00"))]).await;
    send(&world, 20, &[("x-test", "sampled"), ("traceparent", &sampled)]).await;
    assert_eq!(until(&collector, "sampled", 20).await.len(), 20);
    for test in ["none", "forced", "not sampled"] {
        assert!(collector.of(test).is_empty(), "{test}");
    }
}

#[tokio::test]
async fn a_parent_that_does_not_count_changes_nothing() {
    let (world, collector) = world(tracing((1, 1), false)).await;
    send(&world, 10, &[("x-test", "not sampled"), ("traceparent", &format!("{PARENT}00"))]).await;
    assert_eq!(until(&collector, "not sampled", 10).await.len(), 10);
}
