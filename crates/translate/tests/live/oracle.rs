//! A real Envoy answers requests of random worlds as the specification's oracle does, and so as the model in `tests/oracle`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_testkit::echo::{self, Echo, Identity};
use gatehouse_testkit::objects;
use gatehouse_testkit::oracle::{self, Answer, Deed, Request, ServerName, World};
use gatehouse_translate::{Change, Config, Hosting};
use proptest::strategy::{Strategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::rig::Rig;
use crate::streams::clients::{self, exchange, tls_exchange_as};
use crate::support::Picture;

const WORLDS: usize = 24;
const REQUESTS: usize = 40;
/// Statuses of gRPC.
const UNKNOWN: &str = "2";
const UNIMPLEMENTED: &str = "12";
const UNAVAILABLE: &str = "14";
/// What was acknowledged takes effect a moment later; nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_as_the_specification_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut rig = Rig::start(dir.path());
    let backend = backend().await;
    let mut bound = ports();
    let mut runner = TestRunner::default();
    let mut answers = BTreeSet::new();
    for index in 0..WORLDS {
        let world = one(&oracle::worlds(), &mut runner);
        let requests = one(&oracle::requests(REQUESTS), &mut runner);
        let ports: BTreeMap<u16, u16> = [80, 81, 443, 444].into_iter().zip(&mut bound).collect();
        let mut picture = translate(&world, &ports, backend.addr().port());
        for (place, gateway) in world.gateways.iter().enumerate() {
            let name = NamespacedName::new(gateway.name.namespace, gateway.name.name.as_str());
            let fleet = picture.fleets.remove(&FleetKey(name)).unwrap_or_default();
            rig.load(fleet, &format!("world {index}:\n{}", world.yaml())).await;
            for request in &requests {
                let request = Request { gateway: place, ..request.clone() };
                answers.insert(kind_of(&judge(&world, &request, &ports)));
            }
        }
    }
    // Else the worlds say nothing.
    assert!(answers.len() >= 5, "only {answers:?}");
}

/// Ports that the system gives nobody by chance, and mostly others in each process.
fn ports() -> impl Iterator<Item = u16> {
    let of_process = u16::try_from(std::process::id() % 80).expect("it is small");
    (12_000 + 100 * of_process..).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

fn one<S: Strategy>(strategy: &S, runner: &mut TestRunner) -> S::Value {
    strategy.new_tree(runner).expect("the strategy makes values").current()
}

/// A server for all Services, of HTTP/1.1 and of HTTP/2.
async fn backend() -> Echo {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    echo::serve(listener, Identity::default()).expect("serve")
}

fn translate(world: &World, ports: &BTreeMap<u16, u16>, backend: u16) -> Picture {
    let mut translation = gatehouse_translate::World::new(Config {
        hosting: Hosting::Pods,
        port_map: ports.clone(),
        assume_programmed: true,
        ..Config::default()
    });
    let documents = world.documents();
    let slices: Vec<Value> = documents.iter().filter_map(|document| slice(document, backend)).collect();
    for document in documents.into_iter().chain(slices) {
        translation.apply(Change::Upsert(Box::new(objects::written(document))));
    }
    let mut picture = Picture::default();
    picture.absorb(translation.settle());
    picture
}

/// Where a Service has its endpoints.
fn slice(document: &Value, port: u16) -> Option<Value> {
    (document["kind"] == "Service").then(|| {
        json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "namespace": document["metadata"]["namespace"], "name": "slice",
                "labels": { "kubernetes.io/service-name": document["metadata"]["name"] } },
            "ports": [{ "port": port }], "endpoints": [{ "addresses": ["127.0.0.1"] }] })
    })
}

/// Asks until the answer is the oracle's.
fn judge(world: &World, request: &Request, ports: &BTreeMap<u16, u16>) -> Answer {
    let expected = oracle::answer(world, request).answer;
    let start = Instant::now();
    loop {
        let response = ask(request, ports[&request.port]);
        if is(&response, &expected) {
            return expected;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "{}\nthe specification: {expected:?}\nEnvoy: {response:?}",
            oracle::describe(world, request),
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn kind_of(answer: &Answer) -> &'static str {
    match answer {
        Answer::Rule(_, Deed::Redirects) => "redirect",
        Answer::Rule(_, Deed::Forwards(_)) => "forward",
        Answer::Rule(_, Deed::Fails) => "fail",
        Answer::NotFound => "404",
        Answer::Misdirected => "421",
        Answer::Refused => "refused",
    }
}

/// Status and headers of a response; nothing when there is none.
type Response = Option<(String, BTreeMap<String, String>)>;

fn ask(request: &Request, port: u16) -> Response {
    let answer = match &request.tls {
        None => exchange(port, request.text().as_bytes()),
        Some(ServerName::Is(name)) => tls_exchange_as(port, name, None, &request.text()),
        // A client that knows an address only sends no name.
        Some(ServerName::Absent) => tls_exchange_as(port, "127.0.0.1", None, &request.text()),
    };
    let clients::Answer::Text(text) = answer else { return None };
    let mut lines = text.lines();
    // What is no HTTP is an alert of TLS.
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.to_owned();
    let headers = lines.map_while(|line| line.split_once(": "));
    Some((status, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()))
}

/// Whether a response is this answer. Envoy's own answers to calls of gRPC have the status 200 and another one for what it is.
fn is(response: &Response, answer: &Answer) -> bool {
    let Some((status, headers)) = response else { return *answer == Answer::Refused };
    let header = |name: &str| headers.get(name).map(String::as_str);
    let failed = |plain: &str, grpc: &str| match header("grpc-status") {
        None => status == plain,
        Some(of_call) => of_call == grpc,
    };
    match answer {
        Answer::Refused => false,
        Answer::NotFound => header("x-rule").is_none() && failed("404", UNIMPLEMENTED),
        Answer::Misdirected => header("x-rule").is_none() && failed("421", UNKNOWN),
        Answer::Rule(rule, deed) => {
            let does = match deed {
                Deed::Redirects => header("location").is_some_and(|to| to.contains("to.example.com")),
                Deed::Forwards(_) => {
                    status == "200" && header("grpc-status").is_none() && header("location").is_none()
                }
                Deed::Fails if rule.starts_with("grpcroute/") => failed("503", UNAVAILABLE),
                Deed::Fails => failed("500", UNKNOWN),
            };
            header("x-rule") == Some(rule) && does
        }
    }
}
