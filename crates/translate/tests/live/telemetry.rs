//! Spans of requests, from the policy that asks for them to the collector that gets them.

use std::time::{Duration, Instant};

use gatehouse_testkit::collector::{Collector, Seen};
use gatehouse_testkit::http::always_ok;
use serde_json::{Value, json};

use crate::streams::clients::{Answer, Kept, handshake, tls_exchange};
use crate::streams::{Scene, backend, route, tls};

/// Longer than Envoy keeps spans to itself (5 s, or 5 of them).
const PATIENCE: Duration = Duration::from_secs(20);
const HOST: &str = "www.example.com";
const PASSED_ON: &str = "abc.example.com";
/// A trace that somebody else began and sampled.
const SAMPLED: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_come_change_and_go_with_the_policy() {
    let mut traced = Traced::start().await;
    let mut kept = Kept::open(traced.scene.port, &handshake(PASSED_ON));
    assert_eq!(kept.say("first"), Answer::from("one"));
    for _ in 0..20 {
        traced.ask("before", "");
    }

    traced.put(&json!({ "serviceName": "edge", "spanName": "ingress request" }));
    let seen = traced.until("edge", "all", "");
    assert!(traced.collector.of("before").is_empty(), "no policy, no spans");
    for (name, value) in
        [("env", "a test"), ("http.request.method", "GET"), ("status", "200"), ("where", "/a")]
    {
        assert_eq!(seen.attributes.get(name).map(String::as_str), Some(value), "{name} in {seen:?}");
    }
    assert_eq!((&*seen.name, seen.kind), ("ingress request", 2), "a server's");
    assert_eq!(seen.headers["x-token"], "secret");

    traced.put(&json!({ "serviceName": "parents", "samplingRate": { "numerator": 0 } }));
    traced.until("parents", "sampled", SAMPLED);
    traced.ask_many("not sampled", 20);
    // One thread serves all: what is sent later arrives later.
    traced.until_more("parents", "sampled", SAMPLED);
    assert!(traced.collector.of("not sampled").is_empty(), "only what somebody else samples");

    traced.put(&json!({ "samplingRate": { "numerator": 1, "denominator": 2 },
        "parentBasedSampling": { "mode": "Disabled" } }));
    traced.until("gw.default", "begun", "");
    traced.ask_many("half", 200);
    traced.until_more("gw.default", "later", "");
    let half = traced.collector.of("half").len();
    assert!(half.abs_diff(100) <= 45, "{half} of 200, not about half");

    traced.scene.remove(policy(&json!({})));
    traced.scene.settle();
    traced.within(|traced| {
        !traced.scene.admin("/config_dump?resource=dynamic_listeners").contains("OpenTelemetry")
    });
    traced.ask("the last", "");
    traced.ask_many("gone", 40);
    traced.put(&json!({ "serviceName": "again" }));
    traced.until_more("again", "again", "");
    assert!(traced.collector.of("gone").is_empty(), "no policy, no spans");

    assert_eq!(kept.say("still"), Answer::from("one"), "chains of connections are not touched");
}

/// A Gateway with HTTPS and a passed on name on one port, and a collector.
struct Traced {
    scene: Scene,
    collector: Collector,
}

impl Traced {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let collector = Collector::serve(listener).expect("an address");
        let mut scene =
            Scene::start(&json!([tls("https", HOST, "Terminate"), tls("tls", PASSED_ON, "Passthrough")]));
        scene.put(backend("collector", collector.address().port()));
        scene.put(backend("app", always_ok()));
        scene.put(route("HTTPRoute", "app", &[HOST], &[("app", 1)]));
        scene.put(route("TLSRoute", "passed-on", &[PASSED_ON], &[("one", 1)]));
        scene.settle();
        let traced = Self { scene, collector };
        traced.within(|traced| traced.status("ready", "") == Some(200));
        crate::streams::until(PASSED_ON, &Answer::from("one"), || {
            crate::streams::clients::exchange(traced.scene.port, &handshake(PASSED_ON))
        });
        traced
    }

    fn put(&mut self, tracing: &Value) {
        self.scene.put(policy(tracing));
        self.scene.settle();
    }

    fn status(&self, test: &str, headers: &str) -> Option<u16> {
        let request = format!(
            "GET /a?b=c HTTP/1.1\r\nhost: {HOST}\r\nx-test: {test}\r\n{headers}connection: close\r\n\r\n"
        );
        match tls_exchange(self.scene.port, HOST, &request) {
            Answer::Text(answer) => answer.split(' ').nth(1)?.parse().ok(),
            Answer::Closed => None,
        }
    }

    fn ask(&self, test: &str, headers: &str) {
        assert_eq!(self.status(test, headers), Some(200), "{test}");
    }

    fn ask_many(&self, test: &str, count: usize) {
        (0..count).for_each(|_| self.ask(test, ""));
    }

    fn within(&self, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "never");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn count(&self, service: &str, test: &str) -> usize {
        self.collector.of(test).iter().filter(|seen| seen.service == service).count()
    }

    /// Asks until spans of such requests arrive, and gives one of them.
    fn until(&self, service: &str, test: &str, headers: &str) -> Seen {
        self.within(|traced| {
            traced.ask(test, headers);
            traced.count(service, test) > 0
        });
        self.collector.of(test).into_iter().find(|seen| seen.service == service).expect("it was counted")
    }

    /// Asks until so many more arrive that everything asked before has arrived.
    fn until_more(&self, service: &str, test: &str, headers: &str) {
        let before = self.count(service, test);
        self.within(|traced| {
            traced.ask(test, headers);
            traced.count(service, test) >= before + 15
        });
    }
}

/// A policy with this about tracing, besides what all of them say.
fn policy(tracing: &Value) -> Value {
    let mut all = json!({
        "mode": "Enabled",
        "provider": {
            "backendRef": { "group": "gateway.envoyproxy.io", "kind": "Backend", "name": "collector", "port": 80 },
            "headers": [{ "name": "X-Token", "value": "secret" }],
        },
        "attributes": [
            { "name": "test", "sourceType": "Header", "headerName": "X-Test" },
            { "name": "env", "sourceType": "Literal", "literalValue": "a test" },
            { "name": "http.request.method", "sourceType": "Attribute", "attributeKey": "http.request.method" },
            { "name": "status", "sourceType": "Attribute", "attributeKey": "http.response.status_code" },
            { "name": "where", "sourceType": "Attribute", "attributeKey": "url.path" },
        ],
    });
    for (field, value) in tracing.as_object().into_iter().flatten() {
        all[field] = value.clone();
    }
    json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XTelemetryPolicy",
        "metadata": { "name": "p" }, "spec": {
            "targetRefs": [{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw" }],
            "tracing": all } })
}
