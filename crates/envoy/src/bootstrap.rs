//! The configuration that a proxy starts with.

use std::time::Duration;

use serde_json::{Value, json};

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Path of a Unix domain socket (at most 107 bytes on Linux).
    Pipe(String),
    /// Host and port.
    Socket {
        /// IP address.
        host: String,
        /// TCP port.
        port: u16,
    },
}

/// Which statistics a proxy keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsScope {
    /// Six named series per cluster in use and a few hundred per proxy.
    #[default]
    Named,
    /// Everything that Envoy counts.
    All,
}

/// What differs between proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapOptions {
    /// `node.id`
    pub node_id: String,
    /// `node.cluster`
    pub node_cluster: String,
    /// `node.locality.zone`; empty when unknown.
    pub zone: String,
    /// Envoy's administration interface.
    pub admin: Address,
    /// The delta ADS server.
    pub xds: Address,
    /// Statistics.
    pub stats: StatsScope,
    /// Downstream connections that a proxy accepts at most.
    pub max_connections: u32,
    /// The longest wait between two attempts to reach the delta ADS server.
    pub max_back_off: Duration,
}

/// Knocking at a socket of the same host costs nothing, and who waits there is one proxy: a restarted server is found
/// within this time.
const LOCAL_BACK_OFF: Duration = Duration::from_millis(250);
/// A server elsewhere is shared by many proxies, which must not all come back at once.
const REMOTE_BACK_OFF: Duration = Duration::from_secs(2);
/// The first wait. Each is random, below a limit that doubles until it is the longest wait.
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);

impl BootstrapOptions {
    /// Options with the defaults of what is not identity or address.
    pub fn new(
        node_id: impl Into<String>,
        node_cluster: impl Into<String>,
        admin: Address,
        xds: Address,
    ) -> Self {
        let max_back_off = match xds {
            Address::Pipe(_) => LOCAL_BACK_OFF,
            Address::Socket { .. } => REMOTE_BACK_OFF,
        };
        Self {
            node_id: node_id.into(),
            node_cluster: node_cluster.into(),
            zone: String::new(),
            admin,
            xds,
            stats: StatsScope::default(),
            max_connections: 50_000,
            max_back_off,
        }
    }
}

const XDS_CLUSTER: &str = "gatehouse-xds";

/// The bootstrap as JSON text for `envoy --config-path`; equal options give equal text.
pub fn bootstrap(options: &BootstrapOptions) -> String {
    let source = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let config = json!({
        "node": {
            "id": options.node_id,
            "cluster": options.node_cluster,
            "locality": {"zone": options.zone},
        },
        "admin": {"address": admin_address(&options.admin)},
        "dynamic_resources": {
            "ads_config": ads_config(options.max_back_off),
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [xds_cluster(&options.xds)]},
        "deferred_stat_options": {"enable_deferred_creation_stats": true},
        "stats_config": stats_config(options.stats),
        "layered_runtime": {"layers": [{"name": "gatehouse", "static_layer": runtime()}]},
        "overload_manager": overload_manager(options.max_connections),
    });
    format!("{config:#}\n")
}

/// Envoy waits up to 30 s between attempts by default; a restarted server is to be found sooner.
fn ads_config(max_back_off: Duration) -> Value {
    let seconds = |time: Duration| format!("{}s", time.as_secs_f64());
    json!({
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": true,
        "grpc_services": [{"envoy_grpc": {
            "cluster_name": XDS_CLUSTER,
            "retry_policy": {"retry_back_off": {
                "base_interval": seconds(FIRST_BACK_OFF.min(max_back_off)),
                "max_interval": seconds(max_back_off),
            }},
        }}],
    })
}

fn xds_cluster(server: &Address) -> Value {
    json!({
        "name": XDS_CLUSTER,
        "type": match server {
            Address::Pipe(_) => "STATIC",
            Address::Socket { .. } => "STRICT_DNS",
        },
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {
                    "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                }},
            },
        },
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(server)}}]}],
        },
    })
}

/// RE2 programs above 100 instructions are refused by default, which a plain `[a-z]{50}` exceeds.
fn runtime() -> Value {
    json!({
        "re2.max_program_size.error_level": u32::MAX,
        "re2.max_program_size.warn_level": 1000,
    })
}

/// A limit must be set, or Envoy warns at start that there is none.
fn overload_manager(max_connections: u32) -> Value {
    json!({
        "refresh_interval": "0.25s",
        "resource_monitors": [{
            "name": "envoy.resource_monitors.global_downstream_max_connections",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                "max_active_downstream_connections": max_connections,
            },
        }],
    })
}

fn stats_config(scope: StatsScope) -> Value {
    let suffixes = [
        ".membership_healthy",
        ".outlier_detection.ejections_active",
        ".upstream_cx_active",
        ".upstream_rq_total",
    ];
    let prefixes =
        ["cluster_manager.", "control_plane.", "listener_manager.", "main_thread.", "overload.", "server."];
    let regexes = [
        r"cluster\.[^.]+\.upstream_rq_([1-5]xx|time)",
        r"http\.[^.]+\.(downstream_[a-z0-9_]+|no_cluster|no_route|rq_total)",
        r"listener\..*\.(downstream_[a-z0-9_]+|no_filter_chain_match|ssl\.(connection_error|fail_[a-z_]+|handshake))",
    ];
    let suffixes = suffixes.iter().map(|text| json!({"suffix": text}));
    let prefixes = prefixes.iter().map(|text| json!({"prefix": text}));
    let regexes = regexes.iter().map(|text| json!({"safe_regex": {"regex": text}}));
    let patterns: Vec<Value> = suffixes.chain(prefixes).chain(regexes).collect();
    match scope {
        StatsScope::All => json!({"use_all_default_tags": true}),
        StatsScope::Named => json!({
            "use_all_default_tags": true,
            "stats_matcher": {"inclusion_list": {"patterns": patterns}},
        }),
    }
}

fn address(address: &Address) -> Value {
    match address {
        Address::Pipe(path) => json!({"pipe": {"path": path}}),
        Address::Socket { host, port } => json!({"socket_address": {"address": host, "port_value": port}}),
    }
}

/// Only the user that runs Envoy may talk to its administration socket.
fn admin_address(admin: &Address) -> Value {
    match admin {
        Address::Pipe(path) => json!({"pipe": {"path": path, "mode": 0o600}}),
        Address::Socket { .. } => address(admin),
    }
}
