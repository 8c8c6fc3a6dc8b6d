//! World and xDS server together, with a real Envoy where its answers matter.

use std::net::UdpSocket;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatehouse_envoy::{Address, BootstrapOptions, bootstrap};
use gatehouse_model::{FleetKey, NamespacedName};
use gatehouse_testkit::certificates;
use gatehouse_testkit::envoy::Envoy;
use gatehouse_testkit::http::{always_ok, free_port, status};
use gatehouse_testkit::objects;
use gatehouse_translate::{Change, Config, SecretSource};
use gatehouse_xds::Server;
use prometheus::Registry;
use serde_json::{Value, json};

use super::{FIRST_SNAPSHOT, Plane, PlaneMetrics, fleet_id};

const CLASS: &str = r"
{ apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: { name: c }, spec: { controllerName: gatehouse.dev/gatewayclass-controller } }
";

struct Scene {
    plane: Plane,
    server: Server,
    registry: Registry,
}

impl Scene {
    fn new(config: Config) -> Self {
        let (server, registry) = (Server::new(gatehouse_xds::Config::default()), Registry::new());
        let metrics = PlaneMetrics::new(&registry).expect("names that are free");
        let mut scene = Self { plane: Plane::new(config, server.clone(), metrics), server, registry };
        scene.put(objects::documents(CLASS).expect("YAML").remove(0));
        scene
    }

    fn put(&mut self, document: Value) {
        let object = Box::new(objects::written(document));
        self.plane.change(Change::Upsert(object), Instant::now());
    }

    /// Whether anything was handed to the xDS server.
    fn committed(&self) -> bool {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == "gatehouse_committed_resources_total");
        family.is_some_and(|family| family.get_metric().iter().any(|m| m.get_counter().get_value() > 0.0))
    }
}

fn gateway(listener: &Value) -> Value {
    json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": { "name": "gw" },
        "spec": { "gatewayClassName": "c", "listeners": [listener] } })
}

fn secret() -> Value {
    let (certificate, key) = certificates::FIRST;
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "cert" }, "type": "kubernetes.io/tls",
        "stringData": { "tls.crt": certificate, "tls.key": key } })
}

fn waiting_for_a_secret() -> (Scene, Instant) {
    let mut scene = Scene::new(Config { secrets: SecretSource::OnDemand, ..Config::default() });
    scene.put(gateway(&json!({ "name": "https", "port": 443, "protocol": "HTTPS",
        "tls": { "certificateRefs": [{ "name": "cert" }] } })));
    let start = Instant::now();
    scene.plane.settle(start);
    assert!(!scene.committed());
    assert_eq!(scene.plane.wake_at(), Some(start + FIRST_SNAPSHOT));
    (scene, start)
}

#[test]
fn a_first_snapshot_waits_for_a_wanted_secret() {
    let (mut scene, start) = waiting_for_a_secret();
    scene.put(secret());
    scene.plane.settle(start + Duration::from_secs(1));
    assert!(scene.committed());
    assert_eq!(scene.plane.wake_at(), None);
}

#[test]
fn a_first_snapshot_waits_no_longer_than_it_should() {
    let (mut scene, start) = waiting_for_a_secret();
    scene.plane.settle(start + FIRST_SNAPSHOT / 2);
    assert!(!scene.committed());
    scene.plane.settle(start + FIRST_SNAPSHOT);
    assert!(scene.committed(), "it serves without");
    assert_eq!(scene.plane.wake_at(), None);
}

/// A DNS server that says nothing until it is told to; then every name is 127.0.0.1.
struct Dns {
    port: u16,
    speaks: Arc<AtomicBool>,
}

impl Dns {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let speaks = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&speaks);
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if told.load(Ordering::Relaxed) {
                    // Nobody may be waiting any more.
                    let _ = socket.send_to(&answer(&query[..length]), from);
                }
            }
        });
        Self { port, speaks }
    }
}

/// The answer to a query with one question (RFC 1035 section 4.1).
fn answer(query: &[u8]) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).expect("a name ends");
    let question = &query[12..12 + name + 5];
    let is_a = question[name + 1..name + 3] == [0, 1];
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    answer.extend(question);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
    }
    answer
}

/// The bootstrap of an Envoy that asks only this server, for a second each time.
fn bootstrap_with(dns: &Dns, dir: &std::path::Path) -> String {
    let pipe = |name: &str| Address::Pipe(dir.join(name).display().to_string());
    let options = BootstrapOptions::new("plane", "plane", pipe("admin.sock"), pipe("xds.sock"));
    let mut config: Value = serde_json::from_str(&bootstrap(&options)).expect("JSON");
    config["typed_dns_resolver_config"] = json!({ "name": "envoy.network.dns_resolver.cares", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        "resolvers": [{ "socket_address": { "address": "127.0.0.1", "port_value": dns.port } }],
        "query_timeout_seconds": 1, "query_tries": 100 } });
    config.to_string()
}

/// Passes on what the proxies say until the status of a kind is as wanted.
async fn until_status(
    scene: &mut Scene,
    events: &mut tokio::sync::mpsc::UnboundedReceiver<gatehouse_xds::Event>,
    kind: &str,
    is: impl Fn(&str) -> bool,
) {
    let patience = Duration::from_secs(30);
    let told = async {
        loop {
            let settled = scene.plane.settle(Instant::now());
            let mut statuses = settled.statuses.iter().filter(|status| status.object.kind == kind);
            if statuses.any(|status| status.status.as_deref().is_some_and(&is)) {
                return;
            }
            scene.plane.proxy(&events.recv().await.expect("the server lives"));
        }
    };
    assert!(tokio::time::timeout(patience, told).await.is_ok(), "no such status");
}

/// Asks until one of these is the answer.
async fn until_answer(port: u16, wanted: &[u16], envoy: &Envoy) {
    let start = Instant::now();
    loop {
        let answer = status(port, "any.example.com", "/");
        if answer.is_some_and(|answer| wanted.contains(&answer)) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{answer:?}, not {wanted:?}: {}", envoy.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_is_not_ready_is_told_until_it_is() {
    let (dir, dns, port) = (tempfile::tempdir().expect("a folder"), Dns::start(), free_port());
    let mut scene = Scene::new(Config { port_map: [(80, port)].into(), ..Config::default() });
    let mut events = scene.server.events();
    let fleet = fleet_id(&FleetKey(NamespacedName::new("default", "gw")));
    let socket: PathBuf = dir.path().join("xds.sock");
    tokio::spawn(scene.server.serve_unix(&socket, &fleet).expect("serve"));
    let envoy = Envoy::start(dir.path(), &bootstrap_with(&dns, dir.path()));
    scene.put(gateway(&json!({ "name": "http", "port": 80, "protocol": "HTTP" })));
    until_status(&mut scene, &mut events, "Gateway", |status| status.contains("a proxy holds")).await;
    scene.put(
        json!({ "apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "Backend", "metadata": { "name": "slow" },
        "spec": { "endpoints": [{ "fqdn": { "hostname": "slow.example.com", "port": always_ok() } }] } }),
    );
    scene.put(json!({ "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "r" },
        "spec": { "parentRefs": [{ "name": "gw" }],
            "rules": [{ "backendRefs": [{ "group": "gateway.envoyproxy.io", "kind": "Backend", "name": "slow" }] }] } }));

    until_status(&mut scene, &mut events, "HTTPRoute", |status| status.contains("BackendNotReady")).await;
    // Sent at that moment, and taken a little later.
    until_answer(port, &[503, 504], &envoy).await;

    dns.speaks.store(true, Ordering::Relaxed);
    until_status(&mut scene, &mut events, "HTTPRoute", |status| !status.contains("BackendNotReady")).await;
    until_answer(port, &[200], &envoy).await;
}
