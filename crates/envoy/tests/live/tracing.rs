//! Spans of requests reach a collector, as many as were asked for, and say what they were asked to say.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use envoy_types::pb::opentelemetry::proto::common::v1::{KeyValue, any_value};
use gatehouse_model::Hostname;
use gatehouse_model::backend::{ClusterName, Protocol};
use gatehouse_model::http::Fraction;
use gatehouse_model::tracing::{AttributeValue, RequestProperty, Tracing};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::codegen::{Pin, Service, http};
use tonic::server::NamedService;

use crate::client::{Ask, ask};
use crate::rules::to;
use crate::world::{Setup, World, cluster, endpoints};

const HOST: &str = "traced.test";
/// A trace that somebody else began, sampled (`01`) or not (`00`).
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-";
/// Longer than Envoy keeps spans to itself (5 s, or 5 of them).
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
}

/// A span with the service that it is of.
#[derive(Clone, Debug)]
struct Seen {
    service: String,
    name: String,
    kind: i32,
    attributes: BTreeMap<String, String>,
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Seen>>>);

impl Collector {
    fn take(&self, body: &[u8]) {
        // The frame of gRPC: a byte and a length.
        let export = Export::decode(&body[5..]).unwrap();
        let mut seen = self.0.lock().unwrap();
        for resource in export.resources {
            let service = texts(resource.resource.unwrap_or_default().attributes).remove("service.name");
            let spans = resource.scopes.into_iter().flat_map(|scope| scope.spans);
            seen.extend(spans.map(|span| Seen {
                service: service.clone().unwrap_or_default(),
                name: span.name,
                kind: span.kind,
                attributes: texts(span.attributes),
            }));
        }
    }

    /// Spans of requests with this value of `x-test`.
    fn of(&self, test: &str) -> Vec<Seen> {
        let of_test = |seen: &&Seen| seen.attributes.get("test").is_some_and(|value| value == test);
        self.0.lock().unwrap().iter().filter(of_test).cloned().collect()
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |attribute: KeyValue| match attribute.value?.value? {
        any_value::Value::StringValue(text) => Some((attribute.key, text)),
        other => Some((attribute.key, format!("{other:?}"))),
    };
    attributes.into_iter().filter_map(text).collect()
}

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move {
            assert_eq!(request.headers()["x-token"], "secret");
            collector.take(&request.into_body().collect().await.unwrap().to_bytes());
            let trailers = http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static("0"),
            )]);
            let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
            let answer = http::Response::builder().header("content-type", "application/grpc");
            Ok(answer.body(Body::new(body)).unwrap())
        })
    }
}

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
    let address = listener.local_addr().unwrap();
    let collector = Collector::default();
    let server = tonic::transport::Server::builder().add_service(collector.clone());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let setup = Setup {
        hosts: vec![(Hostname::parse(HOST), vec![to("/", "a")])],
        clusters: vec![(cluster("collector", Protocol::H2c), endpoints("collector", [address]))],
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
    let Seen { service, name, kind, attributes } = &seen[0];
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
