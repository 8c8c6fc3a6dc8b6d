//! The encoded messages in their readable form.

// Clippy exempts test functions, not their helpers.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use gatehouse_envoy::{Address, BootstrapOptions, bootstrap, encode, json, validate};
use gatehouse_model::backend::{
    BackendKind, Cluster, ClusterName, Discovery, Endpoint, EndpointAddress, Endpoints, Health, Protocol,
};
use gatehouse_model::client::ConnectionSettings;
use gatehouse_model::http::{
    Action, AuthProtocol, ExternalAuth, Filters, Fraction, HeaderMods, HttpMatch, HttpRoute, Mirror,
    PathMatch, PathModifier, Provenance, Retry, Target, Timeouts, UrlRewrite, WeightedBackend,
};
use gatehouse_model::listener::{
    AccessLog, EnvoyListener, FilterChain, Handler, IpFamily, ListenerSettings, LogFormat, LogScope,
    SecretName, TableName, TlsCertificate, TlsTermination,
};
use gatehouse_model::{AddressSet, Hostname, NamespacedName, RouteKey, RouteKind, Transport};
use serde_json::{Value, json};

#[path = "encode/fuzz.rs"]
mod fuzz;
#[path = "common/random.rs"]
mod random;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";

fn readable(type_url: &str, bytes: &[u8]) -> Value {
    assert_eq!(validate::message(type_url, bytes), Ok(()));
    json::decode(type_url, bytes).unwrap()
}

fn table() -> TableName {
    TableName("ns/gw/80".into())
}

/// The routes of a virtual host with this one route.
fn routes(route: &HttpRoute) -> Value {
    let fragments = encode::route(route).unwrap();
    let host = encode::virtual_host(&table(), &Hostname::Any, [&*fragments.bytes].into_iter());
    readable(VIRTUAL_HOST, &host)["routes"].clone()
}

fn http_route(path: PathMatch, action: Action) -> HttpRoute {
    HttpRoute {
        provenance: Provenance {
            route: RouteKey { kind: RouteKind::Http, object: NamespacedName::new("shop", "web") },
            rule_name: None,
            rule: 2,
            matched: 1,
        },
        matches: HttpMatch { path, method: None, headers: Vec::new(), query: Vec::new() },
        filters: Arc::default(),
        action: Arc::new(action),
        timeouts: Timeouts::default(),
        retry: None,
        session: None,
    }
}

fn prefix(path: &str, backends: Vec<WeightedBackend>) -> HttpRoute {
    http_route(PathMatch::Prefix(path.into()), Action::Forward(backends))
}

fn backend(cluster: &str, weight: u32) -> WeightedBackend {
    let target = Target::Cluster(ClusterName(cluster.into()));
    WeightedBackend { target, weight, filters: std::sync::Arc::default(), session: None }
}

#[test]
fn route_carries_its_name_its_origin_and_its_default_limits() {
    let route = prefix("/a/", vec![backend("c", 1)]);
    assert_eq!(
        routes(&route),
        json!([{
            "name": "httproute/shop/web/rule/2/match/1",
            "match": {"path_separated_prefix": "/a"},
            "route": {"cluster": "c", "timeout": "15s", "idle_timeout": "3600s"},
            "metadata": {"filter_metadata": {"gatehouse.dev":
                {"kind": "HTTPRoute", "name": "web", "namespace": "shop", "rule": "2"}}},
        }])
    );
    let fragments = encode::route(&route).unwrap();
    assert_eq!(fragments.clusters, [ClusterName("c".into())]);
    assert_eq!(fragments.longest_timeout, encode::DEFAULT_TIMEOUT);
}

#[test]
fn named_rule_is_named_in_the_route() {
    let mut route = prefix("/", vec![backend("c", 1)]);
    route.provenance.rule_name = Some("checkout".into());
    let routes = routes(&route);
    assert_eq!(routes[0]["name"], "httproute/shop/web/rule/checkout/match/1");
    assert_eq!(routes[0]["metadata"]["filter_metadata"]["gatehouse.dev"]["rule"], "checkout");
    assert_eq!(routes[0]["match"], json!({"prefix": "/"}));
}

#[test]
fn time_limits_and_retries_become_one_policy() {
    let mut route = prefix("/", vec![backend("c", 1)]);
    route.timeouts =
        Timeouts { request: Some(Duration::ZERO), backend_request: Some(Duration::from_secs(2)) };
    let action = routes(&route)[0]["route"].clone();
    assert_eq!((&action["timeout"], &action["idle_timeout"]), (&json!("0s"), &json!("0s")));
    assert_eq!(action["retry_policy"], json!({"per_try_timeout": "2s"}));
    assert_eq!(encode::route(&route).unwrap().longest_timeout, encode::UNLIMITED);

    route.timeouts = Timeouts { request: None, backend_request: Some(Duration::from_hours(2)) };
    let action = routes(&route)[0]["route"].clone();
    assert_eq!((&action["timeout"], &action["idle_timeout"]), (&json!("7200s"), &json!("7200s")));

    route.timeouts = Timeouts::default();
    let retry = |attempts, backoff| Some(Arc::new(Retry { codes: vec![503, 500, 503], attempts, backoff }));
    route.retry = retry(0, None);
    assert_eq!(routes(&route)[0]["route"].get("retry_policy"), None, "zero attempts are no retries");
    route.retry = retry(3, Some(Duration::from_millis(40)));
    let policy = routes(&route)[0]["route"]["retry_policy"].clone();
    assert_eq!(
        policy["retry_on"],
        "connect-failure,refused-stream,reset-before-request,unavailable,retriable-status-codes"
    );
    assert_eq!(policy["retriable_status_codes"], json!([500, 503]));
    assert_eq!(policy["num_retries"], 3);
    assert_eq!(policy["retry_back_off"], json!({"base_interval": "0.040s", "max_interval": "0.400s"}));
}

#[test]
fn mirrors_keep_their_fraction_exact_where_envoy_can() {
    let mut route = prefix("/", vec![backend("c", 1)]);
    let mirror = |numerator, denominator| Mirror {
        cluster: ClusterName("m".into()),
        fraction: Some(Fraction { numerator, denominator }),
    };
    let mirrors = vec![mirror(1, 4), mirror(1, 16), mirror(1, 64), mirror(1, 3), mirror(5, 4), mirror(0, 4)];
    route.filters = Arc::new(Filters { mirrors, ..Filters::default() });
    let policies = routes(&route)[0]["route"]["request_mirror_policies"].clone();
    let fractions: Vec<_> = policies
        .as_array()
        .unwrap()
        .iter()
        .map(|policy| policy["runtime_fraction"]["default_value"].clone())
        .collect();
    assert_eq!(
        fractions,
        [
            json!({"numerator": 25}),
            json!({"numerator": 625, "denominator": "TEN_THOUSAND"}),
            json!({"numerator": 15625, "denominator": "MILLION"}),
            json!({"numerator": 333_333, "denominator": "MILLION"}),
            json!({"numerator": 100}),
        ]
    );
    let clusters = encode::route(&route).unwrap().clusters;
    assert_eq!(clusters, [ClusterName("c".into()), ClusterName("m".into())]);
}

#[test]
fn shares_get_cumulative_thresholds_and_names_of_their_own() {
    let invalid = WeightedBackend { target: Target::Status(500), ..backend("none", 1) };
    let route = prefix("/", vec![backend("a", 1), invalid, backend("b", 2), backend("unused", 0)]);
    let routes = routes(&route);
    let thresholds: Vec<_> = routes
        .as_array()
        .unwrap()
        .iter()
        .map(|route| route["match"]["runtime_fraction"]["default_value"]["numerator"].clone())
        .collect();
    assert_eq!(thresholds, [json!(250_000), json!(500_000), Value::Null]);
    assert_eq!(routes[1]["direct_response"], json!({"status": 500}));
    assert_eq!(routes[2]["name"], "httproute/shop/web/rule/2/match/1/share/2");
    let clusters = encode::route(&route).unwrap().clusters;
    assert_eq!(clusters, [ClusterName("a".into()), ClusterName("b".into())]);
}

#[test]
fn what_is_not_forwarded_uses_no_cluster() {
    let fragments = encode::route(&prefix("/", Vec::new())).unwrap();
    assert_eq!((fragments.clusters.len(), fragments.longest_timeout), (0, Duration::ZERO));
}

#[test]
fn what_envoy_would_refuse_is_named_with_its_field() {
    let found = |change: &dyn Fn(&mut HttpRoute)| {
        let mut route = prefix("/", vec![backend("c", 1)]);
        change(&mut route);
        encode::route(&route).unwrap_err().to_string()
    };
    let filters = |filters: Filters| move |route: &mut HttpRoute| route.filters = Arc::new(filters.clone());
    let mods = HeaderMods { add: vec![("Host".into(), "x".into())], ..HeaderMods::default() };
    assert_eq!(
        found(&|route| route.matches.path = PathMatch::Regex("((".into())),
        "path.value: missing ): (("
    );
    assert_eq!(
        found(&|route| route.matches.path = PathMatch::Exact("a".into())),
        "path.value: a path starts with '/'"
    );
    assert_eq!(
        found(&filters(Filters { request_headers: mods.clone(), ..Filters::default() })),
        "filters.requestHeaderModifier.add[Host]: :-prefixed or host headers may not be modified"
    );
    let value = HeaderMods { set: vec![("x".into(), "a\r\nb".into())], ..HeaderMods::default() };
    assert_eq!(
        found(&filters(Filters { response_headers: value, ..Filters::default() })),
        r"filters.responseHeaderModifier.set[x]: '\r' is not allowed in a header value"
    );
    let rewrite = UrlRewrite { path: Some(PathModifier::ReplacePrefixMatch("/".into())), hostname: None };
    assert_eq!(
        found(&|route| {
            route.matches.path = PathMatch::Exact("/a".into());
            route.filters = Arc::new(Filters { rewrite: rewrite.clone(), ..Filters::default() });
        }),
        "filters.urlRewrite.path.replacePrefixMatch: replaces what a PathPrefix match matched, and there is none"
    );
    let own = WeightedBackend {
        filters: Arc::new(Filters { request_headers: mods, ..Filters::default() }),
        ..backend("c", 1)
    };
    assert!(
        found(&|route| route.action = Arc::new(Action::Forward(vec![own.clone()])))
            .starts_with("backendRefs[0].filters.requestHeaderModifier.add[Host]: ")
    );
}

#[test]
fn tables_and_hosts_are_named_for_vhds() {
    let host = Hostname::parse("*.example.com");
    assert_eq!(
        readable(VIRTUAL_HOST, &encode::status_host(&table(), &host, 421)),
        json!({
            "name": "ns/gw/80/*.example.com",
            "domains": ["*.example.com"],
            "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 421}}],
        })
    );
    assert_eq!(
        readable(ROUTES, &encode::route_table(&table(), encode::TableMode::Vhds)),
        json!({
            "name": "ns/gw/80",
            "ignore_port_in_host_matching": true,
            "vhds": {"config_source": {"ads": {}, "resource_api_version": "V3"}},
        })
    );
    let inline = [encode::virtual_host(&table(), &host, std::iter::empty())];
    assert_eq!(
        readable(ROUTES, &encode::route_table(&table(), encode::TableMode::Inline(&inline)))["virtual_hosts"],
        json!([{"name": "ns/gw/80/*.example.com", "domains": ["*.example.com"]}])
    );
}

#[test]
fn listener_has_the_same_filters_whatever_its_routes() {
    let chain = FilterChain {
        name: "gw/https".into(),
        server_name: Hostname::parse("a.com"),
        tls: Some(TlsTermination { secrets: vec![SecretName("s".into())], clients: None }),
        handler: Handler::Http(table()),
        clients: Arc::default(),
    };
    let other = FilterChain { server_name: Hostname::Any, name: "gw/any".into(), ..chain.clone() };
    let listener = EnvoyListener {
        name: "gw/443".into(),
        addresses: AddressSet::default(),
        port: 8443,
        transport: Transport::Tcp,
        tls: true,
        chains: vec![chain, other],
        settings: Arc::default(),
        connections: ConnectionSettings::default(),
    };
    let json = readable(LISTENER, &encode::listener(&listener, encode::Options { ipv6: true }));
    let address = json!({"socket_address": {"address": "::", "ipv4_compat": true, "port_value": 8443}});
    assert_eq!(json["address"], address);
    assert_eq!(json["listener_filters"][0]["name"], "envoy.filters.listener.tls_inspector");
    assert_eq!(json["filter_chains"][0]["filter_chain_match"], json!({"server_names": ["a.com"]}));
    assert_eq!(json["filter_chains"][1].get("filter_chain_match"), None);
    let manager = &json["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array().unwrap();
    let names: Vec<_> = filters
        .iter()
        .map(|filter| (filter["name"].as_str().unwrap(), filter.get("disabled").is_some()))
        .collect();
    let places: Vec<_> = (1..=16).map(|place| format!("gatehouse.pre_routing.{place}")).collect();
    let (ahead, of_routes) = names.split_at(places.len());
    assert_eq!(ahead, places.iter().map(|place| (&**place, true)).collect::<Vec<_>>());
    assert_eq!(
        of_routes,
        [
            ("gatehouse.choose_route", true),
            ("envoy.filters.http.cors", true),
            ("envoy.filters.http.ext_authz", true),
            ("envoy.filters.http.stateful_session", true),
            ("envoy.filters.http.router", false),
        ]
    );
    let auth = ExternalAuth {
        cluster: ClusterName("auth".into()),
        protocol: AuthProtocol::Grpc { request_headers: vec![] },
        body_limit: 0,
    };
    let auth = Arc::new(auth);
    let ahead: Vec<_> = std::iter::repeat_n(auth, encode::PRE_ROUTING_FILTERS).collect();
    let more: Vec<_> = ahead.iter().chain(&ahead[..1]).cloned().collect();
    assert!(encode::pre_routing(&more).is_err(), "the schema allows no more");
    let ahead = encode::pre_routing(&ahead).unwrap().bytes;
    let host = encode::virtual_host(&table(), &Hostname::Any, [&*ahead].into_iter());
    let host = readable(VIRTUAL_HOST, &host);
    let mut switchable: Vec<_> =
        names.iter().filter(|(_, disabled)| *disabled).map(|(name, _)| *name).collect();
    switchable.sort_unstable();
    let switched_on: Vec<_> = host["typed_per_filter_config"].as_object().unwrap().keys().collect();
    assert_eq!(switched_on, switchable, "filters ahead of routes switch on whatever a route may ask for");
    assert_eq!(manager["rds"]["route_config_name"], "ns/gw/80");
    let v4 = readable(LISTENER, &encode::listener(&listener, encode::Options { ipv6: false }));
    assert_eq!(v4["address"], json!({"socket_address": {"address": "0.0.0.0", "port_value": 8443}}));
}

#[test]
fn settings_of_the_fleet_are_in_every_listener() {
    let log = |format, scope| AccessLog { path: "/dev/stdout".into(), format, scope };
    let fields = [("time", "%START_TIME%"), ("code", "%RESPONSE_CODE%")].map(|(k, v)| (k.into(), v.into()));
    let listener = |family| EnvoyListener {
        name: "gw/80".into(),
        addresses: AddressSet::default(),
        port: 80,
        transport: Transport::Tcp,
        tls: false,
        chains: vec![FilterChain {
            name: "all".into(),
            server_name: Hostname::Any,
            tls: None,
            handler: Handler::Http(table()),
            clients: Arc::default(),
        }],
        connections: ConnectionSettings::default(),
        settings: Arc::new(ListenerSettings {
            tracing: None,
            family,
            access_logs: vec![
                log(LogFormat::Default, LogScope::Everything),
                log(LogFormat::Text("%PROTOCOL%\n".into()), LogScope::Requests),
                log(LogFormat::Json(fields.clone().into()), LogScope::Connections),
            ],
        }),
    };
    let options = encode::Options { ipv6: false };
    let bytes = encode::listener(&listener(None), options);
    let json = readable(LISTENER, &bytes);
    let of_requests = &json["filter_chains"][0]["filters"][0]["typed_config"]["access_log"];
    let formats = |logs: &Value| -> Vec<Value> {
        logs.as_array().unwrap().iter().map(|log| log["typed_config"]["log_format"].clone()).collect()
    };
    assert_eq!(of_requests[0]["name"], "envoy.access_loggers.file");
    assert_eq!(of_requests[0]["typed_config"]["path"], "/dev/stdout");
    assert_eq!(
        formats(of_requests),
        [json!(null), json!({"text_format_source": {"inline_string": "%PROTOCOL%\n"}})]
    );
    let object = json!({"json_format": {"code": "%RESPONSE_CODE%", "time": "%START_TIME%"}});
    assert_eq!(formats(&json["access_log"]), [json!(null), object]);
    assert_eq!(json["access_log"][0]["filter"], json!({"response_flag_filter": {"flags": ["NR"]}}));
    assert_eq!(json["access_log"][1].get("filter"), None);
    let address = |family| {
        readable(LISTENER, &encode::listener(&listener(Some(family)), options))["address"]["socket_address"]
            .clone()
    };
    assert_eq!(address(IpFamily::V4), json!({"address": "0.0.0.0", "port_value": 80}));
    assert_eq!(address(IpFamily::V6), json!({"address": "::", "port_value": 80}));
    assert_eq!(address(IpFamily::Dual), json!({"address": "::", "ipv4_compat": true, "port_value": 80}));
}

#[test]
fn clusters_and_endpoints_say_what_they_are() {
    let mut cluster = Cluster {
        name: ClusterName("shop/web/80".into()),
        kind: BackendKind::Service,
        namespace: "shop".into(),
        object: "web".into(),
        port: 80,
        protocol: Protocol::H2c,
        certificate: None,
        tls: None,
        discovery: Discovery::Eds,
        retries: None,
    };
    let json = readable(CLUSTER, &encode::cluster(&cluster));
    assert_eq!(json["type"], "EDS");
    assert_eq!(json["eds_cluster_config"]["service_name"], "shop/web/80");
    assert_eq!(
        json["metadata"]["filter_metadata"]["gatehouse.dev"],
        json!({"kind": "Service", "name": "web", "namespace": "shop", "port": "80"})
    );
    cluster.discovery = Discovery::Dns(vec![("db.example".into(), 3000)]);
    let json = readable(CLUSTER, &encode::cluster(&cluster));
    assert_eq!(json["cluster_type"]["name"], "envoy.cluster.dns");

    let endpoint = |address: &str, health| Endpoint {
        address: EndpointAddress::Socket(address.parse().unwrap()),
        health,
    };
    let members = vec![endpoint("10.0.0.1:80", Health::Healthy), endpoint("[fd00::1]:80", Health::Draining)];
    let endpoints = Endpoints { cluster: cluster.name, localities: vec![("z".into(), members)] };
    assert_eq!(
        readable(ENDPOINTS, &encode::endpoints(&endpoints)),
        json!({"cluster_name": "shop/web/80", "endpoints": [{"locality": {"zone": "z"}, "lb_endpoints": [
            {"health_status": "HEALTHY",
                "endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}},
            {"health_status": "DRAINING",
                "endpoint": {"address": {"socket_address": {"address": "fd00::1", "port_value": 80}}}},
        ]}]})
    );
}

#[test]
fn private_keys_are_never_readable() {
    let certificate = TlsCertificate { chain: Arc::from(*b"CHAIN"), key: Arc::from(*b"KEY") };
    let bytes = encode::secret(&SecretName("s".into()), &certificate);
    let pair = readable(SECRET, &bytes)["tls_certificate"].clone();
    assert_eq!(pair, json!({"certificate_chain": {"inline_bytes": "CHAIN"}, "private_key": "[redacted]"}));
}

#[test]
fn bootstrap_is_equal_for_equal_options() {
    let options = || {
        let socket = Address::Socket { host: "127.0.0.1".to_owned(), port: 9901 };
        BootstrapOptions::new("node", "fleet", socket, Address::Pipe("/run/xds.sock".to_owned()))
    };
    let text = bootstrap(&options());
    assert_eq!(text, bootstrap(&options()));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["node"]["id"], "node");
    let ads = &json["dynamic_resources"]["ads_config"];
    assert_eq!(ads["set_node_on_first_message_only"], true);
    let back_off = &ads["grpc_services"][0]["envoy_grpc"]["retry_policy"]["retry_back_off"];
    assert_eq!(*back_off, json!({"base_interval": "0.1s", "max_interval": "0.25s"}));
}
