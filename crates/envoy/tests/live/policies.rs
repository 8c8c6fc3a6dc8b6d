//! Time limits, retries, sessions, WebSockets.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::Hostname;
use gatehouse_model::backend::{Cluster, Discovery, Endpoint, EndpointAddress, Health, Protocol};
use gatehouse_model::http::{HttpRoute, Retry, SessionPersistence, Timeouts};
use gatehouse_testkit::echo::{Echo, Identity, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::{Ask, Reply, ask, get};
use crate::rules::to;
use crate::world::{Setup, World, cluster, endpoints, free_port};

fn limited(path: &str, request: Option<u64>, backend_request: Option<u64>) -> HttpRoute {
    let limit = |millis: Option<u64>| millis.map(Duration::from_millis);
    let timeouts = Timeouts { request: limit(request), backend_request: limit(backend_request) };
    HttpRoute { timeouts, ..to(path, "a") }
}

fn retried(path: &str, cluster: &str, codes: &[u16], attempts: u32) -> HttpRoute {
    let retry = Retry { codes: codes.to_vec(), attempts, backoff: Some(Duration::from_millis(10)) };
    HttpRoute { retry: Some(Arc::new(retry)), ..to(path, cluster) }
}

async fn send(world: &World, path: &str) -> Reply {
    get(world.port, "policy.test", path).await.unwrap()
}

#[tokio::test]
async fn time_limits_end_requests_with_504() {
    let mut both = retried("/both", "a", &[504], 3);
    both.timeouts = limited("/", Some(700), Some(200)).timeouts;
    let routes = vec![
        limited("/request", Some(300), None),
        limited("/backend", None, Some(300)),
        limited("/unlimited", Some(0), Some(0)),
        both,
    ];
    let hosts = vec![(Hostname::parse("policy.test"), routes)];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    for (path, status) in [
        ("/request", 200),
        ("/request?delay=2s", 504),
        ("/backend", 200),
        ("/backend?delay=2s", 504),
        ("/unlimited?delay=1s", 200),
    ] {
        let start = Instant::now();
        assert_eq!(send(&world, path).await.status, status, "{path}");
        assert!(start.elapsed() < Duration::from_millis(1500), "{path} took {:?}", start.elapsed());
    }
    let before = world.echoes["a"].requests();
    assert_eq!(send(&world, "/both?delay=2s").await.status, 504);
    let attempts = world.echoes["a"].requests() - before;
    assert!(attempts >= 2, "an attempt that takes too long is retried: {attempts}");
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn retries_happen_on_listed_codes_and_failed_connections_only() {
    let echo = extra_echo("alive").await;
    let dead = std::net::SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let routes = vec![
        retried("/codes", "a", &[500, 503], 2),
        retried("/connect", "half", &[], 100),
        retried("/zero", "a", &[500], 0),
        retried("/other", "a", &[502], 2),
    ];
    let setup = Setup {
        hosts: vec![(Hostname::parse("policy.test"), routes)],
        clusters: vec![(cluster("half", Protocol::Http1), endpoints("half", [dead, echo.addr()]))],
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for (path, uuid, succeed_after, status) in
        [("/codes", 1, 2, 200), ("/codes", 2, 3, 500), ("/zero", 3, 1, 500), ("/other", 4, 1, 500)]
    {
        let query = format!("{path}?uuid={uuid}&responseCode=500&succeedAfter={succeed_after}");
        assert_eq!(send(&world, &query).await.status, status, "{query}");
    }
    for _ in 0..40 {
        assert_eq!(send(&world, "/connect").await.status, 200, "the other endpoint answers");
    }
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn clients_cannot_change_policies_by_headers() {
    let hosts = vec![(Hostname::parse("policy.test"), vec![limited("/", Some(5000), None)])];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    let headers = [("x-envoy-upstream-rq-timeout-ms", "50"), ("x-envoy-internal", "true")];
    let request = Ask { method: "GET", host: "policy.test", path: "/?delay=300ms", headers: &headers };
    let reply = ask(world.port, request).await.unwrap();
    assert_eq!(reply.status, 200);
    let seen = reply.seen().headers;
    let envoy: Vec<_> = seen.keys().filter(|name| name.starts_with("X-Envoy-")).collect();
    assert_eq!(envoy, ["X-Envoy-External-Address"], "the client is not internal");
    assert_eq!(seen["X-Forwarded-Proto"], ["http"]);
    assert_eq!(world.log(), "");
}

async fn extra_echo(name: &str) -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    serve(listener, Identity { pod: name.to_owned(), ..Identity::default() }).unwrap()
}

#[tokio::test]
async fn sessions_stay_at_their_endpoint_while_it_drains_too() {
    let (one, two) = (extra_echo("one").await, extra_echo("two").await);
    let with = |path: &str, session| HttpRoute { session: Some(Arc::new(session)), ..to(path, "pair") };
    let cookie = |ttl| SessionPersistence::Cookie { name: "sid".into(), path: "/".into(), ttl };
    let routes = vec![
        with("/cookie", cookie(None)),
        with("/kept", cookie(Some(Duration::from_mins(1)))),
        with("/header", SessionPersistence::Header { name: "x-sid".into() }),
        to("/none", "pair"),
    ];
    let setup = Setup {
        hosts: vec![(Hostname::parse("policy.test"), routes)],
        clusters: vec![(cluster("pair", Protocol::Http1), endpoints("pair", [one.addr(), two.addr()]))],
        ..Setup::default()
    };
    let world = World::start(setup).await;
    let reply = send(&world, "/cookie").await;
    let set_cookie = reply.header("set-cookie");
    assert!(set_cookie.starts_with("sid=") && !set_cookie.contains("Max-Age"), "{set_cookie}");
    assert!(send(&world, "/kept").await.header("set-cookie").contains("Max-Age=60"));
    assert_eq!(send(&world, "/none").await.header("set-cookie"), "");

    let cookie = set_cookie.split(';').next().unwrap().replace('"', "");
    assert_eq!(
        pods(&world, "/cookie", &[("cookie", &cookie)]).await,
        [reply.seen().identity.pod.clone()].into()
    );
    let header = send(&world, "/header").await;
    let id = header.header("x-sid");
    assert_eq!(pods(&world, "/header", &[("x-sid", &id)]).await, [header.seen().identity.pod].into());
    assert_eq!(pods(&world, "/none", &[]).await.len(), 2);

    drain(&world, &reply.seen().identity.pod, &one, &two).await;
    assert_eq!(
        pods(&world, "/cookie", &[("cookie", &cookie)]).await,
        [reply.seen().identity.pod.clone()].into()
    );
    assert!(!pods(&world, "/none", &[]).await.contains(&reply.seen().identity.pod), "no new requests");
    assert_eq!(world.log(), "");
}

/// Marks the endpoint of `pod` as draining and waits until Envoy has it.
async fn drain(world: &World, pod: &str, one: &Echo, two: &Echo) {
    let mut members = endpoints("pair", [one.addr(), two.addr()]);
    let draining = if pod == "one" { one.addr() } else { two.addr() };
    for endpoint in &mut members.localities[0].1 {
        if endpoint.address == EndpointAddress::Socket(draining) {
            *endpoint = Endpoint { health: Health::Draining, ..endpoint.clone() };
        }
    }
    let bytes = gatehouse_envoy::encode::endpoints(&members);
    assert_eq!(world.ads.push(crate::ads::EDS, "pair", bytes).await, Ok(()));
}

async fn pods(world: &World, path: &str, headers: &[(&str, &str)]) -> BTreeSet<String> {
    let mut pods = BTreeSet::new();
    for _ in 0..20 {
        let request = Ask { method: "GET", host: "policy.test", path, headers };
        pods.insert(ask(world.port, request).await.unwrap().seen().identity.pod);
    }
    pods
}

#[tokio::test]
async fn websockets_outlive_the_time_limit_of_requests() {
    let hosts = vec![(Hostname::parse("policy.test"), vec![limited("/ws", Some(500), Some(500))])];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    let mut socket = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let handshake = "GET /ws HTTP/1.1\r\nHost: policy.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    // Longer than both limits of the route: that they do not apply is what is tested.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    // A masked text frame with the key 0: `hi`.
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    socket.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame, [0x81, 0x02, b'h', b'i']);
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn clusters_by_name_resolve_and_clusters_without_endpoints_answer_503() {
    let routes = vec![to("/dns", "dns"), to("/none", "none"), to("/pipe", "pipe")];
    let echo = extra_echo("dns").await;
    let hosts = vec![("localhost".into(), echo.addr().port())];
    let dns = Cluster { discovery: Discovery::Dns(hosts), ..cluster("dns", Protocol::Http1) };
    let setup = Setup {
        hosts: vec![(Hostname::parse("policy.test"), routes)],
        clusters: vec![
            (dns, endpoints("dns", [])),
            (cluster("none", Protocol::Http1), endpoints("none", [])),
            (cluster("pipe", Protocol::Http1), pipe_endpoints()),
        ],
        ..Setup::default()
    };
    let world = World::start(setup).await;
    assert_eq!(send(&world, "/dns").await.seen().identity.pod, "dns");
    assert_eq!(send(&world, "/none").await.status, 503);
    assert_eq!(send(&world, "/pipe").await.status, 503, "nobody listens there");
    assert_eq!(world.log(), "");
}

fn pipe_endpoints() -> gatehouse_model::backend::Endpoints {
    let mut members = endpoints("pipe", []);
    let address = EndpointAddress::Pipe("/nonexistent/backend.sock".into());
    members.localities[0].1.push(Endpoint { address, health: Health::Healthy });
    members
}
