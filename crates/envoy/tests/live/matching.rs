//! Matches.

use std::sync::Arc;

use gatehouse_model::Hostname;
use gatehouse_model::http::{Action, Filters, HttpMatch, HttpRoute, PathMatch};

use crate::client::{Ask, ask};
use crate::rules::{backend, exact, regex, route};
use crate::world::{Setup, World};

fn matched(path: PathMatch, change: impl FnOnce(&mut HttpMatch), cluster: &str) -> HttpRoute {
    let mut route = route(path, Filters::default(), Action::Forward(vec![backend(cluster, 1)]));
    change(&mut route.matches);
    route
}

fn prefix(text: &str) -> PathMatch {
    PathMatch::Prefix(text.into())
}

fn routes() -> Vec<HttpRoute> {
    vec![
        matched(PathMatch::Exact("/exact".into()), |_| {}, "a"),
        matched(PathMatch::Regex("/re/[0-9]{60}|/re/x+".into()), |_| {}, "a"),
        matched(prefix("/get"), |m| m.method = Some(Arc::from("GET")), "a"),
        matched(prefix("/h"), |m| m.headers = vec![exact("x-v", "1"), regex("x-w", "[ab]+")], "a"),
        matched(prefix("/h"), |m| m.headers = vec![exact("x-v", "1")], "b"),
        matched(prefix("/host"), |m| m.headers = vec![exact("host", "match.test")], "a"),
        matched(prefix("/q"), |m| m.query = vec![exact("Animal", "whale"), regex("n", "[0-9]+")], "a"),
        matched(prefix("/q"), |m| m.query = vec![exact("Animal", "whale")], "b"),
        matched(prefix("/slash/"), |_| {}, "a"),
        matched(prefix("/pre"), |_| {}, "a"),
    ]
}

#[tokio::test]
async fn matches_select_requests_as_the_api_says() {
    let hosts = vec![
        (Hostname::parse("match.test"), routes()),
        (Hostname::parse("*.wild.test"), vec![matched(prefix(""), |_| {}, "b")]),
        (Hostname::parse("empty.test"), Vec::new()),
    ];
    let world = World::start(Setup { hosts, ..Setup::default() }).await;
    let sixty = format!("/re/{}", "1".repeat(60));
    let none: &[(&str, &str)] = &[];
    for (method, host, path, headers, expected) in [
        ("GET", "match.test", "/exact", none, "a"),
        ("GET", "match.test", "/exact?x=1", none, "a"),
        ("GET", "match.test", "/exact/", none, "404"),
        ("GET", "match.test", "/Exact", none, "404"),
        ("GET", "match.test", sixty.as_str(), none, "a"),
        ("GET", "match.test", "/re/xx?q", none, "a"),
        ("GET", "match.test", "/re/xxy", none, "404"),
        ("GET", "match.test", "/get/1", none, "a"),
        ("POST", "match.test", "/get/1", none, "404"),
        ("GET", "match.test", "/h", &[("X-V", "1"), ("x-w", "ab")], "a"),
        ("GET", "match.test", "/h", &[("x-v", "1"), ("x-w", "abc")], "b"),
        ("GET", "match.test", "/h", &[("x-v", "11")], "404"),
        ("GET", "match.test", "/host", none, "a"),
        ("GET", "match.test", "/q?Animal=whale&n=12", none, "a"),
        ("GET", "match.test", "/q?Animal=whale&n=x", none, "b"),
        ("GET", "match.test", "/q?animal=whale", none, "404"),
        ("GET", "match.test", "/slash", none, "a"),
        ("GET", "match.test", "/slash/x", none, "a"),
        ("GET", "match.test", "/slashx", none, "404"),
        ("GET", "match.test", "/pre", none, "a"),
        ("GET", "match.test", "/pre/a/b?c", none, "a"),
        ("GET", "match.test", "/prefix", none, "404"),
        ("GET", "match.test", "/Pre", none, "404"),
        ("GET", "match.test:31830", "/pre", none, "a"),
        ("GET", "MATCH.test", "/pre", none, "a"),
        ("GET", "a.b.wild.test", "/anything", none, "b"),
        ("GET", "wild.test", "/", none, "404"),
        ("GET", "empty.test", "/", none, "404"),
        ("GET", "other.test", "/", none, "404"),
    ] {
        let reply = ask(world.port, Ask { method, host, path, headers }).await.unwrap();
        let found = if reply.status == 200 { reply.seen().identity.pod } else { reply.status.to_string() };
        assert_eq!(found, expected, "{method} {host}{path} {headers:?}");
        if reply.status == 200 {
            assert_eq!(reply.seen().host, host, "the backend sees the host as it was sent");
        }
    }
    assert_eq!(world.log(), "", "nothing to warn about");
}
