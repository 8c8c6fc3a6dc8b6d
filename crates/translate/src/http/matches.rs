//! Matches and their precedence.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_api::types::{
    GRPCMethodMatch, GRPCRouteMatch, HTTPHeaderMatch, HTTPPathMatch, HTTPRouteMatch, PathMatchType,
    StringMatchType,
};
use gatehouse_model::http::{HttpMatch, NamedMatch, PathMatch, ValueMatch};

/// A rule without matches matches every path.
pub(super) fn of_requests(matches: &[HTTPRouteMatch]) -> Vec<HttpMatch> {
    if matches.is_empty() {
        return vec![one(&HTTPRouteMatch::default())];
    }
    matches.iter().map(one).collect()
}

fn one(m: &HTTPRouteMatch) -> HttpMatch {
    HttpMatch {
        path: path(m.path.as_ref()),
        method: m.method.as_deref().map(Arc::from),
        headers: named(&m.headers, |name| name.to_ascii_lowercase().into()),
        query: named(&m.query_params, |name| name.into()),
    }
}

/// A rule without matches matches every call.
pub(super) fn of_calls(matches: &[GRPCRouteMatch]) -> Vec<HttpMatch> {
    if matches.is_empty() {
        return vec![call(&GRPCRouteMatch::default())];
    }
    matches.iter().map(call).collect()
}

fn call(m: &GRPCRouteMatch) -> HttpMatch {
    let any = GRPCMethodMatch::default();
    let called = m.method.as_ref().unwrap_or(&any);
    // An empty name matches any.
    let part = |name: &Option<String>| {
        let name = name.as_deref().filter(|name| !name.is_empty());
        name.map(|name| value(called.match_type.as_ref(), name))
    };
    HttpMatch {
        path: PathMatch::Call { service: part(&called.service), method: part(&called.method) },
        method: None,
        headers: named(&m.headers, |name| name.to_ascii_lowercase().into()),
        query: Vec::new(),
    }
}

fn path(path: Option<&HTTPPathMatch>) -> PathMatch {
    let value: Arc<str> = path.and_then(|p| p.value.as_deref()).unwrap_or("/").into();
    match path.and_then(|p| p.match_type.as_ref()) {
        Some(PathMatchType::Exact) => PathMatch::Exact(value),
        Some(PathMatchType::RegularExpression) => PathMatch::Regex(value),
        _ => PathMatch::Prefix(value),
    }
}

/// Only the first entry of each name counts (HTTPHeaderMatch, HTTPQueryParamMatch).
fn named(matches: &[HTTPHeaderMatch], fold: impl Fn(&str) -> Arc<str>) -> Vec<NamedMatch> {
    let mut seen = BTreeSet::new();
    let first = |m: &&HTTPHeaderMatch| seen.insert(fold(&m.name));
    matches
        .iter()
        .filter(first)
        .map(|m| NamedMatch { name: fold(&m.name), value: value(m.match_type.as_ref(), &m.value) })
        .collect()
}

fn value(match_type: Option<&StringMatchType>, text: &str) -> ValueMatch {
    match match_type {
        Some(StringMatchType::RegularExpression) => ValueMatch::Regex(text.into()),
        _ => ValueMatch::Exact(text.into()),
    }
}
