//! Backends that say themselves how they are treated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_testkit::http::free_port;
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, Hosting, World};
use serde_json::{Value, json};

use crate::rig::Rig;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_get_requests_as_they_become_ready_and_until_they_are_gone() {
    let mut scene = Scene::start();
    scene.pod("a", 2, "app", "True");
    scene.pod("b", 3, "app", "False");
    scene.pod("c", 4, "other", "True");
    scene.put(xbackend("app", scene.pods, &Value::Null));
    scene.put(route(&json!([{ "backendRefs": [reference("app", 1)] }])));
    scene.settle();
    scene.until(&["a"]);

    scene.pod("b", 3, "app", "True");
    scene.settle();
    scene.until(&["a", "b"]);

    scene.remove("a");
    scene.settle();
    scene.until(&["b"]);
    for _ in 0..20 {
        assert_eq!(scene.get("").name(), Some("b"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_stays_on_its_pod_and_changes_no_shares() {
    let mut scene = Scene::start();
    for (name, last, app) in [("a", 2, "own"), ("b", 3, "own"), ("c", 4, "plain"), ("d", 5, "plain")] {
        scene.pod(name, last, app, "True");
    }
    let session = json!({ "type": "Cookie", "cookie": { "name": "stay" } });
    scene.put(xbackend("own", scene.pods, &session));
    scene.put(xbackend("plain", scene.pods, &Value::Null));
    scene.put(route(&json!([{ "backendRefs": [reference("own", 1), reference("plain", 1)] }])));
    scene.settle();
    scene.until(&["a", "b", "c", "d"]);

    let first = scene.answers().find(|answer| answer.cookie("stay").is_some()).expect("a session");
    let (pod, cookie) =
        (first.name().expect("a pod").to_owned(), first.cookie("stay").expect("a cookie").to_owned());
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..400 {
        let answer = scene.get(&format!("cookie: stay={cookie}\r\n"));
        *counts.entry(answer.name().expect("an answer").to_owned()).or_default() += 1;
    }
    let own = counts.get(&pod).copied().unwrap_or_default();
    assert!(own.abs_diff(200) < 60, "{pod} has {own} of 400, not about half");
    let other = if pod == "a" { "b" } else { "a" };
    assert_eq!(counts.get(other), None, "the session left its pod");
    assert!(counts.contains_key("c") && counts.contains_key("d"), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_budget_stops_a_storm_of_retries() {
    let mut scene = Scene::start();
    let asked = Arc::new(AtomicU32::new(0));
    serve_failures(Ipv4Addr::new(127, 0, 0, 2), scene.pods, asked.clone());
    scene.pod_without_server("a", 2, "app", "True");
    scene.put(xbackend("app", scene.pods, &Value::Null));
    scene.put(route(
        &json!([{ "retry": { "codes": [503], "attempts": 1 }, "backendRefs": [reference("app", 1)] }]),
    ));
    scene.settle();
    within(|| scene.get("").status() == Some(503));
    assert_eq!(scene.storm(&asked), 20, "each of ten requests is tried twice");

    scene.put(json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy",
        "metadata": { "name": "p" }, "spec": {
            "targetRefs": [{ "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "app" }],
            "retryConstraint": { "budget": { "percent": 0 }, "minRetryRate": { "count": 1, "interval": "1s" } } } }));
    scene.settle();
    // The cluster is replaced a moment later.
    within(|| {
        let tries = scene.storm(&asked);
        assert!(tries > 10, "one retry at a time is allowed: {tries}");
        tries <= 14
    });
}

/// A world in pods whose changes go to an Envoy; its pods listen on loopback addresses of one port.
struct Scene {
    world: World,
    rig: Rig,
    port: u16,
    pods: u16,
    _dir: tempfile::TempDir,
}

impl Scene {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let config = Config {
            hosting: Hosting::Pods,
            port_map: [(80, port)].into(),
            assume_programmed: true,
            ..Config::default()
        };
        let rig = Rig::start(dir.path());
        let mut scene = Self { world: World::new(config), rig, port, pods: free_port(), _dir: dir };
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": "c" }, "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }));
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": "gw" }, "spec": { "gatewayClassName": "c",
                "listeners": [{ "name": "http", "port": 80, "protocol": "HTTP" }] } }));
        scene
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn remove(&mut self, pod: &str) {
        let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod } });
        self.world.apply(Change::Remove(objects::written(pod).key()));
    }

    /// A pod at 127.0.0.`last` that answers with its name.
    fn pod(&mut self, name: &str, last: u8, app: &str, ready: &str) {
        serve_name(Ipv4Addr::new(127, 0, 0, last), self.pods, name);
        self.pod_without_server(name, last, app, ready);
    }

    fn pod_without_server(&mut self, name: &str, last: u8, app: &str, ready: &str) {
        self.put(json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": app } },
            "status": { "phase": "Running", "podIP": format!("127.0.0.{last}"),
                "conditions": [{ "type": "Ready", "status": ready }] } }));
    }

    fn settle(&mut self) {
        let fleet = FleetKey(NamespacedName::new("default", "gw"));
        self.rig.commit(self.world.settle().fleets.remove(&fleet).expect("the fleet changed"));
    }

    fn get(&self, headers: &str) -> Answer {
        get(self.port, headers)
    }

    fn answers(&self) -> impl Iterator<Item = Answer> {
        (0..100).map(|_| self.get(""))
    }

    /// Waits until exactly these pods answer.
    fn until(&self, pods: &[&str]) {
        let wanted: BTreeSet<_> = pods.iter().map(|pod| Some((*pod).to_owned())).collect();
        within(|| {
            let names = (0..40).map(|_| self.get("").name().map(str::to_owned));
            names.collect::<BTreeSet<_>>() == wanted
        });
    }

    /// How many requests a backend gets of ten at once.
    fn storm(&self, asked: &AtomicU32) -> u32 {
        let (port, before) = (self.port, asked.load(Ordering::SeqCst));
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(move || assert_eq!(get(port, "").status(), Some(503)));
            }
        });
        asked.load(Ordering::SeqCst) - before
    }
}

fn get(port: u16, headers: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nhost: a.example.com\r\n{headers}connection: close\r\n\r\n");
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let _ =
            stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut text).map(drop));
    }
    Answer(text)
}

/// What came back, as text.
struct Answer(String);

impl Answer {
    fn status(&self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.0.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn name(&self) -> Option<&str> {
        self.header("x-pod")
    }

    fn cookie(&self, name: &str) -> Option<&str> {
        let (key, value) = self.header("set-cookie")?.split(';').next()?.split_once('=')?;
        (key == name).then_some(value)
    }
}

fn within(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never");
        thread::sleep(Duration::from_millis(5));
    }
}

fn serve_name(address: Ipv4Addr, port: u16, name: &str) {
    let answer = format!("HTTP/1.1 200 OK\r\nx-pod: {name}\r\ncontent-length: 0\r\n\r\n");
    serve(address, port, move || answer.clone());
}

/// Slow enough for all of a storm to be underway at once.
fn serve_failures(address: Ipv4Addr, port: u16, asked: Arc<AtomicU32>) {
    serve(address, port, move || {
        asked.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(300));
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_owned()
    });
}

/// A server that is there already stays.
fn serve(address: Ipv4Addr, port: u16, answer: impl Fn() -> String + Clone + Send + 'static) {
    let Ok(listener) = TcpListener::bind((address, port)) else { return };
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
                let mut stream = stream;
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() && stream.write_all(answer().as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn xbackend(name: &str, port: u16, session: &Value) -> Value {
    let mut backend = json!({ "apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackend",
        "metadata": { "name": name }, "spec": { "type": "EndpointSelector", "port": { "number": port },
            "endpointSelector": { "matchLabels": { "app": name } } } });
    if !session.is_null() {
        backend["spec"]["sessionPersistence"] = session.clone();
    }
    backend
}

fn reference(name: &str, weight: u32) -> Value {
    json!({ "group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": name, "weight": weight })
}

fn route(rules: &Value) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "r" },
        "spec": { "parentRefs": [{ "name": "gw" }], "rules": rules } })
}
