use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as pb;
use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{
    Action, Cors, Filters, HttpMatch, HttpRoute, NamedMatch, PathMatch, PathModifier, Provenance, Target,
    Timeouts, UrlRewrite, ValueMatch, WeightedBackend,
};
use gatehouse_model::{NamespacedName, RouteKey, RouteKind};

use prost::Message;

use super::Requests;

fn matches(path: PathMatch, method: Option<&str>, header: Option<(&str, &str)>) -> HttpMatch {
    let named = |(name, value): (&str, &str)| NamedMatch {
        name: name.into(),
        value: ValueMatch::Exact(value.into()),
    };
    HttpMatch {
        path,
        method: method.map(Arc::from),
        headers: header.map(named).into_iter().collect(),
        query: vec![],
    }
}

fn to(cluster: &str, weight: u32) -> WeightedBackend {
    let target = Target::Cluster(ClusterName(cluster.into()));
    WeightedBackend { target, weight, filters: Arc::default(), session: None }
}

fn fragment(matches: HttpMatch, filters: Filters, backends: Vec<WeightedBackend>) -> bytes::Bytes {
    let route = HttpRoute {
        provenance: Provenance {
            route: RouteKey { kind: RouteKind::Http, object: NamespacedName::new("default", "r") },
            rule_name: None,
            rule: 0,
            matched: 0,
        },
        matches,
        filters: Arc::new(filters),
        action: Arc::new(Action::Forward(backends)),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    };
    crate::encode::route(&route).expect("a good route").bytes
}

fn requests(path: PathMatch, method: Option<&str>, header: Option<(&str, &str)>) -> Requests {
    let fragment = fragment(matches(path, method, header), Filters::default(), vec![to("c", 1)]);
    Requests::of(&fragment).expect("what was encoded decodes")
}

fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

fn exact(path: &str) -> PathMatch {
    PathMatch::Exact(path.into())
}

#[test]
fn prefix_covers_what_is_below_it() {
    let at = |path| requests(path, None, None);
    assert!(at(prefix("/a")).cover(&at(prefix("/a/b"))) && at(prefix("/a")).cover(&at(exact("/a"))));
    assert!(at(prefix("/")).cover(&at(PathMatch::Regex("/x+".into()))));
    assert!(!at(prefix("/a")).cover(&at(prefix("/ab"))) && !at(exact("/a")).cover(&at(prefix("/a"))));
    assert!(!at(prefix("/a")).cover(&at(PathMatch::Regex("/a/x+".into()))), "that cannot be told");
}

#[test]
fn condition_narrows() {
    let all = requests(prefix("/a"), None, None);
    let some = requests(prefix("/a"), Some("GET"), Some(("x", "1")));
    assert!(all.cover(&some) && !some.cover(&all));
}

#[test]
fn different_paths_and_values_are_apart() {
    let at = |path| requests(path, None, None);
    assert!(at(prefix("/a")).are_apart_from(&at(prefix("/b"))));
    assert!(!at(prefix("/a")).are_apart_from(&at(prefix("/a/b"))));
    assert!(!at(prefix("/a")).are_apart_from(&at(PathMatch::Regex("/b".into()))), "that cannot be told");
    let with = |method, header| requests(prefix("/a"), method, header);
    assert!(with(Some("GET"), None).are_apart_from(&with(Some("PUT"), None)));
    assert!(with(None, Some(("x", "1"))).are_apart_from(&with(None, Some(("x", "2")))));
    assert!(!with(None, Some(("x", "1"))).are_apart_from(&with(None, Some(("y", "2")))));
}

#[test]
fn shares_of_a_split_rule_are_for_the_same_requests() {
    let m = || matches(prefix("/a"), None, None);
    let removing = |name: &str| {
        let mut filters = Filters::default();
        filters.request_headers.remove.push(name.into());
        filters
    };
    let split = vec![
        WeightedBackend { filters: removing("x").into(), ..to("b", 1) },
        WeightedBackend { target: Target::Status(500), ..to("c", 1) },
    ];
    let split = fragment(m(), Filters::default(), split);
    assert_eq!(Requests::of(&split), Some(requests(prefix("/a"), None, None)));
}

#[test]
fn other_requests_get_the_same_treatment() {
    let narrow = matches(prefix("/a"), None, Some(("x", "1")));
    let wide = matches(prefix("/a"), None, None);
    let of =
        |matches: &HttpMatch| fragment(matches.clone(), Filters::default(), vec![to("b", 1), to("c", 2)]);
    let narrowed =
        Requests::of(&of(&narrow)).expect("it decodes").instead(&of(&wide)).expect("it can be done");
    assert_eq!(Requests::of(&narrowed), Requests::of(&of(&narrow)));
    let back = Requests::of(&of(&wide)).expect("it decodes").instead(&narrowed).expect("it can be done");
    assert_eq!(back, of(&wide));
}

#[test]
fn special_routes_stay_special_among_other_requests() {
    let cors = Cors { allow_origins: vec!["*".into()], allow_headers: vec!["x".into()], ..Cors::default() };
    let filters = || Filters { cors: Some(cors.clone()), ..Filters::default() };
    let of = |path| fragment(matches(prefix(path), None, None), filters(), vec![to("c", 1)]);
    let moved = Requests::of(&of("/b")).expect("it decodes").instead(&of("/a")).expect("it can be done");
    assert_eq!(Requests::of(&moved), Requests::of(&of("/b")));
    let routes = |bytes: &[u8]| pb::VirtualHost::decode(bytes).expect("it decodes").routes;
    let matches = |bytes: &[u8]| routes(bytes).into_iter().map(|route| route.r#match).collect::<Vec<_>>();
    assert_eq!(matches(&moved), matches(&of("/b")));
    assert_eq!(matches(&moved).len(), 2, "one is for preflights that ask for no headers");
}

#[test]
fn rewritten_path_belongs_to_its_match() {
    let path = Some(PathModifier::ReplacePrefixMatch("/z".into()));
    let filters = Filters { rewrite: UrlRewrite { hostname: None, path }, ..Filters::default() };
    let old = fragment(matches(prefix("/a"), None, None), filters, vec![to("c", 1)]);
    assert_eq!(requests(prefix("/a/b"), None, None).instead(&old), None);
    assert!(requests(prefix("/a"), Some("GET"), None).instead(&old).is_some());
}
