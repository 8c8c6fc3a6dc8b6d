//! Filters that the listener carries disabled and a route switches on.

use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::{
    StatefulSession, StatefulSessionPerRoute, stateful_session_per_route::Override,
};
use envoy_types::pb::envoy::extensions::http::stateful_session::cookie::v3::CookieBasedSessionState;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::r#type::http::v3::Cookie;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use gatehouse_model::http::{Cors, HttpRoute, SessionPersistence};
use prost::Message;

use super::auth;
use super::matching::{exact, safe_regex};
use super::plan::{Outcome, Share};
use crate::encode::{any, bool_value, duration, extension, filter};

/// Which preflights a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preflights {
    All,
    /// Those without `Access-Control-Request-Headers`: the answer must not name any.
    ForNoHeaders,
}

/// Whether preflights are answered differently if they ask for no headers.
pub(super) fn may_ask_for_headers(route: &HttpRoute, share: &Share<'_>) -> bool {
    let forwarded = matches!(share.outcome, Outcome::Forward(_));
    let preflights = route.matches.method.as_deref().is_none_or(|method| method == "OPTIONS");
    forwarded && preflights && share.cors.is_some_and(|cors| !cors.allow_headers.is_empty())
}

/// Entries of `Route.typed_per_filter_config`, sorted by name. CORS and sessions only for what is forwarded: in front of
/// redirects and direct responses these filters of Envoy do nothing.
pub(super) fn per_filter_config(
    route: &HttpRoute,
    share: &Share<'_>,
    preflights: Preflights,
) -> Vec<(&'static str, Vec<u8>)> {
    let forwarded = matches!(share.outcome, Outcome::Forward(_));
    let cors = share.cors.filter(|_| forwarded).map(|cors| cors_policy(cors, preflights));
    let auth = share.auth().map(auth::per_route);
    let session = share.session.or(route.session.as_deref()).filter(|_| forwarded).map(per_route_session);
    let entries = [
        cors.map(|config| (filter::CORS, any(&config))),
        auth.map(|config| (filter::EXTERNAL_AUTH, any(&config))),
        session.map(|config| (filter::STATEFUL_SESSION, any(&config))),
    ];
    entries.into_iter().flatten().map(|(name, config)| (name, config.encode_to_vec())).collect()
}

/// Envoy answers a preflight with the origin, method and headers that it asks for where `*` is allowed, as
/// the API demands with credentials and permits without.
fn cors_policy(cors: &Cors, preflights: Preflights) -> CorsPolicy {
    let wildcard_expose = cors.expose_headers.iter().any(|name| &**name == "*");
    CorsPolicy {
        allow_origin_string_match: cors.allow_origins.iter().map(|origin| origin_matcher(origin)).collect(),
        allow_methods: list(&cors.allow_methods),
        allow_headers: match preflights {
            Preflights::All => list(&cors.allow_headers),
            Preflights::ForNoHeaders => String::new(),
        },
        // `*` would mean a header of that name to a client that sends credentials.
        expose_headers: if wildcard_expose && cors.allow_credentials {
            String::new()
        } else {
            list(&cors.expose_headers)
        },
        max_age: cors.max_age.to_string(),
        allow_credentials: Some(bool_value(cors.allow_credentials)),
        // A preflight from elsewhere is answered here, without headers; the backend never sees it.
        forward_not_matching_preflights: Some(bool_value(false)),
        ..CorsPolicy::default()
    }
}

fn list(items: &[std::sync::Arc<str>]) -> String {
    if items.iter().any(|item| &**item == "*") { "*".to_owned() } else { items.join(", ") }
}

/// A wildcard stands for one or more labels. Browsers leave out the default port of the scheme.
fn origin_matcher(origin: &str) -> StringMatcher {
    let lower = origin.to_ascii_lowercase();
    let origin = match lower.split_once("://") {
        Some(("http", _)) => lower.strip_suffix(":80").unwrap_or(&lower),
        Some(("https", _)) => lower.strip_suffix(":443").unwrap_or(&lower),
        _ => &lower,
    };
    if origin == "*" || !origin.contains('*') {
        return exact(origin);
    }
    let parts: Vec<String> = origin.split('*').map(regex::escape).collect();
    safe_regex(&parts.join("[^/:]+"))
}

fn per_route_session(session: &SessionPersistence) -> StatefulSessionPerRoute {
    let state = match session {
        SessionPersistence::Cookie { name, path, ttl } => extension(
            "envoy.http.stateful_session.cookie",
            &CookieBasedSessionState {
                cookie: Some(Cookie {
                    name: name.to_string(),
                    path: path.to_string(),
                    ttl: ttl.map(duration),
                    ..Cookie::default()
                }),
            },
        ),
        SessionPersistence::Header { name } => extension(
            "envoy.http.stateful_session.header",
            &HeaderBasedSessionState { name: name.to_string() },
        ),
    };
    StatefulSessionPerRoute {
        r#override: Some(Override::StatefulSession(StatefulSession {
            session_state: Some(state),
            ..StatefulSession::default()
        })),
    }
}
