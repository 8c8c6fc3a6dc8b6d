//! Matches and their precedence.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatehouse_api::types::{HTTPHeaderMatch, HTTPPathMatch, HTTPRouteMatch, PathMatchType, StringMatchType};
use gatehouse_model::http::{HttpMatch, NamedMatch, PathMatch, ValueMatch};

/// A rule without matches matches every path.
pub(super) fn lower(matches: &[HTTPRouteMatch]) -> Vec<HttpMatch> {
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
        .map(|m| NamedMatch {
            name: fold(&m.name),
            value: match m.match_type {
                Some(StringMatchType::RegularExpression) => ValueMatch::Regex(m.value.as_str().into()),
                _ => ValueMatch::Exact(m.value.as_str().into()),
            },
        })
        .collect()
}
