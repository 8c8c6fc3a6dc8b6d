//! Filters of a listener: every request meets them before a route is chosen, and none of a route's own is passed by.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
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
use gatehouse_model::http::{
    AuthProtocol, Cors, ExternalAuth, Filters, HttpRoute, NamedMatch, SessionPersistence, ValueMatch,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::client::{Ask, Reply, ask};
use crate::rules::with;
use crate::world::{Setup, World, cluster, endpoints};

const HOST: &str = "guarded.test";

/// Sets the headers that `x-set` asks for (`name=value;...`), adds its name to `x-order`, and denies whom `x-deny` names it to.
struct Guide {
    name: &'static str,
    asked: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl Authorization for Guide {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let http = request.into_inner().attributes.and_then(|a| a.request?.http).unwrap_or_default();
        let header = |name: &str| http.headers.get(name).cloned().unwrap_or_default();
        let (code, answer) = if header("x-deny") == self.name {
            let status = Some(HttpStatus { code: 401 });
            (16, HttpResponse::DeniedResponse(DeniedHttpResponse { status, ..DeniedHttpResponse::default() }))
        } else {
            let asked_for = header("x-set");
            let pairs = asked_for.split(';').filter_map(|pair| pair.split_once('='));
            let order = format!("{}{}", header("x-order"), self.name);
            let headers = pairs.chain([("x-order", &*order)]).map(set).collect();
            (0, HttpResponse::OkResponse(OkHttpResponse { headers, ..OkHttpResponse::default() }))
        };
        let status = Some(rpc::Status { code, ..rpc::Status::default() });
        Ok(Response::new(CheckResponse { status, http_response: Some(answer), ..CheckResponse::default() }))
    }
}

fn set((name, value): (&str, &str)) -> HeaderValueOption {
    let header = HeaderValue { key: name.into(), value: value.into(), ..HeaderValue::default() };
    let append_action = HeaderAppendAction::OverwriteIfExistsOrAdd.into();
    HeaderValueOption { header: Some(header), append_action, ..HeaderValueOption::default() }
}

/// A world behind these servers, and how often each was asked.
async fn world<const N: usize>(
    names: [&'static str; N],
    routes: Vec<HttpRoute>,
) -> (World, [Arc<AtomicUsize>; N]) {
    let asked = names.map(|_| Arc::new(AtomicUsize::new(0)));
    let mut clusters = Vec::new();
    for (name, asked) in names.into_iter().zip(&asked) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let guide = Guide { name, asked: asked.clone() };
        let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(guide));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        clusters.push((cluster(name, Protocol::H2c), endpoints(name, [address])));
    }
    let filter = |name| {
        let protocol = AuthProtocol::Grpc { request_headers: vec![] };
        Arc::new(ExternalAuth { cluster: ClusterName(Arc::from(name)), protocol, body_limit: 0 })
    };
    let hosts = vec![(Hostname::parse(HOST), routes)];
    let guard = names.into_iter().map(filter).collect();
    (World::start(Setup { hosts, clusters, guard, ..Setup::default() }).await, asked)
}

async fn send(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    ask(world.port, Ask { method, host: HOST, path, headers }).await.unwrap()
}

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Reply {
    send(world, "GET", path, headers).await
}

fn count(asked: &AtomicUsize) -> usize {
    asked.load(Ordering::Relaxed)
}

/// For requests with this header only.
fn of_user(user: &str, route: HttpRoute) -> HttpRoute {
    let mut route = route;
    route.matches.headers.push(NamedMatch { name: "x-user".into(), value: ValueMatch::Exact(user.into()) });
    route
}

fn of_method(method: &str, mut route: HttpRoute) -> HttpRoute {
    route.matches.method = Some(method.into());
    route
}

#[tokio::test]
async fn what_a_server_says_of_a_request_chooses_its_route() {
    let routes = vec![
        of_user("bob", with("/", Filters::default(), "a")),
        with("/new", Filters::default(), "b"),
        of_method("PUT", with("/", Filters::default(), "c")),
    ];
    let (world, [asked]) = world(["one"], routes).await;
    let pod = |reply: &Reply| (reply.status, reply.seen().identity.pod);
    assert_eq!(get(&world, "/x", &[]).await.status, 404);
    assert_eq!(count(&asked), 1, "also for a request that no route is for");
    assert_eq!(get(&world, "/x", &[("x-deny", "one")]).await.status, 401);
    let reply = get(&world, "/x", &[("x-set", "x-user=bob")]).await;
    assert_eq!((pod(&reply), reply.seen_header("X-User")), ((200, "a".to_owned()), "bob".to_owned()));
    let reply = get(&world, "/x", &[("x-set", ":path=/new/place")]).await;
    assert_eq!((pod(&reply), &*reply.seen().path), ((200, "b".to_owned()), "/new/place"));
    let reply = get(&world, "/x", &[("x-set", ":method=PUT")]).await;
    assert_eq!((pod(&reply), &*reply.seen().method), ((200, "c".to_owned()), "PUT"));
    let reply = get(&world, "/new", &[("x-user", "bob"), ("x-set", "x-user=alice")]).await;
    assert_eq!(pod(&reply), (200, "b".to_owned()), "what the client said is overruled");
    let elsewhere = "x-user=bob;host=ready.test;:authority=ready.test";
    let reply = get(&world, "/x", &[("x-set", elsewhere)]).await;
    assert_eq!((pod(&reply), &*reply.seen().host), ((200, "a".to_owned()), HOST), "the host is the client's");
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn filters_run_in_their_order_and_a_refusal_ends_it() {
    let names = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"];
    let (world, asked) = world(names, vec![of_user("bob", with("/", Filters::default(), "a"))]).await;
    let first_says = [("x-set", "x-user=bob")];
    let reply = get(&world, "/", &first_says).await;
    assert_eq!((reply.status, reply.seen_header("X-Order")), (200, names.concat()));
    let asked = || asked.each_ref().map(|asked| count(asked));
    assert_eq!(asked(), [1; 16]);
    assert_eq!(get(&world, "/", &[("x-deny", "15")]).await.status, 401);
    assert_eq!(asked(), std::array::from_fn(|place| if place < 15 { 2 } else { 1 }));
    assert_eq!(world.log(), "");
}

#[tokio::test]
async fn filters_of_the_chosen_route_apply_and_those_of_the_first_do_not() {
    let auth =
        AuthProtocol::Http { path_prefix: "".into(), request_headers: vec![], response_headers: vec![] };
    let auth = ExternalAuth { cluster: ClusterName("b".into()), protocol: auth, body_limit: 0 };
    let guarded = Filters { auth: Some(Arc::new(auth)), ..Filters::default() };
    let names = |names: &[&str]| names.iter().map(|name| Arc::from(*name)).collect();
    let cors = Cors {
        allow_origins: names(&["http://shop.test"]),
        allow_credentials: false,
        allow_methods: names(&["GET"]),
        allow_headers: vec![],
        expose_headers: vec![],
        max_age: 5,
    };
    let mut sticky = of_user("sticky", with("/", Filters::default(), "a"));
    sticky.session = Some(Arc::new(SessionPersistence::Header { name: "x-session".into() }));
    let routes = vec![
        of_user("guarded", with("/", guarded.clone(), "a")),
        of_user("cors", with("/", Filters { cors: Some(cors), ..Filters::default() }, "a")),
        sticky,
        of_user("plain", with("/", Filters::default(), "a")),
        with("/first", guarded, "a"),
    ];
    let (world, _) = world(["one"], routes).await;
    let user = |user: &'static str| ("x-set", user);
    assert_eq!(get(&world, "/x?status=403", &[user("x-user=guarded")]).await.status, 403, "not passed by");
    assert_eq!(get(&world, "/x", &[user("x-user=guarded")]).await.seen().identity.pod, "a");
    let before = world.echoes["b"].requests();
    assert_eq!(get(&world, "/first?status=403", &[]).await.status, 403, "it is the one that is chosen");
    let plain = get(&world, "/first", &[user("x-user=plain")]).await;
    assert_eq!((plain.status, world.echoes["b"].requests()), (200, before + 1), "the first choice is over");
    assert_ne!(get(&world, "/x", &[user("x-user=sticky")]).await.header("x-session"), "");
    assert_eq!(plain.header("x-session"), "");

    let preflight = [("origin", "http://shop.test"), ("access-control-request-method", "GET")];
    let from_shop = [preflight[0], preflight[1], user("x-user=cors")];
    let reply = send(&world, "OPTIONS", "/", &from_shop).await;
    assert_eq!((reply.status, &*reply.header("access-control-allow-origin")), (200, "http://shop.test"));
    let elsewhere = [("origin", "http://else.test"), preflight[1], user("x-user=cors")];
    let reply = send(&world, "OPTIONS", "/", &elsewhere).await;
    assert_eq!((reply.status, &*reply.header("access-control-allow-origin")), (200, ""));
    assert!(reply.body.is_empty(), "the backend never sees it");
    let plain = [preflight[0], preflight[1], user("x-user=plain")];
    assert_eq!(send(&world, "OPTIONS", "/", &plain).await.seen().identity.pod, "a", "without a policy");
    assert_eq!(world.log(), "");
}
