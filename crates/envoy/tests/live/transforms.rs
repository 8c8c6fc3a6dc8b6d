//! Redirects, rewrites and changes of headers.

use gatehouse_model::Hostname;
use gatehouse_model::http::{Action, Filters, HttpRoute, PathMatch, Redirect};

use crate::client::{Ask, ask, get};
use crate::rules::{
    backend_with, full, mods, prefix, redirect, redirect_to, request_mods, rewrite, route, split, to, with,
};
use crate::world::{Setup, World};

/// `HTTPPathModifier`'s table and its neighbours: prefix, replacement, request, result.
const PREFIXES: &[(&str, &str, &str, &str)] = &[
    ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
    ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
    ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
    ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
    ("/foo", "/xyz", "/foo", "/xyz"),
    ("/foo", "/xyz", "/foo/", "/xyz/"),
    ("/foo", "", "/foo/bar", "/bar"),
    ("/foo", "", "/foo/", "/"),
    ("/foo", "", "/foo", "/"),
    ("/foo", "/", "/foo/", "/"),
    ("/foo", "/", "/foo", "/"),
    ("/foo", "/", "/foo/bar?a=b", "/bar?a=b"),
    ("/f.o", "/", "/f.o/bar", "/bar"),
    ("/foo", "/xyz", "/foo?a=b", "/xyz?a=b"),
    ("/", "/xyz", "/bar", "/xyz/bar"),
    ("/", "/xyz", "/", "/xyz/"),
    ("/", "/", "/bar", "/bar"),
    ("/", "", "/bar", "/bar"),
    ("/a/b", "/c", "/a/b/d", "/c/d"),
];

#[tokio::test]
async fn path_modifiers_follow_the_table() {
    let mut hosts = Vec::new();
    for (index, (matched, replacement, ..)) in PREFIXES.iter().enumerate() {
        let filters = rewrite(None, Some(prefix(replacement)));
        hosts.push((Hostname::parse(&format!("w{index}.test")), vec![with(matched, filters, "a")]));
        let route = redirect(matched, redirect_to(Some(prefix(replacement))));
        hosts.push((Hostname::parse(&format!("r{index}.test")), vec![route]));
    }
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    for (index, (matched, replacement, path, expected)) in PREFIXES.iter().enumerate() {
        let case = format!("{path} with {matched} replaced by {replacement:?}");
        let reply = get(world.port, &format!("w{index}.test"), path).await.unwrap();
        assert_eq!(reply.seen().path, *expected, "rewrite of {case}");
        let reply = get(world.port, &format!("r{index}.test"), path).await.unwrap();
        assert_eq!(reply.header("location"), format!("http://r{index}.test{expected}"), "redirect of {case}");
    }
    assert_eq!(world.log(), "");
}

fn redirects() -> Vec<HttpRoute> {
    let base = redirect_to(None);
    let statuses = [301, 302, 303, 307, 308];
    let mut routes: Vec<_> = statuses
        .into_iter()
        .map(|status| redirect(&format!("/{status}"), Redirect { status, ..base.clone() }))
        .collect();
    let https = Redirect { scheme: Some("https".into()), left_out: Some(443), ..base.clone() };
    let host = Redirect { hostname: Some("new.test".into()), ..base.clone() };
    routes.extend([
        redirect("/https", https.clone()),
        redirect("/port", Redirect { port: Some(8443), left_out: None, ..https.clone() }),
        redirect("/80", Redirect { left_out: Some(80), ..base.clone() }),
        redirect("/host-port", Redirect { port: Some(81), ..host.clone() }),
        redirect("/host-https", Redirect { scheme: https.scheme, ..host.clone() }),
        redirect("/host", host),
        redirect("/full", redirect_to(Some(full("/other")))),
        route(
            PathMatch::Regex("/re.*".into()),
            Filters {
                response_headers: mods(&[("x-set", "1")], &[], &[]),
                redirect: Some(redirect_to(Some(full("relative")))),
                ..Filters::default()
            },
            Action::Forward(Vec::new()),
        ),
    ]);
    routes
}

#[tokio::test]
async fn redirects_build_the_location_as_the_api_says() {
    let hosts = vec![(Hostname::parse("old.test"), redirects())];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    for (host, path, status, location) in [
        ("old.test", "/301/a?b", 301, "http://old.test/301/a?b"),
        ("old.test", "/302", 302, "http://old.test/302"),
        ("old.test", "/303", 303, "http://old.test/303"),
        ("old.test", "/307", 307, "http://old.test/307"),
        ("old.test", "/308", 308, "http://old.test/308"),
        ("old.test", "/https/x", 302, "https://old.test/https/x"),
        ("old.test:8080", "/https/x", 302, "https://old.test:443/https/x"),
        ("old.test:8080", "/302", 302, "http://old.test:8080/302"),
        ("old.test:8080", "/80", 302, "http://old.test:80/80"),
        ("old.test", "/80", 302, "http://old.test/80"),
        ("old.test:8080", "/port", 302, "https://old.test:8443/port"),
        ("old.test", "/port", 302, "https://old.test:8443/port"),
        ("old.test:8080", "/host", 302, "http://new.test/host"),
        ("old.test", "/host-port", 302, "http://new.test:81/host-port"),
        ("old.test:8080", "/host-https", 302, "https://new.test/host-https"),
        ("old.test", "/full/x?q=1", 302, "http://old.test/other?q=1"),
        ("old.test", "/re?q=1", 302, "http://old.test/relative?q=1"),
    ] {
        let reply = get(world.port, host, path).await.unwrap();
        assert_eq!((reply.status, reply.header("location").as_str()), (status, location), "{host}{path}");
    }
    let reply = get(world.port, "old.test", "/re").await.unwrap();
    assert_eq!(reply.header("x-set"), "1", "response headers of a redirect are changed too");
    assert_eq!(world.log(), "");
}

fn rewrites() -> Vec<HttpRoute> {
    let mut both = rewrite(Some("both.test"), Some(prefix("/new")));
    both.request_headers = mods(&[("x-set", "v")], &[("x-add", "2")], &["x-gone"]);
    let mut response = rewrite(None, None);
    response.response_headers = mods(&[("x-set", "50%"), ("X-SET", "late")], &[("x-add", "1")], &["server"]);
    let own = request_mods(mods(&[("x-both", "backend")], &[("x-rule", "backend")], &["x-removed"]));
    let mut rule = split("/levels", vec![backend_with("a", 1, own.clone()), backend_with("b", 1, own)]);
    rule.filters = std::sync::Arc::new(request_mods(mods(
        &[("x-both", "rule"), ("x-rule", "rule"), ("x-removed", "rule")],
        &[],
        &[],
    )));
    vec![
        with("/host", rewrite(Some("new.test"), None), "a"),
        with("/set-host", request_mods(mods(&[("Host", "set.test")], &[], &[])), "a"),
        with("/both", both, "a"),
        with("/full", rewrite(None, Some(full(r"/one\1%41"))), "a"),
        with("/response", response, "a"),
        rule,
        to("/", "h2c"),
    ]
}

#[tokio::test]
async fn rewrites_and_header_changes_reach_backend_and_client() {
    let hosts = vec![(Hostname::parse("w.test"), rewrites())];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    let send = async |path: &str, headers: &[(&str, &str)]| {
        ask(world.port, Ask { method: "GET", host: "w.test", path, headers }).await.unwrap()
    };
    let reply = send("/host/x", &[]).await;
    assert_eq!((reply.seen().host.as_str(), reply.seen().path.as_str()), ("new.test", "/host/x"));
    assert_eq!(reply.seen_header("X-Forwarded-Host"), "w.test");
    assert_eq!(send("/set-host", &[]).await.seen().host, "set.test");

    let reply = send("/both/x?q", &[("x-set", "old"), ("x-add", "1"), ("x-gone", "1")]).await;
    assert_eq!((reply.seen().host.as_str(), reply.seen().path.as_str()), ("both.test", "/new/x?q"));
    let seen = |name| reply.seen_header(name);
    assert_eq!((seen("X-Set"), seen("X-Add"), seen("X-Gone")), ("v".into(), "1,2".into(), String::new()));

    assert_eq!(send("/full/x?q=1", &[]).await.seen().path, r"/one\1%41?q=1");

    let reply = send("/response?echo-header=x-set:0&echo-header=x-add:0", &[]).await;
    assert_eq!((reply.header("x-set").as_str(), reply.header("x-add").as_str()), ("50%", "0,1"));

    let reply = send("/levels", &[("x-both", "client")]).await;
    let seen = |name| reply.seen_header(name);
    assert_eq!(seen("X-Both"), "backend", "the backend's filter runs after the rule's");
    assert_eq!((seen("X-Rule"), seen("X-Removed")), ("rule,backend".into(), String::new()));

    assert_eq!(send("/", &[]).await.seen().proto, "HTTP/2.0");
    assert_eq!(world.log(), "");
}
