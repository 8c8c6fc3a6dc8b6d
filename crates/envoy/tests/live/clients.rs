//! How clients are treated.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_model::client::{
    ClientAddress, ClientSettings, ConnectionSettings, EscapedSlashes, Http2, Pings, RequestId, TcpProbes,
    Underscores,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Ask, ask};
use crate::world::{Setup, World};

async fn world(clients: ClientSettings, connections: ConnectionSettings) -> World {
    World::start(Setup { clients: Arc::new(clients), connections, ..Setup::default() }).await
}

/// Status of a request with these headers, and the address that Envoy takes for the client's.
async fn seen(world: &World, headers: &[(&str, &str)]) -> (u16, String) {
    let before = settled(world, 1).await;
    let request = Ask { method: "GET", host: "ready.test", path: "/x", headers };
    let reply = ask(world.port, request).await.unwrap();
    let lines = settled(world, before.len() + 1).await;
    (reply.status, lines.last().cloned().unwrap_or_default())
}

/// The log when it has so many lines at least.
async fn settled(world: &World, least: usize) -> Vec<String> {
    for _ in 0..200 {
        let lines = world.clients();
        if lines.len() >= least {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the log stays short: {:?}", world.clients());
}

#[tokio::test]
async fn address_of_a_client_is_found_where_it_was_said_to_be() {
    let at = |address| {
        world(ClientSettings { address, ..ClientSettings::default() }, ConnectionSettings::default())
    };
    let forwarded = [("x-forwarded-for", "203.0.113.9, 198.51.100.7, 10.0.0.1")];
    let none = at(ClientAddress::Connection).await;
    assert_eq!(seen(&none, &forwarded).await, (200, "127.0.0.1".to_owned()));
    let hops = at(ClientAddress::Hops { skip: 1, append: false }).await;
    assert_eq!(seen(&hops, &forwarded).await, (200, "198.51.100.7".to_owned()));
    assert_eq!(seen(&hops, &[]).await, (200, "127.0.0.1".to_owned()));
    let trusted = vec![("10.0.0.0".parse().unwrap(), 8), ("127.0.0.0".parse().unwrap(), 8)];
    let networks = at(ClientAddress::Networks { trusted, append: true }).await;
    assert_eq!(seen(&networks, &forwarded).await, (200, "198.51.100.7".to_owned()));
    let header = at(ClientAddress::Header { name: "x-client".into(), required: false }).await;
    assert_eq!(seen(&header, &[("x-client", "203.0.113.5")]).await, (200, "203.0.113.5".to_owned()));
    assert_eq!(seen(&header, &[]).await, (200, "127.0.0.1".to_owned()));
}

#[tokio::test]
async fn every_setting_is_accepted_and_the_proxy_protocol_names_the_client() {
    let second = Some(Duration::from_secs(1));
    let minute = Some(Duration::from_mins(1));
    let clients = ClientSettings {
        idle_timeout: minute,
        request_timeout: minute,
        headers_timeout: minute,
        connection_age: minute,
        connection_requests: Some(1000),
        stream_age: minute,
        keep_slashes: true,
        escaped_slashes: EscapedSlashes::Keep,
        underscores: Underscores::Allow,
        envoy_headers: true,
        request_id: RequestId::Preserve,
        strip_trailing_dot: true,
        scheme_of_backend: true,
        http1_trailers: true,
        http1_0: true,
        http2: Http2 {
            stream_window: Some(65_535),
            connection_window: Some(1 << 20),
            streams: Some(10),
            keep_connection: Some(true),
            pings: Some(Pings { interval: minute, timeout: second, jitter: Some(15), idle: minute }),
        },
        ..ClientSettings::default()
    };
    let connections = ConnectionSettings {
        buffer: Some(65_536),
        accepts: Some(1),
        probes: Some(TcpProbes { probes: Some(3), idle: minute, interval: second }),
        proxy_protocol: Some(true),
        inspection_timeout: second,
    };
    let world = world(clients, connections).await;
    let before = settled(&world, 1).await;
    let mut stream = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let request = "PROXY TCP4 203.0.113.77 127.0.0.1 40000 80\r\nGET /x HTTP/1.1\r\nHost: ready.test.\r\n\
                   with_underscore: 1\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let lines = settled(&world, before.len() + 1).await;
    assert_eq!(lines.last().map(String::as_str), Some("203.0.113.77"));
}

#[tokio::test]
async fn a_required_header_that_is_missing_is_answered_403() {
    let required = ClientAddress::Header { name: "x-client".into(), required: true };
    let clients = ClientSettings { address: required, ..ClientSettings::default() };
    let setup = Setup { clients: Arc::new(clients), ..Setup::default() };
    let world = World::start_with(setup, &[("x-client", "203.0.113.5")]).await;
    assert_eq!(seen(&world, &[]).await.0, 403);
}
