//! Calls of gRPC, told by their content type; the client speaks HTTP/1.1, of which Envoy makes the same.

use std::time::Duration;

use gatehouse_model::http::{Action, Filters, HttpRoute, PathMatch, Target, Timeouts, ValueMatch};
use gatehouse_model::{Hostname, RouteKind};

use crate::client::{Ask, ask};
use crate::rules::{backend, exact, invalid_backend, route, to};
use crate::world::{Setup, World};

const CALL: (&str, &str) = ("content-type", "application/grpc");
const PROTO: (&str, &str) = ("content-type", "application/grpc+proto");

fn call(
    service: impl Into<Option<ValueMatch>>,
    method: impl Into<Option<ValueMatch>>,
    action: Action,
) -> HttpRoute {
    let (service, method) = (service.into(), method.into());
    let mut route = route(PathMatch::Call { service, method }, Filters::default(), action);
    route.provenance.route.kind = RouteKind::Grpc;
    route.timeouts = Timeouts { request: Some(Duration::ZERO), backend_request: None };
    route
}

fn forward(cluster: &str) -> Action {
    Action::Forward(vec![backend(cluster, 1)])
}

fn name(text: &str) -> ValueMatch {
    ValueMatch::Exact(text.into())
}

fn regex(text: &str) -> ValueMatch {
    ValueMatch::Regex(text.into())
}

fn routes() -> Vec<HttpRoute> {
    let mut unavailable = invalid_backend(1);
    unavailable.target = Target::Status(RouteKind::Grpc.failure_status());
    let mut versioned = call(name("a.V"), None, forward("a"));
    versioned.matches.headers = vec![exact("version", "1")];
    vec![
        call(name("a.S"), name("M"), forward("h2c")),
        call(name("a.S"), None, forward("a")),
        versioned,
        call(None, name("Any.Name"), forward("b")),
        call(regex("x|r[.].*"), regex("Get.*|List"), forward("c")),
        call(name("gone"), None, Action::Forward(vec![unavailable])),
        call(name("empty"), None, Action::Forward(Vec::new())),
        to("/web", "a"),
    ]
}

#[tokio::test]
async fn calls_are_matched_by_service_and_method_and_fail_with_grpc_statuses() {
    let hosts = vec![(Hostname::parse("grpc.test"), routes())];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    for (path, header, expected) in [
        ("/a.S/M", CALL, "h2c"),
        ("/a.S/M", PROTO, "h2c"),
        ("/a.S/N", CALL, "a"),
        ("/a.Sx/N", CALL, "grpc 12"),
        ("/A.S/M", CALL, "grpc 12"),
        ("/a.V/M", CALL, "grpc 12"),
        ("/z/Any.Name", CALL, "b"),
        ("/z/AnyxName", CALL, "grpc 12"),
        ("/x/List", CALL, "c"),
        ("/r.s/GetIt", CALL, "c"),
        ("/r.s/PutIt", CALL, "grpc 12"),
        ("/x/Lists", CALL, "grpc 12"),
        ("/gone/M", CALL, "grpc 14"),
        ("/empty/M", CALL, "grpc 14"),
        ("/web", CALL, "a"),
        ("/a.S/M", ("content-type", "application/json"), "404"),
        ("/a.S/M", ("content-type", "application/grpc-web"), "404"),
    ] {
        let headers = &[header];
        let request = Ask { method: "POST", host: "grpc.test", path, headers };
        let reply = ask(world.port, request).await.unwrap();
        let found = match reply.header("grpc-status").as_str() {
            "" if reply.status == 200 => reply.seen().identity.pod,
            "" => reply.status.to_string(),
            status => format!("grpc {status}"),
        };
        assert_eq!(found, expected, "{path} {header:?}");
    }
    assert_eq!(world.log(), "", "nothing to warn about");
}

#[tokio::test]
async fn a_host_without_routes_implements_no_call() {
    let hosts = vec![(Hostname::parse("empty.test"), Vec::new())];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    for host in ["empty.test", "other.test"] {
        let request = Ask { method: "POST", host, path: "/a.S/M", headers: &[CALL] };
        let reply = ask(world.port, request).await.unwrap();
        assert_eq!((reply.status, reply.header("grpc-status").as_str()), (200, "12"), "{host}");
    }
}
