//! Random routes: sound ones, and such as no user would write.

use std::sync::Arc;
use std::time::Duration;

use gatehouse_model::backend::ClusterName;
use gatehouse_model::http::{
    Action, AuthProtocol, Cors, ExternalAuth, Filters, Fraction, HeaderMods, HttpMatch, HttpRoute, Mirror,
    NamedMatch, PathMatch, PathModifier, Provenance, Redirect, Retry, SessionPersistence, Target, Timeouts,
    UrlRewrite, ValueMatch, WeightedBackend,
};
use gatehouse_model::{NamespacedName, RouteKey, RouteKind};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// Anything.
fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["[a-zA-Z0-9/*.:-]{0,12}", ".{0,8}", r"[()\[\]{}*+?\\^$|a1]{0,8}"].prop_map(Arc::from)
}

/// Mostly what the pattern says, sometimes anything.
fn mostly(pattern: &'static str) -> impl Strategy<Value = Arc<str>> {
    prop_oneof![15 => pattern.prop_map(Arc::from), 1 => text()]
}

fn token() -> impl Strategy<Value = Arc<str>> {
    mostly("[a-zA-Z][a-zA-Z0-9_-]{0,5}|[Hh]ost")
}

fn url_path() -> impl Strategy<Value = Arc<str>> {
    mostly("(/[a-z.%$-]{1,3}){1,3}/?|/")
}

fn regex() -> impl Strategy<Value = Arc<str>> {
    mostly(r"(/|[a-z]{1,2}|\.[*+?]|\[[a-c^-]x\]|\(a\|b\)|a\{2,5\}|\\d|\\.){1,6}")
}

fn host() -> impl Strategy<Value = Arc<str>> {
    mostly("[a-z]{1,3}(\\.[a-z]{1,3}){0,2}(:80)?")
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        1 => url_path().prop_map(PathMatch::Exact),
        4 => url_path().prop_map(PathMatch::Prefix),
        1 => regex().prop_map(PathMatch::Regex),
        1 => (option::of(part_of_call()), option::of(part_of_call()))
            .prop_map(|(service, method)| PathMatch::Call { service, method }),
    ]
}

fn part_of_call() -> impl Strategy<Value = ValueMatch> {
    prop_oneof![
        mostly("[a-zA-Z_]{1,4}(\\.[a-z_0-9]{1,3}){0,2}").prop_map(ValueMatch::Exact),
        regex().prop_map(ValueMatch::Regex),
    ]
}

fn named() -> impl Strategy<Value = NamedMatch> {
    let value =
        prop_oneof![mostly("[!-~]{1,8}").prop_map(ValueMatch::Exact), regex().prop_map(ValueMatch::Regex)];
    (token(), value).prop_map(|(name, value)| NamedMatch { name, value })
}

fn header_mods() -> impl Strategy<Value = HeaderMods> {
    let header = || (mostly("[a-zA-Z-]{1,6}"), mostly("[ -~]{0,8}"));
    (vec(header(), 0..3), vec(header(), 0..3), vec(mostly("[a-z]{1,4}"), 0..2))
        .prop_map(|(set, add, remove)| HeaderMods { set, add, remove })
}

fn modifier() -> impl Strategy<Value = PathModifier> {
    prop_oneof![
        url_path().prop_map(PathModifier::ReplaceFullPath),
        url_path().prop_map(PathModifier::ReplacePrefixMatch)
    ]
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let status = prop_oneof![10 => Just(301_u16), 10 => Just(302), 10 => Just(308), 1 => any::<u16>()];
    (option::of(token()), option::of(host()), option::of(modifier()), option::of(any::<u16>()), status)
        .prop_map(|(scheme, hostname, path, port, status)| {
            let left_out = scheme.as_ref().filter(|_| port.is_none()).map(|_| 443);
            Redirect { scheme, hostname, path, port, left_out, status }
        })
}

fn cors() -> impl Strategy<Value = Cors> {
    let origin = mostly(r"\*|https?://(\*\.)?[a-z]{1,3}\.com(:[1-9][0-9]{1,3})?");
    (vec(origin, 0..3), any::<bool>(), vec(token(), 0..2), any::<u32>()).prop_map(
        |(allow_origins, allow_credentials, names, max_age)| Cors {
            allow_origins,
            allow_credentials,
            allow_methods: names.clone(),
            allow_headers: names.clone(),
            expose_headers: names,
            max_age,
        },
    )
}

fn external_auth() -> impl Strategy<Value = ExternalAuth> {
    let names = || vec(token(), 0..2);
    let protocol = prop_oneof![
        names().prop_map(|request_headers| AuthProtocol::Grpc { request_headers }),
        (url_path(), names(), names()).prop_map(|(path_prefix, request_headers, response_headers)| {
            AuthProtocol::Http { path_prefix, request_headers, response_headers }
        }),
    ];
    ("[a-c]", protocol, any::<u32>()).prop_map(|(cluster, protocol, body_limit)| ExternalAuth {
        cluster: ClusterName(cluster.into()),
        protocol,
        body_limit,
    })
}

fn filters() -> impl Strategy<Value = Filters> {
    let mirror = (token(), option::of((any::<u32>(), any::<u32>()))).prop_map(|(cluster, share)| Mirror {
        cluster: ClusterName(cluster),
        fraction: share.map(|(numerator, denominator)| Fraction { numerator, denominator }),
    });
    (
        header_mods(),
        header_mods(),
        option::of(host()),
        option::of(modifier()),
        option::weighted(0.2, redirect()),
        vec(mirror, 0..2),
        option::of(cors()),
        option::weighted(0.2, external_auth()),
    )
        .prop_map(
            |(request_headers, response_headers, hostname, path, redirect, mirrors, cors, auth)| Filters {
                request_headers,
                response_headers,
                rewrite: UrlRewrite { hostname, path },
                redirect,
                mirrors,
                cors,
                auth: auth.map(Arc::new),
            },
        )
}

fn action() -> impl Strategy<Value = Action> {
    let target = prop_oneof![
        8 => "[a-c]".prop_map(|name| Target::Cluster(ClusterName(name.into()))),
        2 => Just(Target::Status(500)),
        1 => (0..700_u16).prop_map(Target::Status),
    ];
    let filters = prop_oneof![3 => Just(Filters::default()), 1 => filters()];
    let backend = (target, any::<u32>(), filters).prop_map(|(target, weight, filters)| WeightedBackend {
        target,
        weight: weight % 1_000_001,
        filters: filters.into(),
        session: None,
    });
    prop_oneof![
        4 => vec(backend, 0..4).prop_map(Action::Forward),
        1 => redirect().prop_map(Action::Redirect),
        1 => (100..700_u16).prop_map(Action::Respond),
    ]
}

fn duration() -> impl Strategy<Value = Option<Duration>> {
    option::of(prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))
    ])
}

/// Any route.
pub(crate) fn route() -> impl Strategy<Value = HttpRoute> {
    let matches = (path(), option::of(token()), vec(named(), 0..2), vec(named(), 0..2))
        .prop_map(|(path, method, headers, query)| HttpMatch { path, method, headers, query });
    let retry = (vec(any::<u16>(), 0..3), any::<u32>(), duration())
        .prop_map(|(codes, attempts, backoff)| Retry { codes, attempts, backoff });
    let session = prop_oneof![
        (token(), url_path(), duration()).prop_map(|(name, path, ttl)| SessionPersistence::Cookie {
            name,
            path,
            ttl
        }),
        token().prop_map(|name| SessionPersistence::Header { name }),
    ];
    let filters = prop_oneof![2 => Just(Filters::default()), 1 => filters()];
    let limits = (duration(), duration());
    (matches, filters, action(), limits, option::of(retry), option::of(session), option::of(text())).prop_map(
        |(matches, filters, action, (request, backend_request), retry, session, rule_name)| HttpRoute {
            provenance: Provenance {
                route: RouteKey { kind: RouteKind::Http, object: NamespacedName::new("ns", "name") },
                rule_name,
                rule: 0,
                matched: 0,
            },
            matches,
            filters: Arc::new(filters),
            action: Arc::new(action),
            timeouts: Timeouts { request, backend_request },
            retry: retry.map(Arc::new),
            session: session.map(Arc::new),
        },
    )
}
