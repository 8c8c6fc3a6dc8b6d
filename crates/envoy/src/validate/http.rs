//! Checks of an HTTP route that the API's own validation does not make or makes less strictly than Envoy.

use std::sync::Arc;

use gatehouse_model::http::{
    Action, AuthProtocol, Cors, ExternalAuth, Filters, Header, HeaderMods, HttpMatch, HttpRoute, NamedMatch,
    PathMatch, PathModifier, Redirect, SessionPersistence, Target, ValueMatch, WeightedBackend,
};

use super::re2;
use crate::Invalid;

type Check = Result<(), Invalid>;

/// Checks everything that [`crate::encode::route`] puts into Envoy's routes.
pub fn http_route(route: &HttpRoute) -> Check {
    matches(&route.matches)?;
    filters("filters", &route.filters, &route.matches.path)?;
    match &*route.action {
        Action::Forward(backends) => {
            for (index, entry) in backends.iter().enumerate() {
                backend(&format!("backendRefs[{index}]"), entry, &route.matches.path)?;
            }
        }
        Action::Redirect(to) => redirect("filters.requestRedirect", to, &route.matches.path)?,
        Action::Respond(status) => status_code("filters", *status)?,
    }
    route.session.as_deref().map_or(Ok(()), session)
}

fn matches(matches: &HttpMatch) -> Check {
    match &matches.path {
        PathMatch::Regex(regex) => regex_at("path.value", regex)?,
        PathMatch::Exact(path) if path.starts_with('/') => plain_path("path.value", path)?,
        PathMatch::Prefix(path) if path.is_empty() || path.starts_with('/') => {
            plain_path("path.value", path)?;
        }
        PathMatch::Exact(_) | PathMatch::Prefix(_) => {
            return Err(Invalid::new("path.value", "a path starts with '/'"));
        }
        PathMatch::Call { service, method } => {
            part_of_call("method.service", service.as_ref())?;
            part_of_call("method.method", method.as_ref())?;
        }
    }
    if let Some(method) = &matches.method {
        token("method", method)?;
    }
    for NamedMatch { name, value } in &matches.headers {
        let at = format!("headers[{name}]");
        token(&format!("{at}.name"), name)?;
        match_value(&format!("{at}.value"), value)?;
    }
    for NamedMatch { name, value } in &matches.query {
        let at = format!("queryParams[{name}]");
        length(&format!("{at}.name"), name, 1, 1024)?;
        match_value(&format!("{at}.value"), value)?;
    }
    Ok(())
}

fn part_of_call(at: &str, value: Option<&ValueMatch>) -> Check {
    match value {
        None => Ok(()),
        Some(ValueMatch::Regex(regex)) => regex_at(at, regex),
        Some(ValueMatch::Exact(name)) if name.is_empty() || name.contains('/') => {
            Err(Invalid::new(at, "a name is not empty and has no '/'"))
        }
        Some(ValueMatch::Exact(name)) => plain_path(at, name),
    }
}

fn match_value(at: &str, value: &ValueMatch) -> Check {
    match value {
        ValueMatch::Exact(text) => header_value(at, text),
        ValueMatch::Regex(regex) => regex_at(at, regex),
    }
}

fn regex_at(at: &str, regex: &str) -> Check {
    if regex.is_empty() {
        return Err(Invalid::new(at, "a regular expression is not empty"));
    }
    re2(regex).map_err(|message| Invalid::new(at, message))
}

fn backend(at: &str, backend: &WeightedBackend, matched: &PathMatch) -> Check {
    match &backend.target {
        Target::Cluster(cluster) => length(at, &cluster.0, 1, usize::MAX)?,
        Target::Status(status) => status_code(at, *status)?,
    }
    filters(&format!("{at}.filters"), &backend.filters, matched)?;
    backend.session.as_deref().map_or(Ok(()), session)
}

fn filters(at: &str, filters: &Filters, matched: &PathMatch) -> Check {
    header_mods(&format!("{at}.requestHeaderModifier"), &filters.request_headers, true)?;
    header_mods(&format!("{at}.responseHeaderModifier"), &filters.response_headers, false)?;
    if let Some(host) = &filters.rewrite.hostname {
        hostname(&format!("{at}.urlRewrite.hostname"), host)?;
    }
    path_modifier(&format!("{at}.urlRewrite.path"), filters.rewrite.path.as_ref(), matched)?;
    if let Some(to) = &filters.redirect {
        redirect(&format!("{at}.requestRedirect"), to, matched)?;
    }
    for mirror in &filters.mirrors {
        let at = format!("{at}.requestMirror");
        length(&at, &mirror.cluster.0, 1, usize::MAX)?;
        if mirror.fraction.is_some_and(|fraction| fraction.denominator == 0) {
            return Err(Invalid::new(format!("{at}.fraction.denominator"), "a denominator is not zero"));
        }
    }
    if let Some(policy) = &filters.cors {
        cors(&format!("{at}.cors"), policy)?;
    }
    filters.auth.as_deref().map_or(Ok(()), |auth| external_auth(&format!("{at}.externalAuth"), auth))
}

/// `Host` of a request can be set, which becomes a rewrite; Envoy changes it in no other way.
fn header_mods(at: &str, mods: &HeaderMods, request: bool) -> Check {
    let check = |list: &str, header: &Header, host_allowed: bool| {
        let (name, value) = header;
        let at = format!("{at}.{list}[{name}]");
        modifiable(&at, name, host_allowed)?;
        if name.eq_ignore_ascii_case("host") { hostname(&at, value) } else { header_value(&at, value) }
    };
    mods.set.iter().try_for_each(|header| check("set", header, request))?;
    mods.add.iter().try_for_each(|header| check("add", header, false))?;
    mods.remove.iter().try_for_each(|name| modifiable(&format!("{at}.remove[{name}]"), name, false))
}

fn modifiable(at: &str, name: &str, host_allowed: bool) -> Check {
    if name.starts_with(':') || (name.eq_ignore_ascii_case("host") && !host_allowed) {
        return Err(Invalid::new(at, ":-prefixed or host headers may not be modified"));
    }
    token(at, name)
}

fn path_modifier(at: &str, modifier: Option<&PathModifier>, matched: &PathMatch) -> Check {
    match modifier {
        None => Ok(()),
        Some(PathModifier::ReplaceFullPath(path)) => plain_text(&format!("{at}.replaceFullPath"), path),
        Some(PathModifier::ReplacePrefixMatch(path)) => {
            let at = format!("{at}.replacePrefixMatch");
            if !matches!(matched, PathMatch::Prefix(_)) {
                return Err(Invalid::new(at, "replaces what a PathPrefix match matched, and there is none"));
            }
            plain_text(&at, path)
        }
    }
}

fn redirect(at: &str, redirect: &Redirect, matched: &PathMatch) -> Check {
    if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) {
        let message = format!("{} is not one of 301, 302, 303, 307, 308", redirect.status);
        return Err(Invalid::new(format!("{at}.statusCode"), message));
    }
    if let Some(scheme) = &redirect.scheme {
        token(&format!("{at}.scheme"), scheme)?;
    }
    if let Some(host) = &redirect.hostname {
        hostname(&format!("{at}.hostname"), host)?;
    }
    path_modifier(&format!("{at}.path"), redirect.path.as_ref(), matched)
}

fn cors(at: &str, cors: &Cors) -> Check {
    let lists: [(&str, &[Arc<str>]); 4] = [
        ("allowOrigins", &cors.allow_origins),
        ("allowMethods", &cors.allow_methods),
        ("allowHeaders", &cors.allow_headers),
        ("exposeHeaders", &cors.expose_headers),
    ];
    for (list, items) in lists {
        for item in items {
            plain_text(&format!("{at}.{list}[{item}]"), item)?;
            length(&format!("{at}.{list}"), item, 1, usize::MAX)?;
        }
    }
    Ok(())
}

/// Checks the filter that asks an authorization server.
pub fn external_auth(at: &str, auth: &ExternalAuth) -> Check {
    length(&format!("{at}.backendRef"), &auth.cluster.0, 1, usize::MAX)?;
    let names = |list: &str, names: &[Arc<str>]| {
        names.iter().try_for_each(|name| token(&format!("{at}.{list}[{name}]"), name))
    };
    match &auth.protocol {
        AuthProtocol::Grpc { request_headers } => names("grpc.allowedHeaders", request_headers),
        AuthProtocol::Http { path_prefix, request_headers, response_headers } => {
            if !path_prefix.is_empty() {
                if !path_prefix.starts_with('/') {
                    return Err(Invalid::new(format!("{at}.http.path"), "a path starts with '/'"));
                }
                plain_path(&format!("{at}.http.path"), path_prefix)?;
            }
            names("http.allowedHeaders", request_headers)?;
            names("http.allowedResponseHeaders", response_headers)
        }
    }
}

fn session(session: &SessionPersistence) -> Check {
    match session {
        SessionPersistence::Cookie { name, path, .. } => {
            token("sessionPersistence.sessionName", name)?;
            plain_text("sessionPersistence", path)
        }
        SessionPersistence::Header { name } => modifiable("sessionPersistence.sessionName", name, false),
    }
}

fn status_code(at: &str, status: u16) -> Check {
    match status {
        200..=599 => Ok(()),
        _ => Err(Invalid::new(at, format!("{status} is not an HTTP status from 200 to 599"))),
    }
}

/// A path as it is compared: without query, fragment and what may not stand in a request line.
fn plain_path(at: &str, path: &str) -> Check {
    if path.contains(['?', '#']) {
        return Err(Invalid::new(at, "a path has no '?' and no '#'"));
    }
    plain_text(at, path)
}

/// Text of a URL: no white space, no control characters.
fn plain_text(at: &str, text: &str) -> Check {
    match text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        Some(bad) => Err(Invalid::new(at, format!("{bad:?} is not allowed"))),
        None => Ok(()),
    }
}

fn hostname(at: &str, host: &str) -> Check {
    length(at, host, 1, 255)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
    match host.chars().find(|c| !allowed(*c)) {
        Some(bad) => Err(Invalid::new(at, format!("{bad:?} is not allowed in a hostname"))),
        None => Ok(()),
    }
}

/// A header name or method (`token` of RFC 9110).
fn token(at: &str, text: &str) -> Check {
    length(at, text, 1, 16384)?;
    match text.chars().find(|c| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(*c)) {
        Some(bad) => Err(Invalid::new(at, format!("{bad:?} is not allowed in a header name or token"))),
        None => Ok(()),
    }
}

/// A header value: no control character but the tab.
fn header_value(at: &str, value: &str) -> Check {
    length(at, value, 0, 16384)?;
    match value.chars().find(|c| c.is_control() && *c != '\t') {
        Some(bad) => Err(Invalid::new(at, format!("{bad:?} is not allowed in a header value"))),
        None => Ok(()),
    }
}

fn length(at: &str, text: &str, least: usize, most: usize) -> Check {
    match text.len() {
        0 if least > 0 => Err(Invalid::new(at, "is empty")),
        bytes if bytes > most => Err(Invalid::new(at, format!("{bytes} bytes are more than {most}"))),
        _ => Ok(()),
    }
}
