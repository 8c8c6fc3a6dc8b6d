//! Filters of listeners: whose requests meet them, and what goes on meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_testkit::echo::{self, Echo, Identity};
use gatehouse_testkit::http::{free_port, status};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, World};
use serde_json::{Value, json};

use crate::rig::Rig;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(15);
const SHOP: &str = "shop.example.com";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_listener_is_asked_about_and_no_other() {
    let mut scene = Scene::start().await;
    scene.listeners(&[auth("one")]);
    scene.settle();
    scene.until(SHOP, "/?status=403", 403);
    assert_eq!(scene.get(SHOP, "/"), Some(200));
    assert_eq!(scene.get("unknown.example.com", "/?status=401"), Some(401), "no route, no host of its own");
    assert_eq!(scene.get("unknown.example.com", "/"), Some(404));
    let asked = scene.echoes[0].requests();
    assert_eq!(scene.get("open.example.com", "/?status=201"), Some(201), "by the backend");
    assert_eq!(scene.get("elsewhere.test", "/?status=403"), Some(404), "of no listener");
    assert_eq!(scene.echoes[0].requests(), asked);
    scene.listeners(&[json!({ "type": "ExtensionRef",
        "extensionRef": { "group": "example.com", "kind": "Claims", "name": "claims" } })]);
    scene.settle();
    scene.until(SHOP, "/", 500);
    assert_eq!(scene.get("unknown.example.com", "/"), Some(500));
    assert_eq!(scene.get("open.example.com", "/"), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_connections_survive_filters_that_come_change_and_go() {
    let mut scene = Scene::start().await;
    scene.listeners(&[]);
    scene.settle();
    scene.until(SHOP, "/", 200);
    let mut open = WebSocket::open(scene.port);
    open.say("before");
    let steps: [(&[Value], u16); 4] =
        [(&[auth("one")], 403), (&[auth("two"), auth("one")], 401), (&[auth("two")], 403), (&[], 201)];
    for (filters, code) in steps {
        scene.listeners(filters);
        scene.settle();
        scene.until(SHOP, &format!("/?status={code}"), code);
        open.say("meanwhile");
        WebSocket::open(scene.port).say("through the filters");
    }
    // Envoy is told to end what is drained after a second.
    std::thread::sleep(Duration::from_millis(1500));
    open.say("after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_come_cost_no_request() {
    let mut scene = Scene::start().await;
    scene.listeners(&[]);
    scene.settle();
    scene.until(SHOP, "/", 200);
    for edit in 0..10 {
        let server = if edit % 2 == 0 { "one" } else { "two" };
        scene.listeners(&[auth(server)]);
        scene.settle();
        let index = usize::from(server == "two");
        let (start, before) = (Instant::now(), scene.echoes[index].requests());
        while scene.echoes[index].requests() == before {
            assert_eq!(scene.get(SHOP, "/"), Some(200), "edit {edit}");
            assert!(start.elapsed() < PATIENCE, "edit {edit} does not arrive");
        }
    }
}

fn auth(server: &str) -> Value {
    let server = json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": server, "port": 80 });
    json!({ "type": "ExternalAuth", "externalAuth": { "protocol": "HTTP", "http": {}, "backendRef": server } })
}

/// A world whose changes go to an Envoy: backends `one` and `two` are asked, `app` serves.
struct Scene {
    world: World,
    rig: Rig,
    port: u16,
    echoes: [Echo; 3],
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let config = Config { port_map: [(80, port)].into(), assume_programmed: true, ..Config::default() };
        let echoes = [echo("one").await, echo("two").await, echo("app").await];
        let mut scene =
            Self { world: World::new(config), rig: Rig::start(dir.path()), port, echoes, _dir: dir };
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": { "name": "c" }, "spec": { "controllerName": "gatehouse.dev/gatewayclass-controller" } }));
        for (index, name) in ["one", "two", "app"].into_iter().enumerate() {
            let port = scene.echoes[index].addr().port();
            scene.put(json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend",
                "metadata": { "name": name },
                "spec": { "endpoints": [{ "ip": { "address": "127.0.0.1", "port": port } }] } }));
        }
        let app = json!({ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": "app", "port": 80 });
        scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": { "name": "r" }, "spec": { "parentRefs": [{ "name": "gw" }],
                "hostnames": [SHOP, "open.example.com"], "rules": [{ "backendRefs": [app] }] } }));
        scene
    }

    /// A listener with these filters, and a narrower one without.
    fn listeners(&mut self, filters: &[Value]) {
        let listeners = json!([
            { "name": "http", "port": 80, "protocol": "HTTP", "hostname": "*.example.com",
                "filters": { "requests": filters } },
            { "name": "open", "port": 80, "protocol": "HTTP", "hostname": "open.example.com" },
        ]);
        self.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": { "name": "gw" }, "spec": { "gatewayClassName": "c", "listeners": listeners } }));
    }

    fn put(&mut self, document: Value) {
        self.world.apply(Change::Upsert(Box::new(objects::written(document))));
    }

    fn settle(&mut self) {
        let fleet = FleetKey(NamespacedName::new("default", "gw"));
        let change = self.world.settle().fleets.remove(&fleet).expect("the fleet changed");
        self.rig.commit(change);
    }

    fn get(&self, host: &str, path: &str) -> Option<u16> {
        status(self.port, host, path)
    }

    fn until(&self, host: &str, path: &str, wanted: u16) {
        let start = Instant::now();
        while self.get(host, path) != Some(wanted) {
            assert!(start.elapsed() < PATIENCE, "{host}{path}: {:?}, not {wanted}", self.get(host, path));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

async fn echo(name: &str) -> Echo {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    echo::serve(listener, Identity { pod: name.to_owned(), ..Identity::default() }).expect("serve")
}

/// A WebSocket whose messages come back.
struct WebSocket(TcpStream);

impl WebSocket {
    fn open(port: u16) -> Self {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {SHOP}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).expect("ask");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("an answer");
            answer.push(byte[0]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
        Self(socket)
    }

    /// A text frame of a client, masked with zeros, and the server's frame with the same text.
    fn say(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("a short text");
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.0.write_all(&frame).expect("the connection is open");
        let mut answer = vec![0; 2 + text.len()];
        self.0.read_exact(&mut answer).expect("the connection is open");
        assert_eq!(&answer[2..], text.as_bytes());
    }
}
