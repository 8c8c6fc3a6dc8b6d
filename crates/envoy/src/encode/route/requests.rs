//! Which requests encoded routes are for: to compare two versions of a rule when only their bytes are left.

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::{
    header_matcher::HeaderMatchSpecifier, route_match::PathSpecifier,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use prost::Message;

use crate::encode::host::VIRTUAL_HOST_ROUTES;
use crate::wire;

/// Field number of `Route.match`.
const ROUTE_MATCH: u32 = 1;

/// The requests that the routes of one match get.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests(pb::RouteMatch);

impl Requests {
    /// The requests of a fragment made by [`route`](super::route).
    pub fn of(fragment: &[u8]) -> Option<Self> {
        // Several routes are for shares of the same requests, or for special ones first; the last is for the rest.
        let host = pb::VirtualHost::decode(fragment).ok()?;
        let last = host.routes.into_iter().next_back()?.r#match?;
        Some(Self(pb::RouteMatch { runtime_fraction: None, ..last }))
    }

    /// Whether all requests of the other are among these. `false` when that cannot be told.
    pub fn cover(&self, other: &Self) -> bool {
        let (all, some) = (&self.0, &other.0);
        path_covers(all.path_specifier.as_ref(), some.path_specifier.as_ref())
            && (all.grpc.is_none() || some.grpc.is_some())
            && all.headers.iter().all(|header| some.headers.contains(header))
            && all.query_parameters.iter().all(|parameter| some.query_parameters.contains(parameter))
    }

    /// Whether no request is among both. `false` when that cannot be told.
    pub fn are_apart_from(&self, other: &Self) -> bool {
        let (one, two) = (self.0.path_specifier.as_ref(), other.0.path_specifier.as_ref());
        let regex = [one, two].iter().any(|path| matches!(path, Some(PathSpecifier::SafeRegex(_)) | None));
        if !regex && !path_covers(one, two) && !path_covers(two, one) {
            return true;
        }
        let differ = |a: &pb::HeaderMatcher, b: &pb::HeaderMatcher| {
            a.name == b.name && matches!((exactly(a), exactly(b)), (Some(a), Some(b)) if a != b)
        };
        self.0.headers.iter().any(|a| other.0.headers.iter().any(|b| differ(a, b)))
    }

    /// The routes of a fragment for these requests instead; `None` where the path decides what the routes do.
    pub fn instead(&self, fragment: &[u8]) -> Option<Bytes> {
        let old = Self::of(fragment)?;
        let rewrites = |route: &pb::Route| match &route.action {
            Some(pb::route::Action::Route(action)) => {
                !action.prefix_rewrite.is_empty() || action.regex_rewrite.is_some()
            }
            Some(pb::route::Action::DirectResponse(_)) => false,
            _ => true,
        };
        let mut bytes = Vec::with_capacity(fragment.len());
        for (_, route) in wire::fields(fragment)? {
            let message = pb::Route::decode(route).ok()?;
            if rewrites(&message) && self.0.path_specifier != old.0.path_specifier {
                return None;
            }
            let matched = message.r#match.unwrap_or_default();
            let mut requests =
                pb::RouteMatch { runtime_fraction: matched.runtime_fraction, ..self.0.clone() };
            // What a special one asks for beside.
            requests.headers.extend(matched.headers.into_iter().filter(|h| !old.0.headers.contains(h)));
            let mut edited = Vec::with_capacity(route.len());
            wire::put_bytes(&mut edited, ROUTE_MATCH, &requests.encode_to_vec());
            for (field, payload) in
                wire::fields(route)?.into_iter().filter(|(field, _)| *field != ROUTE_MATCH)
            {
                wire::put_bytes(&mut edited, field, payload);
            }
            wire::put_bytes(&mut bytes, VIRTUAL_HOST_ROUTES, &edited);
        }
        Some(bytes.into())
    }
}

fn path_covers(all: Option<&PathSpecifier>, some: Option<&PathSpecifier>) -> bool {
    let below = |prefix: &str, path: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    match (all, some) {
        (Some(all), Some(some)) if all == some => true,
        (Some(PathSpecifier::Prefix(all)), Some(_)) => all == "/",
        (
            Some(PathSpecifier::PathSeparatedPrefix(all)),
            Some(PathSpecifier::PathSeparatedPrefix(some) | PathSpecifier::Path(some)),
        ) => below(all, some),
        _ => false,
    }
}

/// The one value that a header must have.
fn exactly(header: &pb::HeaderMatcher) -> Option<&str> {
    match &header.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(value)),
            ignore_case: false,
        })) => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
