//! Matches.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3 as pb;
use envoy_types::pb::envoy::config::route::v3::{
    header_matcher::HeaderMatchSpecifier,
    query_parameter_matcher::QueryParameterMatchSpecifier,
    route_match::{GrpcRouteMatchOptions, PathSpecifier},
};
use envoy_types::pb::envoy::r#type::matcher::v3::{
    RegexMatcher, StringMatcher, string_matcher::MatchPattern,
};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
use gatehouse_model::http::{HttpMatch, PathMatch, ValueMatch};

use super::path::prefix_without_slash;

pub(super) fn route_match(matches: &HttpMatch, threshold: Option<u32>) -> pb::RouteMatch {
    let method = matches.method.as_deref().map(|method| header_matcher(":method", exact(method)));
    let headers = matches.headers.iter().map(|header| header_matcher(&header.name, value(&header.value)));
    pb::RouteMatch {
        path_specifier: Some(path(&matches.path)),
        grpc: matches!(matches.path, PathMatch::Call { .. }).then(GrpcRouteMatchOptions::default),
        headers: method.into_iter().chain(headers).collect(),
        query_parameters: matches
            .query
            .iter()
            .map(|parameter| pb::QueryParameterMatcher {
                name: parameter.name.to_string(),
                query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(value(
                    &parameter.value,
                ))),
            })
            .collect(),
        runtime_fraction: threshold.map(|numerator| RuntimeFractionalPercent {
            default_value: Some(FractionalPercent {
                numerator,
                denominator: DenominatorType::Million.into(),
            }),
            ..RuntimeFractionalPercent::default()
        }),
        ..pb::RouteMatch::default()
    }
}

/// Matches requests whose `Host` names a port.
pub(super) fn host_with_port() -> pb::HeaderMatcher {
    header_matcher(":authority", safe_regex(r".*[^:]:[0-9]+|\[.*\]:[0-9]+"))
}

/// Matches preflights that ask for no headers.
pub(super) fn preflight_for_no_headers() -> [pb::HeaderMatcher; 2] {
    let absent = pb::HeaderMatcher {
        name: "access-control-request-headers".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(false)),
        ..pb::HeaderMatcher::default()
    };
    [header_matcher(":method", exact("OPTIONS")), absent]
}

fn path(path: &PathMatch) -> PathSpecifier {
    match path {
        PathMatch::Exact(path) => PathSpecifier::Path(path.to_string()),
        PathMatch::Regex(regex) => PathSpecifier::SafeRegex(regex_matcher(regex)),
        PathMatch::Prefix(prefix) => match prefix_without_slash(prefix) {
            "" => PathSpecifier::Prefix("/".to_owned()),
            prefix => PathSpecifier::PathSeparatedPrefix(prefix.to_owned()),
        },
        PathMatch::Call { service, method } => call(service.as_ref(), method.as_ref()),
    }
}

/// A call's path is `/service/method`.
fn call(service: Option<&ValueMatch>, method: Option<&ValueMatch>) -> PathSpecifier {
    match (service, method) {
        (None, None) => PathSpecifier::Prefix("/".to_owned()),
        (Some(ValueMatch::Exact(service)), None) => PathSpecifier::PathSeparatedPrefix(format!("/{service}")),
        (Some(ValueMatch::Exact(service)), Some(ValueMatch::Exact(method))) => {
            PathSpecifier::Path(format!("/{service}/{method}"))
        }
        _ => PathSpecifier::SafeRegex(regex_matcher(&format!("/{}/{}", segment(service), segment(method)))),
    }
}

fn segment(value: Option<&ValueMatch>) -> Cow<'_, str> {
    match value {
        None => "[^/]+".into(),
        Some(ValueMatch::Exact(text)) => regex::escape(text).into(),
        Some(ValueMatch::Regex(regex)) => format!("(?:{regex})").into(),
    }
}

fn header_matcher(name: &str, value: StringMatcher) -> pb::HeaderMatcher {
    pb::HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..pb::HeaderMatcher::default()
    }
}

fn value(value: &ValueMatch) -> StringMatcher {
    match value {
        ValueMatch::Exact(text) => exact(text),
        ValueMatch::Regex(regex) => safe_regex(regex),
    }
}

pub(super) fn exact(text: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text.to_owned())), ..StringMatcher::default() }
}

pub(super) fn safe_regex(regex: &str) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(MatchPattern::SafeRegex(regex_matcher(regex))),
        ..StringMatcher::default()
    }
}

pub(super) fn regex_matcher(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.to_owned(), ..RegexMatcher::default() }
}
