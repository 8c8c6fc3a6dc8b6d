//! External authorization: the server is asked first, and nothing passes without its word.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use gatehouse_model::Hostname;
use gatehouse_model::backend::{ClusterName, Protocol};
use gatehouse_model::http::{Action, AuthProtocol, ExternalAuth, Filters, HttpRoute, PathMatch, Redirect};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::client::{Ask, Reply, ask};
use crate::rules::{backend, route, split, with};
use crate::world::{Setup, World, cluster, endpoints, free_port};

const HOST: &str = "auth.test";

fn filters(cluster: &str, protocol: AuthProtocol, body_limit: u32) -> Filters {
    let auth = ExternalAuth { cluster: ClusterName(cluster.into()), protocol, body_limit };
    Filters { auth: Some(Arc::new(auth)), ..Filters::default() }
}

/// Backend `b` decides: it answers what the query asks for.
fn http(prefix: &str, request_headers: &[&str], response_headers: &[&str]) -> Filters {
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let protocol = AuthProtocol::Http {
        path_prefix: prefix.into(),
        request_headers: names(request_headers),
        response_headers: names(response_headers),
    };
    filters("b", protocol, 0)
}

fn grpc(request_headers: &[&str]) -> Filters {
    let request_headers = request_headers.iter().map(|name| Arc::from(*name)).collect();
    filters("authz", AuthProtocol::Grpc { request_headers }, 0)
}

async fn send(world: &World, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(world.port, Ask { method: "GET", host: HOST, path, headers }).await.unwrap()
}

async fn world(routes: Vec<HttpRoute>) -> World {
    World::start(Setup { hosts: vec![(Hostname::parse(HOST), routes)], ..Setup::default() }).await
}

#[tokio::test]
async fn an_http_server_sees_the_request_and_decides() {
    let redirect =
        Redirect { scheme: None, hostname: None, path: None, port: None, left_out: None, status: 302 };
    let world = world(vec![
        with("/private", http("/check", &["X-Team"], &[]), "a"),
        route(PathMatch::Prefix("/moved".into()), http("", &[], &[]), Action::Redirect(redirect)),
        with("/", Filters::default(), "a"),
    ])
    .await;
    let headers = [("authorization", "secret"), ("x-team", "red"), ("x-other", "blue"), ("cookie", "a=b")];
    let denied = send(&world, "/private/x?status=401", &headers).await;
    assert_eq!(denied.status, 401);
    assert_eq!(world.echoes["a"].requests(), 1, "only the probe of the start reached the backend");
    let asked = denied.seen();
    assert_eq!((&*asked.path, &*asked.host), ("/check/private/x?status=401", HOST));
    for (name, value) in [("authorization", "secret"), ("x-team", "red"), ("x-other", ""), ("cookie", "")] {
        let name = as_seen(name);
        assert_eq!(asked.headers.get(&name).map(|v| v.join(",")).unwrap_or_default(), value, "{name}");
    }
    let passed = send(&world, "/private/x", &headers).await;
    assert_eq!((passed.status, passed.seen().identity.pod), (200, "a".to_owned()));
    assert_eq!(passed.seen_header("X-Other"), "blue", "the backend gets the request as it came");
    assert_eq!(send(&world, "/moved", &[]).await.status, 302);
    assert_eq!(send(&world, "/moved?status=403", &[]).await.status, 403, "asked ahead of a redirect too");
    let asked = world.echoes["b"].requests();
    assert_eq!(send(&world, "/open?status=200", &[]).await.status, 200);
    assert_eq!(world.echoes["b"].requests(), asked, "other routes ask nobody");
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn headers_of_the_answer_reach_the_backend_but_not_those_that_frame_it() {
    let world = world(vec![
        with("/all", http("", &["X-Echo-Set-Header"], &[]), "a"),
        with("/some", http("", &["X-Echo-Set-Header"], &["X-User"]), "a"),
    ])
    .await;
    let set = [("x-echo-set-header", "X-User:bob,X-Role:admin,Host:evil.test")];
    let all = send(&world, "/all", &set).await;
    assert_eq!(
        (all.seen_header("X-User"), all.seen_header("X-Role")),
        ("bob".to_owned(), "admin".to_owned())
    );
    assert_eq!(all.seen().host, HOST);
    assert_eq!(all.seen_header("Content-Length"), "", "that of the answer");
    let some = send(&world, "/some", &set).await;
    assert_eq!((some.seen_header("X-User"), some.seen_header("X-Role")), ("bob".to_owned(), String::new()));
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn bodies_go_along_up_to_the_limit() {
    let protocol =
        AuthProtocol::Http { path_prefix: "".into(), request_headers: vec![], response_headers: vec![] };
    let world = world(vec![with("/", filters("b", protocol, 8), "a")]).await;
    assert_eq!(post(&world, "12345678").await, 200);
    assert_eq!(post(&world, "123456789").await, 413);
    assert_eq!(world.log(), "");
}

async fn post(world: &World, body: &str) -> u16 {
    let mut socket = TcpStream::connect(("127.0.0.1", world.port)).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer:?}"))
}

#[tokio::test]
async fn only_the_backend_that_asks_for_it_is_guarded() {
    let mut guarded = backend("a", 1);
    guarded.filters = Arc::new(http("", &[], &[]));
    let world = world(vec![split("/", vec![guarded, backend("c", 1)])]).await;
    let mut statuses = [0, 0];
    for _ in 0..100 {
        match send(&world, "/?status=403", &[]).await {
            Reply { status: 403, body, .. } => {
                let pod =
                    serde_json::from_slice::<gatehouse_testkit::echo::Capture>(&body).unwrap().identity.pod;
                statuses[usize::from(pod == "c")] += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(statuses.iter().all(|count| *count > 20), "answers of the server and of c: {statuses:?}");
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn without_an_answer_nothing_passes() {
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let protocol =
        AuthProtocol::Http { path_prefix: "".into(), request_headers: vec![], response_headers: vec![] };
    let dead = ("dead", Protocol::Http1, vec![nowhere]);
    let empty = ("empty", Protocol::H2c, vec![]);
    let clusters =
        [dead, empty].map(|(name, protocol, members)| (cluster(name, protocol), endpoints(name, members)));
    let routes = vec![
        with("/dead", filters("dead", protocol, 0), "a"),
        with("/empty", filters("empty", AuthProtocol::Grpc { request_headers: vec![] }, 0), "a"),
    ];
    let hosts = vec![(Hostname::parse(HOST), routes)];
    let world = World::start(Setup { hosts, clusters: clusters.into(), ..Setup::default() }).await;
    for path in ["/dead", "/empty"] {
        assert_eq!(send(&world, path, &[]).await.status, 403, "{path}");
    }
    assert_eq!(world.echoes["a"].requests(), 1, "the probe of the start");
    assert_eq!(world.log(), "");
}

/// Lets those pass who know the word, and tells the others which headers it saw.
struct Doorman;

#[tonic::async_trait]
impl Authorization for Doorman {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let http = request.into_inner().attributes.and_then(|a| a.request?.http).unwrap_or_default();
        let allowed = http.headers.get("authorization").is_some_and(|word| word == "friend");
        let (code, answer) = if allowed {
            let header = HeaderValue { key: "x-user".into(), value: "bob".into(), ..HeaderValue::default() };
            let headers = vec![HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }];
            (0, HttpResponse::OkResponse(OkHttpResponse { headers, ..OkHttpResponse::default() }))
        } else {
            let mut names: Vec<_> =
                http.headers.keys().filter(|name| !name.starts_with(':')).cloned().collect();
            names.sort();
            let denied = DeniedHttpResponse {
                status: Some(HttpStatus { code: 401 }),
                body: format!("{} {}", http.path, names.join(",")),
                ..DeniedHttpResponse::default()
            };
            (16, HttpResponse::DeniedResponse(denied))
        };
        let status = Some(rpc::Status { code, ..rpc::Status::default() });
        Ok(Response::new(CheckResponse { status, http_response: Some(answer), ..CheckResponse::default() }))
    }
}

#[tokio::test]
async fn a_grpc_server_sees_the_headers_that_it_may_and_decides() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(Doorman));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let routes = vec![with("/all", grpc(&[]), "a"), with("/some", grpc(&["Authorization"]), "a")];
    let setup = Setup {
        hosts: vec![(Hostname::parse(HOST), routes)],
        clusters: vec![(cluster("authz", Protocol::H2c), endpoints("authz", [address]))],
        ..Setup::default()
    };
    let world = World::start(setup).await;
    for path in ["/all", "/some"] {
        let passed = send(&world, path, &[("authorization", "friend")]).await;
        assert_eq!((passed.status, passed.seen_header("X-User")), (200, "bob".to_owned()), "{path}");
    }
    let denied = send(&world, "/some", &[("authorization", "foe"), ("x-other", "blue")]).await;
    assert_eq!((denied.status, &*denied.body), (401, &b"/some authorization"[..]));
    let denied = send(&world, "/all", &[("authorization", "foe"), ("x-other", "blue")]).await;
    let body = String::from_utf8_lossy(&denied.body).into_owned();
    assert!(denied.status == 401 && body.contains("authorization") && body.contains("x-other"), "{body}");
    assert_eq!(world.log(), "");
}

fn as_seen(name: &str) -> String {
    let capital = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.split('-').map(capital).collect::<Vec<_>>().join("-")
}
