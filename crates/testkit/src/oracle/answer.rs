//! The rule that answers.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use regex::Regex;

use super::listeners::{Merged, allows, matches, merged, owner};
use super::request::{Request, ServerName};
use super::world::{
    Action, Kind, Match, Named, ParentKind, PathType, Protocol, Route, SERVED, SERVICE, World,
};

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer of a rule, by name.
    Rule(String, Deed),
    /// 404, or `Unimplemented` for gRPC.
    NotFound,
    /// 421.
    Misdirected,
    /// No connection, or none that anybody serves.
    Refused,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It redirects.
    Redirects,
    /// It forwards to the Service of this namespace.
    Forwards(&'static str),
    /// It fails: 500, or `UNAVAILABLE` for a GRPCRoute.
    Fails,
}

/// The answer, and why it is this one.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the client gets.
    pub answer: Answer,
    /// What decided between the first two matches, if several matched.
    pub decided_by: Option<&'static str>,
}

/// Who answers the request.
pub fn answer(world: &World, request: &Request) -> Verdict {
    match listener_of(world, request) {
        Err(answer) => Verdict { answer, decided_by: None },
        Ok(listener) => of_routes(world, request, &listener),
    }
}

/// The listener of a request (GatewaySpec `listeners`, "General Listener behavior"), or what is answered without one.
fn listener_of<'w>(world: &'w World, request: &Request) -> Result<Merged<'w>, Answer> {
    let gateway = world.gateways.get(request.gateway).ok_or(Answer::Refused)?;
    let mut listeners = merged(world, gateway);
    listeners.retain(|merged| !merged.conflicted && merged.listener.port == request.port);
    let protocol = listeners.first().ok_or(Answer::Refused)?.listener.protocol;
    let of_host = owner(&listeners, &request.hostname());
    match (protocol, &request.tls) {
        // "If traffic to a Gateway does not match any Listener's hostname, the request MUST be rejected": 404.
        (Protocol::Http, None) => of_host.cloned().ok_or(Answer::NotFound),
        (Protocol::Https, Some(server_name)) => {
            // Listener `hostname`: "The Listener Hostname SHOULD match both the SNI and Host header."
            let of_connection = match server_name {
                ServerName::Is(name) => owner(&listeners, &name.to_ascii_lowercase()),
                ServerName::Absent => listeners.iter().find(|merged| merged.listener.hostname.is_none()),
            };
            let of_connection = of_connection.ok_or(Answer::Refused)?;
            // "If another Listener has an exact match or more specific wildcard entry, the Gateway SHOULD return a 421", and
            // so "if the current Listener does not match the Host [and] another Listener does". Where no listener at all
            // matches the text wants 404. This is 421 too, on purpose: to tell the two apart every listener's table would
            // have to list all others, and a client that comes back on a connection for that host is refused all the same.
            let same = of_host.is_some_and(|merged| std::ptr::eq(merged, of_connection));
            if same { Ok(of_connection.clone()) } else { Err(Answer::Misdirected) }
        }
        _ => Err(Answer::Refused),
    }
}

/// A match of the request.
struct Candidate<'w> {
    route: &'w Route,
    rule: usize,
    /// By precedence: smaller is better.
    criteria: Vec<(&'static str, Criterion)>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Criterion {
    Most(Reverse<usize>),
    First(usize),
    Earliest(Option<u8>),
    Alphabetical(String),
}

fn of_routes(world: &World, request: &Request, listener: &Merged<'_>) -> Verdict {
    let mut candidates = Vec::new();
    for (route, own) in routes_of_host(world, &request.hostname(), listener) {
        for (rule, of_rule) in route.rules.iter().enumerate() {
            // "If no matches are specified, the default is a prefix path match on `/`"; for gRPC "every gRPC request".
            let default = [Match::default()];
            let matches = if of_rule.matches.is_empty() { &default[..] } else { &of_rule.matches };
            for (place, one) in
                matches.iter().enumerate().filter(|(_, one)| satisfies(route.kind, one, request))
            {
                let criteria = criteria(route, own, one, (rule, place));
                candidates.push(Candidate { route, rule, criteria });
            }
        }
    }
    candidates.sort_by(|a, b| a.criteria.cmp(&b.criteria));
    let Some(first) = candidates.first() else {
        // "When no rules matching a request have been successfully attached [...] a HTTP 404 status code MUST be returned."
        return Verdict { answer: Answer::NotFound, decided_by: None };
    };
    let name = |candidate: &Candidate<'_>| candidate.route.rule_name(candidate.rule);
    let other = candidates.iter().find(|other| name(other) != name(first));
    let decided_by = other.and_then(|other| {
        let mut pairs = first.criteria.iter().zip(&other.criteria);
        pairs.find(|(own, theirs)| own != theirs).map(|((name, _), _)| *name)
    });
    Verdict { answer: Answer::Rule(name(first), deed(world, first.route, first.rule)), decided_by }
}

/// Routes of the listener for a host, each with the hostname of its own that leads there.
///
/// HTTPRoute and GRPCRoute `hostnames`: precedence is that of the hostname first. The text does not say whether a request
/// that no rule of the most specific hostname matches may fall to a wider one; here, as in all proxies with virtual hosts,
/// it does not.
fn routes_of_host<'w>(world: &'w World, host: &str, listener: &Merged<'_>) -> Vec<(&'w Route, &'static str)> {
    let mut found = Vec::new();
    for route in world.routes.iter().filter(|route| is_attached(world, route, listener)) {
        for own in hostnames(route) {
            let shared = intersection(listener.listener.hostname.unwrap_or(ANY), own);
            let shared = shared.filter(|shared| matches(Some(shared), host));
            found.extend(shared.map(|shared| (characters(shared), route, own)));
        }
    }
    let best = found.iter().map(|(characters, _, _)| *characters).max();
    found.retain(|(characters, _, _)| Some(*characters) == best);
    found.into_iter().map(|(_, route, own)| (route, own)).collect()
}

/// ParentReference, and Listener `allowedRoutes`. ListenerSet: "Routes can attach to a ListenerSet by specifying it as a
/// parentRef", so a parentRef that names the Gateway means the Gateway's own listeners.
fn is_attached(world: &World, route: &Route, merged: &Merged<'_>) -> bool {
    let listener = merged.listener;
    let named = route.parents.iter().any(|parent| {
        let object = match (parent.kind, merged.set) {
            // The only Gateway that the caller asks about is the one that has this listener.
            (ParentKind::Gateway, None) => names_gateway_of(world, parent, merged),
            (ParentKind::ListenerSet, Some(set)) => parent.name == *set,
            _ => false,
        };
        object
            && parent.section.as_ref().is_none_or(|section| *section == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    });
    named
        && (listener.kinds.is_empty() || listener.kinds.contains(&route.kind))
        && allows(world, listener.namespaces, merged.namespace, route.name.namespace)
}

fn names_gateway_of(world: &World, parent: &super::world::Parent, merged: &Merged<'_>) -> bool {
    world.gateways.iter().any(|gateway| {
        gateway.name == parent.name && gateway.listeners.iter().any(|own| std::ptr::eq(own, merged.listener))
    })
}

/// Stands for an absent hostname, which every host matches.
const ANY: &str = "*";

/// A route without hostnames is for every host.
fn hostnames(route: &Route) -> Vec<&'static str> {
    if route.hostnames.is_empty() { vec![ANY] } else { route.hostnames.clone() }
}

/// HTTPRoute `hostnames`: what the listener's hostname and the route's have in common; nothing: the hostname is ignored.
fn intersection(listener: &'static str, route: &'static str) -> Option<&'static str> {
    // `*.a.example.com` is within `*.example.com` as `.a.example.com` ends with `.example.com`.
    let covers = |wide: &str, narrow: &str| {
        wide == narrow || (narrow != ANY && matches(Some(wide), narrow.trim_start_matches('*')))
    };
    if covers(listener, route) { Some(route) } else { covers(route, listener).then_some(listener) }
}

/// "Characters in a matching non-wildcard hostname", then "Characters in a matching hostname".
fn characters(hostname: &str) -> (usize, usize) {
    let all = if hostname == ANY { 0 } else { hostname.len() };
    (if hostname.starts_with('*') { 0 } else { all }, all)
}

/// HTTPRouteMatch and GRPCRouteMatch: "Multiple match types are ANDed together".
fn satisfies(kind: Kind, one: &Match, request: &Request) -> bool {
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), *value)).collect();
    let query: Vec<_> = request.query.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let called = match kind {
        Kind::Http => path(one, request.path) && one.method.is_none_or(|method| method == request.method),
        Kind::Grpc => request.grpc && call(one, request.path),
    };
    called
        && counted(&one.headers, true).iter().all(|wanted| has(&headers, wanted, true))
        && counted(&one.query, false).iter().all(|wanted| has(&query, wanted, false))
}

/// PathMatchType. "If this field is not specified, a default prefix match on the `/` path is provided."
fn path(one: &Match, path: &str) -> bool {
    match one.path.unwrap_or((PathType::Prefix, "/")) {
        (PathType::Exact, value) => path == value,
        (PathType::Regex, value) => whole(value, path),
        (PathType::Prefix, value) => {
            // "done on a path element by element basis [...] a trailing `/` is ignored"
            let elements = |text: &'static str| text.trim_end_matches('/').split('/');
            let mut own = path.split('/');
            elements(value).all(|element| own.next() == Some(element))
        }
    }
}

/// GRPCMethodMatch; the path of a call is `/service/method`.
fn call(one: &Match, path: &str) -> bool {
    let is = |wanted: Option<&str>, text: Option<&str>| match (wanted, text) {
        (None, _) => true,
        (Some(wanted), Some(text)) => {
            if one.regex {
                whole(wanted, text)
            } else {
                wanted == text
            }
        }
        (Some(_), None) => false,
    };
    let mut parts = path.split('/').skip(1);
    is(one.service, parts.next()) && is(one.call, parts.next())
}

/// HTTPHeaderMatch and HTTPQueryParamMatch: "only the first entry with an equivalent name MUST be considered".
fn counted(all: &[Named], fold: bool) -> Vec<&Named> {
    let mut seen = BTreeSet::new();
    let name = |named: &Named| if fold { named.name.to_ascii_lowercase() } else { named.name.to_owned() };
    all.iter().filter(|named| seen.insert(name(named))).collect()
}

/// Header names are compared without regard to case, names of query parameters are not. Of a repeated query parameter the
/// first value counts ("recommended").
fn has(pairs: &[(String, &str)], wanted: &Named, fold: bool) -> bool {
    let name = if fold { wanted.name.to_ascii_lowercase() } else { wanted.name.to_owned() };
    let value = pairs.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    value.is_some_and(|value| if wanted.regex { whole(wanted.value, value) } else { wanted.value == value })
}

/// Regular expressions are implementation-specific: here they match the whole text.
fn whole(regex: &str, text: &str) -> bool {
    Regex::new(&format!("^(?:{regex})$")).expect("the universe has good expressions").is_match(text)
}

/// Precedence: HTTPRouteRule `matches` and GRPCRouteRule `matches`.
fn criteria(
    route: &Route,
    own: &str,
    one: &Match,
    (rule, place): (usize, usize),
) -> Vec<(&'static str, Criterion)> {
    let most = |count| Criterion::Most(Reverse(count));
    // "implementations SHOULD evaluate precedence using the original hostnames configured on the Route"
    // (GatewayRouteHostnameIntersectionPrecedence).
    let (exact, all) = characters(own);
    let mut criteria =
        vec![("characters of the exact hostname", most(exact)), ("characters of the hostname", most(all))];
    // "Merging MUST not be done between GRPCRoutes and HTTPRoutes"; which of them is first is open: it is the GRPCRoute.
    criteria.push(("kind", most(usize::from(route.kind == Kind::Grpc))));
    match route.kind {
        Kind::Http => {
            let (path_type, value) = one.path.unwrap_or((PathType::Prefix, "/"));
            // "The precedence of RegularExpression path matches are implementation-specific": below exact ones, above
            // prefixes, the longer expression first. A prefix's trailing slash "is ignored", so it does not count.
            let (class, length) = match path_type {
                PathType::Exact => (2, 0),
                PathType::Regex => (1, value.len()),
                PathType::Prefix => (0, value.trim_end_matches('/').len()),
            };
            criteria.push(("type of the path", most(class)));
            criteria.push(("characters of the path", most(length)));
            criteria.push(("method", most(usize::from(one.method.is_some()))));
        }
        Kind::Grpc => {
            criteria.push(("characters of the service", most(one.service.map_or(0, str::len))));
            criteria.push(("characters of the method", most(one.call.map_or(0, str::len))));
        }
    }
    criteria.push(("headers", most(counted(&one.headers, true).len())));
    criteria.push(("query parameters", most(counted(&one.query, false).len())));
    // "The oldest Route based on creation timestamp", then "alphabetical order by {namespace}/{name}". One without a time
    // (only files have such) is the oldest.
    criteria.push(("age", Criterion::Earliest(route.created)));
    criteria.push(("name", Criterion::Alphabetical(route.name.text())));
    // "the FIRST matching rule (in list order)"
    criteria.push(("place of the rule", Criterion::First(rule)));
    criteria.push(("place of the match", Criterion::First(place)));
    criteria
}

/// HTTPRouteRule and GRPCRouteRule `backendRefs`; ReferenceGrant.
fn deed(world: &World, route: &Route, rule: usize) -> Deed {
    let Action::Service(namespace) = route.rules[rule].action else { return Deed::Redirects };
    let granted = world.grants.iter().any(|grant| {
        grant.name.namespace == namespace
            && grant.kind == route.kind
            && grant.from == route.name.namespace
            && grant.to.is_none_or(|name| name == SERVICE)
    });
    let valid = SERVED.contains(&namespace) && (namespace == route.name.namespace || granted);
    if valid { Deed::Forwards(namespace) } else { Deed::Fails }
}
