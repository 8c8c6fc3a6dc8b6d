//! Matches and their precedence.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_api::types::{
    GRPCMethodMatch, GRPCRouteMatch, HTTPHeaderMatch, HTTPPathMatch, HTTPRouteMatch, PathMatchType,
    StringMatchType,
};
use gatehouse_model::http::{HttpMatch, NamedMatch, PathMatch, ValueMatch};

/// What of a match is of a type that nobody here knows: which requests it means cannot be told.
pub(super) type Unknown = String;

/// A rule without matches matches every path.
pub(super) fn of_requests(matches: &[HTTPRouteMatch]) -> Vec<Result<HttpMatch, Unknown>> {
    if matches.is_empty() {
        return vec![one(&HTTPRouteMatch::default())];
    }
    matches.iter().map(one).collect()
}

fn one(m: &HTTPRouteMatch) -> Result<HttpMatch, Unknown> {
    Ok(HttpMatch {
        path: path(m.path.as_ref())?,
        method: m.method.as_deref().map(Arc::from),
        headers: named("headers", &m.headers, |name| name.to_ascii_lowercase().into())?,
        query: named("queryParams", &m.query_params, |name| name.into())?,
    })
}

/// A rule without matches matches every call.
pub(super) fn of_calls(matches: &[GRPCRouteMatch]) -> Vec<Result<HttpMatch, Unknown>> {
    if matches.is_empty() {
        return vec![call(&GRPCRouteMatch::default())];
    }
    matches.iter().map(call).collect()
}

fn call(m: &GRPCRouteMatch) -> Result<HttpMatch, Unknown> {
    let any = GRPCMethodMatch::default();
    let called = m.method.as_ref().unwrap_or(&any);
    // An empty name matches any.
    let part = |name: &Option<String>| {
        let name = name.as_deref().filter(|name| !name.is_empty());
        name.map(|name| value("method", called.match_type.as_ref(), name)).transpose()
    };
    Ok(HttpMatch {
        path: PathMatch::Call { service: part(&called.service)?, method: part(&called.method)? },
        method: None,
        headers: named("headers", &m.headers, |name| name.to_ascii_lowercase().into())?,
        query: Vec::new(),
    })
}

fn path(path: Option<&HTTPPathMatch>) -> Result<PathMatch, Unknown> {
    let value: Arc<str> = path.and_then(|p| p.value.as_deref()).unwrap_or("/").into();
    Ok(match path.and_then(|p| p.match_type.as_ref()) {
        Some(PathMatchType::Exact) => PathMatch::Exact(value),
        Some(PathMatchType::RegularExpression) => PathMatch::Regex(value),
        Some(PathMatchType::PathPrefix) | None => PathMatch::Prefix(value),
        Some(PathMatchType::Other(other)) => return Err(format!("path.type {other} is not supported")),
    })
}

/// Only the first entry of each name counts (HTTPHeaderMatch, HTTPQueryParamMatch).
fn named(
    field: &str,
    matches: &[HTTPHeaderMatch],
    fold: impl Fn(&str) -> Arc<str>,
) -> Result<Vec<NamedMatch>, Unknown> {
    let mut seen = BTreeSet::new();
    let first = |m: &&HTTPHeaderMatch| seen.insert(fold(&m.name));
    let named = |m: &HTTPHeaderMatch| {
        let value = value(&format!("{field}[{}]", m.name), m.match_type.as_ref(), &m.value)?;
        Ok(NamedMatch { name: fold(&m.name), value })
    };
    matches.iter().filter(first).map(named).collect()
}

fn value(field: &str, match_type: Option<&StringMatchType>, text: &str) -> Result<ValueMatch, Unknown> {
    match match_type {
        Some(StringMatchType::RegularExpression) => Ok(ValueMatch::Regex(text.into())),
        Some(StringMatchType::Exact) | None => Ok(ValueMatch::Exact(text.into())),
        Some(StringMatchType::Other(other)) => Err(format!("{field}.type {other} is not supported")),
    }
}
