//! Worlds and requests so small that everything collides.

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::request::{Request, ServerName};
use super::world::{
    Action, Gateway, Grant, Kind, Listener, ListenerSet, Match, NAMESPACES, Name, Named, Namespaces, Parent,
    ParentKind, PathType, Protocol, Route, Rule, SERVED, SERVICE, World,
};

const HOSTNAMES: &[&str] =
    &["a.example.com", "*.example.com", "*.a.example.com", "b.a.example.com", "*.com", "other.org"];
const HOSTS: &[&str] = &[
    "a.example.com",
    "A.Example.COM",
    "a.example.com:8080",
    "a.example.com",
    "b.a.example.com",
    "B.a.example.com:80",
    "x.a.example.com",
    "x.b.a.example.com",
    "x.example.com",
    "example.com",
    "other.org",
    "unknown.net",
];
const PATHS: &[(PathType, &str)] = &[
    (PathType::Prefix, "/"),
    (PathType::Prefix, "/a"),
    (PathType::Prefix, "/a"),
    (PathType::Prefix, "/a/"),
    (PathType::Prefix, "/a/b"),
    (PathType::Prefix, "/a.S"),
    (PathType::Exact, "/"),
    (PathType::Exact, "/a"),
    (PathType::Exact, "/a/"),
    (PathType::Exact, "/a/b"),
    (PathType::Exact, "/a.S/M"),
    (PathType::Regex, "/a.*"),
    (PathType::Regex, "/[ab]"),
    (PathType::Regex, "/a/[a-z]"),
];
const CALLS: &[&str] = &["/a.S/M", "/a.S/N", "/b.T/M", "/a.SS/M"];
const REQUESTED: &[&str] =
    &["/", "/a", "/a", "/a/", "/a/", "/a/b", "/a/b", "/a/b/c", "/ab", "/b", "/A", "/a.S/M"];
/// Plain ports, and ports with TLS; listeners stand on the wrong ones at times.
const PLAIN: &[u16] = &[80, 81];
const SECURE: &[u16] = &[443, 444];

/// The first half of the time, so that things meet.
fn some_of<T: Clone + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop_oneof![Just(all[0].clone()), select(all)]
}

fn mostly(ports: &'static [u16]) -> impl Strategy<Value = u16> {
    prop_oneof![5 => Just(ports[0]), 1 => select(ports)]
}

fn created() -> impl Strategy<Value = Option<u8>> {
    weighted(0.8, 1..3u8)
}

/// A world: one where listeners meet, or one where routes do.
pub fn worlds() -> impl Strategy<Value = World> {
    let gateways = prop_oneof![5 => vec(gateway(), 1), 1 => vec(gateway(), 2)];
    let of_listeners = (gateways, vec(set(), 0..4), vec(any_route(parents()), 1..7));
    let of_routes =
        (vec(open_gateway(), 1), Just(Vec::new()), vec(any_route(Just(vec![first_gateway()])), 1..9));
    let objects = prop_oneof![of_listeners, of_routes];
    (subsequence(NAMESPACES.to_vec(), 0..=3), objects, vec(grant(), 0..4)).prop_map(
        |(team, (gateways, sets, routes), grants)| {
            let mut world = World { team, gateways, sets, routes, grants };
            world.name();
            world
        },
    )
}

/// One that takes everything on one port.
fn open_gateway() -> impl Strategy<Value = Gateway> {
    let hostname = select(&[None, Some("*.example.com"), Some("a.example.com")][..]);
    let listener = hostname.prop_map(|hostname| Listener {
        name: "l0".to_owned(),
        port: PLAIN[0],
        protocol: Protocol::Http,
        hostname,
        namespaces: Namespaces::All,
        kinds: Vec::new(),
    });
    (name(), vec(listener, 1)).prop_map(|(name, listeners)| Gateway {
        name,
        allowed_listeners: Namespaces::None,
        listeners,
    })
}

impl World {
    /// Every object gets a name of its own.
    fn name(&mut self) {
        let gateways = self.gateways.iter_mut().map(|gateway| ("gw", &mut gateway.name));
        let sets = self.sets.iter_mut().map(|set| ("set", &mut set.name));
        let grants = self.grants.iter_mut().map(|grant| ("grant", &mut grant.name));
        let mut last = "";
        let mut count = 0;
        for (kind, name) in gateways.chain(sets).chain(grants) {
            count = if kind == last { count + 1 } else { 0 };
            last = kind;
            name.name = format!("{kind}-{count}");
        }
        for (index, route) in self.routes.iter_mut().enumerate() {
            route.name.name = format!("r-{index}");
        }
        // Those that name a Gateway do so by its place.
        let gateways: Vec<_> = self.gateways.iter().map(|gateway| gateway.name.clone()).collect();
        let sets: Vec<_> = self.sets.iter().map(|set| set.name.clone()).collect();
        for set in &mut self.sets {
            place(&mut set.gateway, &gateways);
        }
        for parent in self.routes.iter_mut().flat_map(|route| &mut route.parents) {
            place(&mut parent.name, if parent.kind == ParentKind::Gateway { &gateways } else { &sets });
        }
    }
}

/// A reference is a number until the names are known; one that is too high names nothing.
fn place(reference: &mut Name, all: &[Name]) {
    let named = reference.name.parse().ok().and_then(|index: usize| all.get(index));
    *reference = named.cloned().unwrap_or(Name { namespace: "a", name: "missing".to_owned() });
}

fn number(to: std::ops::Range<usize>) -> impl Strategy<Value = Name> {
    to.prop_map(|index| Name { namespace: "", name: index.to_string() })
}

fn name() -> impl Strategy<Value = Name> {
    some_of(&NAMESPACES).prop_map(|namespace| Name { namespace, name: String::new() })
}

fn namespaces() -> impl Strategy<Value = Namespaces> {
    prop_oneof![
        8 => Just(Namespaces::All),
        1 => Just(Namespaces::Same),
        1 => Just(Namespaces::Team),
    ]
}

fn gateway() -> impl Strategy<Value = Gateway> {
    let allowed = prop_oneof![8 => namespaces(), 1 => Just(Namespaces::None)];
    (name(), allowed, listeners(2..6)).prop_map(|(name, allowed_listeners, listeners)| Gateway {
        name,
        allowed_listeners,
        listeners,
    })
}

fn set() -> impl Strategy<Value = ListenerSet> {
    (name(), created(), prop_oneof![6 => number(0..1), 1 => number(0..3)], listeners(1..4))
        .prop_map(|(name, created, gateway, listeners)| ListenerSet { name, created, gateway, listeners })
}

fn listeners(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Listener>> {
    vec(listener(), count).prop_map(|mut listeners| {
        for (index, listener) in listeners.iter_mut().enumerate() {
            listener.name = format!("l{index}");
        }
        listeners
    })
}

fn listener() -> impl Strategy<Value = Listener> {
    let socket = prop_oneof![
        14 => mostly(PLAIN).prop_map(|port| (Protocol::Http, port)),
        14 => mostly(SECURE).prop_map(|port| (Protocol::Https, port)),
        1 => some_of(SECURE).prop_map(|port| (Protocol::Http, port)),
        1 => some_of(PLAIN).prop_map(|port| (Protocol::Https, port)),
        1 => prop_oneof![some_of(PLAIN), some_of(SECURE)].prop_map(|port| (Protocol::Tcp, port)),
    ];
    let kinds = prop_oneof![6 => Just(vec![]), 1 => Just(vec![Kind::Http]), 1 => Just(vec![Kind::Grpc])];
    (socket, weighted(0.75, select(HOSTNAMES)), namespaces(), kinds).prop_map(
        |((protocol, port), hostname, namespaces, kinds)| Listener {
            name: String::new(),
            port,
            protocol,
            hostname: hostname.filter(|_| protocol != Protocol::Tcp),
            namespaces,
            kinds,
        },
    )
}

/// All of the first Gateway.
fn first_gateway() -> Parent {
    let name = Name { namespace: "", name: "0".to_owned() };
    Parent { kind: ParentKind::Gateway, name, section: None, port: None }
}

fn parents() -> impl Strategy<Value = Vec<Parent>> {
    vec(prop_oneof![1 => Just(first_gateway()), 2 => parent()], 1..4)
}

fn parent() -> impl Strategy<Value = Parent> {
    let object = prop_oneof![
        8 => number(0..1).prop_map(|name| (ParentKind::Gateway, name)),
        1 => number(0..3).prop_map(|name| (ParentKind::Gateway, name)),
        4 => number(0..4).prop_map(|name| (ParentKind::ListenerSet, name)),
    ];
    let section = weighted(0.2, (0..3usize).prop_map(|index| format!("l{index}")));
    (object, section, weighted(0.15, select(&[80, 81, 443, 444][..])))
        .prop_map(|((kind, name), section, port)| Parent { kind, name, section, port })
}

fn any_route(parents: impl Strategy<Value = Vec<Parent>> + 'static) -> impl Strategy<Value = Route> {
    let kind = prop_oneof![3 => Just(Kind::Http), 2 => Just(Kind::Grpc)];
    let (of_http, of_grpc) = (rules(Kind::Http), rules(Kind::Grpc));
    let hostnames = prop_oneof![3 => vec(select(HOSTNAMES), 0), 2 => vec(some_of(HOSTNAMES), 1..3)];
    (kind, name(), created(), parents, hostnames, of_http, of_grpc).prop_map(
        |(kind, name, created, parents, hostnames, of_http, of_grpc)| {
            let rules = if kind == Kind::Http { of_http } else { of_grpc };
            Route { kind, name, created, parents, hostnames, rules }
        },
    )
}

fn rules(kind: Kind) -> impl Strategy<Value = Vec<Rule>> {
    let one = match kind {
        Kind::Http => http_match().boxed(),
        Kind::Grpc => grpc_match().boxed(),
    };
    let service = select(&NAMESPACES[..]).prop_map(Action::Service);
    let action = match kind {
        Kind::Http => prop_oneof![3 => Just(Action::Redirect), 1 => service].boxed(),
        Kind::Grpc => service.boxed(),
    };
    let rule = (vec(one, 0..3), action).prop_map(|(matches, action)| Rule { matches, action });
    vec(rule, 1..4)
}

fn header() -> impl Strategy<Value = Named> {
    (select(&["x-one", "X-One", "x-two"][..]), value()).prop_map(|(name, (regex, value))| Named {
        regex,
        name,
        value,
    })
}

fn parameter() -> impl Strategy<Value = Named> {
    (select(&["q", "p", "Q"][..]), value()).prop_map(|(name, (regex, value))| Named { regex, name, value })
}

fn value() -> impl Strategy<Value = (bool, &'static str)> {
    prop_oneof![8 => Just((false, "1")), 1 => Just((false, "2")), 1 => Just((true, "[12]")), 1 => Just((true, "1"))]
}

fn http_match() -> impl Strategy<Value = Match> {
    let counts = || prop_oneof![4 => 0..1usize, 3 => 1..3usize];
    let headers = counts().prop_flat_map(|count| vec(header(), count));
    let query = counts().prop_flat_map(|count| vec(parameter(), count));
    (weighted(0.9, select(PATHS)), weighted(0.3, some_of(&["GET", "POST"])), headers, query)
        .prop_map(|(path, method, headers, query)| Match { path, method, headers, query, ..Match::default() })
}

fn grpc_match() -> impl Strategy<Value = Match> {
    let called = prop_oneof![
        1 => Just((false, None, None)),
        3 => Just((false, Some("a.S"), None)),
        3 => Just((false, Some("a.S"), Some("M"))),
        1 => Just((false, Some("b.T"), Some("M"))),
        2 => Just((false, None, Some("M"))),
        1 => Just((true, Some("a[.]S"), None)),
        1 => Just((true, Some("a.S+"), Some("M"))),
        1 => Just((true, None, Some("[MN]"))),
    ];
    (called, vec(header(), 0..3)).prop_map(|((regex, service, call), headers)| Match {
        headers,
        regex,
        service,
        call,
        ..Match::default()
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let to = prop_oneof![2 => Just(None), 2 => Just(Some(SERVICE)), 1 => Just(Some("other"))];
    (select(&SERVED[..]), select(&[Kind::Http, Kind::Grpc][..]), some_of(&NAMESPACES), to).prop_map(
        |(namespace, kind, from, to)| Grant { name: Name { namespace, name: String::new() }, kind, from, to },
    )
}

/// Requests for any world.
pub fn requests(count: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<Request>> {
    vec(request(), count)
}

fn request() -> impl Strategy<Value = Request> {
    let socket = prop_oneof![
        30 => (mostly(PLAIN), Just(false)),
        20 => (mostly(SECURE), Just(true)),
        1 => (some_of(SECURE), Just(false)),
        1 => (some_of(PLAIN), Just(true)),
    ];
    let called = prop_oneof![
        3 => select(REQUESTED).prop_map(|path| (false, path)),
        2 => select(CALLS).prop_map(|path| (true, path)),
    ];
    // None: that of the host.
    let server_name = prop_oneof![
        6 => Just(None),
        3 => select(HOSTS).prop_map(|host| Some(without_port(host))),
        1 => Just(Some(ServerName::Absent)),
    ];
    let headers = prop_oneof![
        2 => Just(vec![("x-one", "1"), ("X-Two", "1")]),
        1 => subsequence(vec![("x-one", "1"), ("X-Two", "1")], 0..=2),
    ];
    let pairs =
        select(vec![vec![], vec![("q", "1")], vec![("p", "2"), ("q", "2")], vec![("q", "1"), ("q", "2")]]);
    let query = prop_oneof![2 => Just(vec![("q", "1"), ("p", "1"), ("Q", "1")]), 1 => pairs];
    let gateway = prop_oneof![20 => Just(0usize), 1 => Just(1)];
    (gateway, socket, (select(HOSTS), server_name), called, select(&["GET", "POST"][..]), headers, query)
        .prop_map(|(gateway, (port, tls), (host, server_name), (grpc, path), method, headers, query)| {
            Request {
                gateway,
                port,
                tls: tls.then(|| server_name.unwrap_or_else(|| without_port(host))),
                host: host.to_owned(),
                method: if grpc { "POST" } else { method },
                path,
                query: if grpc { Vec::new() } else { query },
                headers,
                grpc,
            }
        })
}

fn without_port(host: &str) -> ServerName {
    ServerName::Is(host.split(':').next().unwrap_or_default().to_owned())
}
