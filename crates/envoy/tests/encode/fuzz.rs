//! Whatever a route contains: no panic, equal bytes for equal values, and what is encoded is sound.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = Arc<str>> {
    prop_oneof![
        "[a-zA-Z0-9/*.:-]{0,12}",
        "/[a-z]{0,3}(/[a-z%]{0,3}){0,2}",
        ".{0,8}",
        r"[()\[\]{}*+?\\^$|a1]{0,8}"
    ]
    .prop_map(Arc::from)
}

fn path() -> impl Strategy<Value = PathMatch> {
    prop_oneof![
        text().prop_map(PathMatch::Exact),
        text().prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Regex),
        Just(PathMatch::Prefix("/".into())),
    ]
}

fn named() -> impl Strategy<Value = NamedMatch> {
    let value = prop_oneof![text().prop_map(ValueMatch::Exact), text().prop_map(ValueMatch::Regex)];
    (text(), value).prop_map(|(name, value)| NamedMatch { name, value })
}

fn header_mods() -> impl Strategy<Value = HeaderMods> {
    let header = || ("[a-zA-Z-]{1,6}".prop_map(Arc::<str>::from), text());
    (vec(header(), 0..3), vec(header(), 0..3), vec("[a-z]{1,4}".prop_map(Arc::<str>::from), 0..2))
        .prop_map(|(set, add, remove)| HeaderMods { set, add, remove })
}

fn modifier() -> impl Strategy<Value = PathModifier> {
    prop_oneof![
        text().prop_map(PathModifier::ReplaceFullPath),
        text().prop_map(PathModifier::ReplacePrefixMatch)
    ]
}

fn redirect() -> impl Strategy<Value = Redirect> {
    let status = prop_oneof![Just(301_u16), Just(302), Just(308), any::<u16>()];
    (option::of(text()), option::of(text()), option::of(modifier()), option::of(any::<u16>()), status)
        .prop_map(|(scheme, hostname, path, port, status)| Redirect { scheme, hostname, path, port, status })
}

fn cors() -> impl Strategy<Value = Cors> {
    (vec(text(), 0..3), any::<bool>(), vec(text(), 0..2), any::<u32>()).prop_map(
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

fn filters() -> impl Strategy<Value = Filters> {
    let mirror = (text(), option::of((any::<u32>(), any::<u32>()))).prop_map(|(cluster, share)| Mirror {
        cluster: ClusterName(cluster),
        fraction: share.map(|(numerator, denominator)| Fraction { numerator, denominator }),
    });
    (
        header_mods(),
        header_mods(),
        option::of(text()),
        option::of(modifier()),
        option::of(redirect()),
        vec(mirror, 0..2),
        option::of(cors()),
    )
        .prop_map(|(request_headers, response_headers, hostname, path, redirect, mirrors, cors)| {
            Filters {
                request_headers,
                response_headers,
                rewrite: UrlRewrite { hostname, path },
                redirect,
                mirrors,
                cors,
            }
        })
}

fn action() -> impl Strategy<Value = Action> {
    let target = prop_oneof![
        "[a-c]".prop_map(|name| Target::Cluster(ClusterName(name.into()))),
        Just(Target::Status(500)),
        any::<u16>().prop_map(Target::Status),
    ];
    let filters = prop_oneof![3 => Just(Filters::default()), 1 => filters()];
    let backend = (target, any::<u32>(), filters).prop_map(|(target, weight, filters)| WeightedBackend {
        target,
        weight: weight % 1_000_001,
        filters,
    });
    prop_oneof![
        4 => vec(backend, 0..4).prop_map(Action::Forward),
        1 => redirect().prop_map(Action::Redirect),
        1 => any::<u16>().prop_map(Action::Respond),
    ]
}

fn duration() -> impl Strategy<Value = Option<Duration>> {
    option::of(prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        any::<u32>().prop_map(|ms| Duration::from_millis(ms.into()))
    ])
}

fn route() -> impl Strategy<Value = HttpRoute> {
    let matches = (path(), option::of(text()), vec(named(), 0..2), vec(named(), 0..2))
        .prop_map(|(path, method, headers, query)| HttpMatch { path, method, headers, query });
    let retry = (vec(any::<u16>(), 0..3), any::<u32>(), duration())
        .prop_map(|(codes, attempts, backoff)| Retry { codes, attempts, backoff });
    let session = prop_oneof![
        (text(), text(), duration()).prop_map(|(name, path, ttl)| SessionPersistence::Cookie {
            name,
            path,
            ttl
        }),
        text().prop_map(|name| SessionPersistence::Header { name }),
    ];
    let filters = prop_oneof![2 => Just(Filters::default()), 1 => filters()];
    let limits = (duration(), duration());
    (matches, filters, action(), limits, option::of(retry), option::of(session), option::of(text())).prop_map(
        |(matches, filters, action, (request, backend_request), retry, session, rule_name)| {
            let mut route = http_route(PathMatch::Prefix("/".into()), action);
            route.provenance.rule_name = rule_name;
            HttpRoute {
                matches,
                filters: Arc::new(filters),
                timeouts: Timeouts { request, backend_request },
                retry: retry.map(Arc::new),
                session: session.map(Arc::new),
                ..route
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_route_is_refused_or_encoded_soundly(route in route()) {
        let first = encode::route(&route);
        prop_assert_eq!(&first, &encode::route(&route.clone()));
        if let Ok(fragments) = first {
            let bytes = [&*fragments.bytes];
            let host = encode::virtual_host(&table(), &Hostname::Any, bytes.into_iter());
            prop_assert_eq!(validate::message(VIRTUAL_HOST, &host), Ok(()));
            prop_assert!(json::decode(VIRTUAL_HOST, &host).is_ok());
        }
    }

    #[test]
    fn any_pattern_gets_a_verdict(pattern in r"[()\[\]{}*+?\\^$|a1,:<>P=!ixQEpdL-]{0,16}|.{0,12}") {
        let _ = validate::re2(&pattern);
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..64)) {
        for kind in [CLUSTER, ENDPOINTS, LISTENER, ROUTES, SECRET, VIRTUAL_HOST] {
            let readable = json::decode(kind, &bytes);
            let checked = validate::message(kind, &bytes);
            prop_assert!(readable.is_ok() || checked.is_err());
        }
    }
}
