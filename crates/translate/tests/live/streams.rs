//! Connections and datagrams that are forwarded as they are.

pub(crate) mod clients;

use std::collections::BTreeMap;
use std::time::Duration;

use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_testkit::certificates;
use gatehouse_testkit::http::free_port;
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, World};
use serde_json::{Value, json};

use crate::rig::Rig;
use clients::{Answer, Kept, datagram, datagram_backend, exchange, handshake, tcp_backend, tls_exchange};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_passes_through_by_server_name() {
    let mut scene = Scene::start(&json!([tls("tls", "*.example.com", "Passthrough")]));
    scene.put(route("TLSRoute", "one", &["one.example.com"], &[("one", 1)]));
    scene.put(route("TLSRoute", "two", &["*.two.example.com"], &[("two", 1)]));
    scene.settle();
    scene.until("one.example.com", &Answer::from("one"));
    scene.until("deep.a.two.example.com", &Answer::from("two"));
    assert_eq!(scene.hello("three.example.com"), Answer::Closed, "within the listener, and of no route");
    assert_eq!(scene.hello("example.org"), Answer::Closed, "of no listener");

    scene.put(route("TLSRoute", "missing", &["three.example.com"], &[("missing", 1)]));
    scene.put(route("TLSRoute", "z-late", &["one.example.com"], &[("two", 1)]));
    scene.settle();
    scene.put(route("TLSRoute", "done", &["done.example.com"], &[("two", 1)]));
    scene.settle();
    scene.until("done.example.com", &Answer::from("two"));
    assert_eq!(scene.hello("three.example.com"), Answer::Closed, "the backend does not exist");
    assert_eq!(scene.hello("one.example.com"), Answer::from("one"), "the first of two routes keeps its name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_modes_share_a_port_with_https() {
    let mut scene = Scene::start(&json!([
        tls("https", "www.example.com", "Terminate"),
        tls("ends", "tls.example.com", "Terminate"),
        tls("passes", "abc.example.com", "Passthrough"),
    ]));
    scene.put(route("TLSRoute", "ends", &["tls.example.com"], &[("one", 1)]));
    scene.put(route("TLSRoute", "passes", &["abc.example.com"], &[("two", 1)]));
    scene.settle();
    scene.until("abc.example.com", &Answer::from("two"));
    let port = scene.port;
    assert_eq!(tls_exchange(port, "tls.example.com", "ping"), Answer::from("one"), "TLS ends at the gateway");
    let answer = tls_exchange(port, "www.example.com", "GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
    let Answer::Text(answer) = answer else { panic!("no answer") };
    assert!(answer.starts_with("HTTP/1.1 404"), "HTTPS beside it: {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_out_by_weight_and_bad_shares_fail() {
    let mut scene = Scene::start(&json!([{ "name": "tcp", "port": 443, "protocol": "TCP" }]));
    scene.put(route("TCPRoute", "tcp", &[], &[("one", 6), ("two", 3), ("missing", 1), ("three", 0)]));
    scene.settle();
    scene.until("", &Answer::from("one"));
    let mut counts: BTreeMap<Answer, u32> = BTreeMap::new();
    for _ in 0..1000 {
        *counts.entry(exchange(scene.port, b"ping")).or_default() += 1;
    }
    for (answer, share) in [(Answer::from("one"), 600), (Answer::from("two"), 300), (Answer::Closed, 100)] {
        let got = counts.remove(&answer).unwrap_or_default();
        assert!(got.abs_diff(share) < 80, "{answer:?} has {got} of 1000, not about {share}");
    }
    assert_eq!(counts, BTreeMap::new(), "nothing without weight");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_one_route_leaves_the_connections_of_others_open() {
    let mut scene = Scene::start(&json!([tls("tls", "*.example.com", "Passthrough")]));
    scene.put(route("TLSRoute", "one", &["one.example.com"], &[("one", 1)]));
    scene.put(route("TLSRoute", "two", &["two.example.com"], &[("two", 1)]));
    scene.settle();
    scene.until("one.example.com", &Answer::from("one"));
    scene.until("two.example.com", &Answer::from("two"));
    let mut open = Kept::open(scene.port, &handshake("one.example.com"));
    for edit in 1..20 {
        let name = if edit % 2 == 0 { "two" } else { "three" };
        scene.put(route("TLSRoute", "two", &["two.example.com"], &[(name, edit)]));
        scene.settle();
        scene.until("two.example.com", &Answer::from(name));
        assert_eq!(open.say("again"), Answer::from("one"), "after {edit} edits of the other route");
    }
    // Envoy is told to end what is drained after a second.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(open.say("again"), Answer::from("one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_of_a_route_costs_no_new_connection() {
    let mut scene = Scene::start(&json!([{ "name": "tcp", "port": 443, "protocol": "TCP" }]));
    scene.put(route("TCPRoute", "tcp", &[], &[("one", 1)]));
    scene.settle();
    scene.until("", &Answer::from("one"));
    for edit in 0..30 {
        let name = if edit % 2 == 0 { "two" } else { "one" };
        scene.put(route("TCPRoute", "tcp", &[], &[(name, 1)]));
        scene.settle();
        let start = std::time::Instant::now();
        loop {
            let answer = exchange(scene.port, b"ping");
            assert_ne!(answer, Answer::Closed, "edit {edit} closes a connection");
            if answer == Answer::from(name) {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "edit {edit} does not arrive");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn datagrams_are_shared_out_by_weight_beside_tcp_of_the_same_port() {
    let mut scene = Scene::start(&json!([
        { "name": "udp", "port": 443, "protocol": "UDP" },
        { "name": "tcp", "port": 443, "protocol": "TCP" },
    ]));
    scene.put(route("TCPRoute", "tcp", &[], &[("one", 1)]));
    scene.put(route("UDPRoute", "udp", &[], &[("one-u", 1)]));
    scene.settle();
    scene.until("", &Answer::from("one"));
    scene.until_datagram(&Answer::from("one-u"));

    scene.put(route("UDPRoute", "udp", &[], &[("one-u", 6), ("two-u", 3), ("missing", 1)]));
    scene.settle();
    scene.until_datagram(&Answer::from("two-u"));
    let mut counts: BTreeMap<Answer, u32> = BTreeMap::new();
    for _ in 0..600 {
        *counts.entry(datagram(scene.port)).or_default() += 1;
    }
    for (answer, share) in [(Answer::from("one-u"), 360), (Answer::from("two-u"), 180), (Answer::Closed, 60)]
    {
        let got = counts.remove(&answer).unwrap_or_default();
        assert!(got.abs_diff(share) < 60, "{answer:?} has {got} of 600, not about {share}");
    }

    scene.put(route("UDPRoute", "udp", &[], &[("missing", 1)]));
    scene.settle();
    scene.until_datagram(&Answer::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn access_logs_name_routes() {
    let listeners =
        json!([tls("tls", "*.example.com", "Passthrough"), tls("https", "www.example.com", "Terminate")]);
    let mut scene = Scene::start(&listeners);
    let log = scene.dir.path().join("access.log");
    let name = |of: &str| format!("%METADATA({of}:gatehouse.dev:kind)% %METADATA({of}:gatehouse.dev:name)%");
    let text = format!("{} or {}\n", name("LISTENER_FILTER_CHAIN"), name("ROUTE"));
    let setting = json!({ "format": { "type": "Text", "text": text },
        "sinks": [{ "type": "File", "file": { "path": log } }] });
    scene.put(json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
        "metadata": { "name": "logs" }, "spec": { "telemetry": { "accessLog": { "settings": [setting] } } } }));
    let parameters = json!({ "group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "logs" });
    let spec = json!({ "gatewayClassName": "c", "infrastructure": { "parametersRef": parameters },
        "listeners": listeners });
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "name": "gw" }, "spec": spec }));
    scene.put(route("TLSRoute", "shop", &["one.example.com"], &[("one", 1)]));
    scene.put(route("HTTPRoute", "web", &["www.example.com"], &[("one", 1)]));
    scene.settle();
    scene.until("one.example.com", &Answer::from("one"));
    let start = std::time::Instant::now();
    loop {
        // What answers is no HTTP server; the route is logged all the same.
        tls_exchange(scene.port, "www.example.com", "GET / HTTP/1.1\r\nhost: www.example.com\r\n\r\n");
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        if text.contains("TLSRoute shop or - -\n") && text.contains("- - or HTTPRoute web\n") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{text}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A world whose changes go to an Envoy.
pub(crate) struct Scene {
    world: World,
    rig: Rig,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
}

impl Scene {
    /// A Gateway with these listeners on port 443, and backends that answer with their names.
    pub(crate) fn start(listeners: &Value) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let config = Config { port_map: [(443, port)].into(), assume_programmed: true, ..Config::default() };
        let mut scene = Self { world: World::new(config), rig: Rig::start(dir.path()), port, dir };
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": "c" }, "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }));
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": "gw" }, "spec": { "gatewayClassName": "c", "listeners": listeners } }));
        let (chain, key) = certificates::FIRST;
        scene.put(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" },
            "type": "kubernetes.io/tls", "stringData": { "tls.crt": chain, "tls.key": key } }));
        for name in ["one", "two", "three"] {
            scene.put(backend(name, tcp_backend(name)));
        }
        for name in ["one-u", "two-u"] {
            scene.put(backend(name, datagram_backend(name)));
        }
        scene
    }

    pub(crate) fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    pub(crate) fn remove(&mut self, document: Value) {
        self.world.apply(Change::Remove(objects::written(document).key()));
    }

    /// What Envoy says of itself.
    pub(crate) fn admin(&self, path: &str) -> String {
        self.rig.admin(path)
    }

    pub(crate) fn settle(&mut self) {
        let fleet = FleetKey(NamespacedName::new("default", "gw"));
        self.rig.commit(self.world.settle().fleets.remove(&fleet).expect("the fleet changed"));
    }

    /// What a connection with this server name is answered; one without TLS, if the name is empty.
    fn hello(&self, name: &str) -> Answer {
        let first = if name.is_empty() { b"ping".to_vec() } else { handshake(name) };
        exchange(self.port, &first)
    }

    fn until(&self, name: &str, answer: &Answer) {
        until(name, answer, || self.hello(name));
    }

    fn until_datagram(&self, answer: &Answer) {
        until("a datagram", answer, || datagram(self.port));
    }
}

pub(crate) fn until(what: &str, wanted: &Answer, ask: impl Fn() -> Answer) {
    let start = std::time::Instant::now();
    loop {
        let answer = ask();
        if answer == *wanted {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: {answer:?} rather than {wanted:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn tls(name: &str, hostname: &str, mode: &str) -> Value {
    let protocol = if name == "https" { "HTTPS" } else { "TLS" };
    let mut tls = json!({ "mode": mode });
    if mode == "Terminate" {
        tls["certificateRefs"] = json!([{ "name": "cert" }]);
    }
    json!({ "name": name, "port": 443, "protocol": protocol, "hostname": hostname, "tls": tls })
}

pub(crate) fn backend(name: &str, port: u16) -> Value {
    json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": { "name": name },
        "spec": { "endpoints": [{ "ip": { "address": "127.0.0.1", "port": port } }] } })
}

pub(crate) fn route(kind: &str, name: &str, hostnames: &[&str], backends: &[(&str, i32)]) -> Value {
    let reference = |(name, weight): &(&str, i32)| json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": name, "weight": weight });
    let backends: Vec<_> = backends.iter().map(reference).collect();
    let section = match kind {
        "TCPRoute" => json!([{ "name": "gw", "sectionName": "tcp" }]),
        _ => json!([{ "name": "gw" }]),
    };
    let mut spec = json!({ "parentRefs": section, "rules": [{ "backendRefs": backends }] });
    if !hostnames.is_empty() {
        spec["hostnames"] = json!(hostnames);
    }
    // Of routes for the same name the one that comes first by name is served: none of these has an age.
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": { "name": name }, "spec": spec })
}
