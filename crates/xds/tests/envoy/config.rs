//! The smallest resources that Envoy serves requests with.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, AggregatedConfigSource, ConfigSource, SocketAddress};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, Vhds, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use envoy_types::pb::google::protobuf::Any;
use gatehouse_model::{Edge, ResourceType};
use gatehouse_xds::{Commit, Resource};
use prost::Message;

fn ads() -> ConfigSource {
    let specifier = ConfigSourceSpecifier::Ads(AggregatedConfigSource {});
    ConfigSource {
        resource_api_version: 2,
        config_source_specifier: Some(specifier),
        ..ConfigSource::default()
    }
}

fn address(port: u16) -> Address {
    let port = Some(PortSpecifier::PortValue(u32::from(port)));
    let socket =
        SocketAddress { address: "127.0.0.1".into(), port_specifier: port, ..SocketAddress::default() };
    Address { address: Some(AddressKind::SocketAddress(socket)) }
}

fn any(url: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{url}"), value: message.encode_to_vec() }
}

fn resource(name: &str, message: &impl Message) -> Resource {
    let bytes = message.encode_to_vec();
    let version =
        bytes.iter().fold(0_u64, |hash, byte| hash.wrapping_mul(1099).wrapping_add(u64::from(*byte)));
    Resource::new(name, format!("{version:x}"), bytes)
}

fn seconds(time: Duration) -> envoy_types::pb::google::protobuf::Duration {
    let seconds = i64::try_from(time.as_secs()).expect("tests wait for seconds");
    envoy_types::pb::google::protobuf::Duration { seconds, nanos: 0 }
}

pub(crate) fn cluster(name: &str, timeout: Duration) -> (ResourceType, Resource) {
    let cluster = Cluster {
        name: name.into(),
        connect_timeout: Some(seconds(timeout)),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), service_name: String::new() }),
        ..Cluster::default()
    };
    (ResourceType::Cluster, resource(name, &cluster))
}

pub(crate) fn endpoints(name: &str, port: u16) -> (ResourceType, Resource) {
    let endpoint = Endpoint { address: Some(address(port)), ..Endpoint::default() };
    let host = HostIdentifier::Endpoint(endpoint);
    let endpoint = LbEndpoint { host_identifier: Some(host), ..LbEndpoint::default() };
    let locality = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    let assignment = ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![locality],
        ..ClusterLoadAssignment::default()
    };
    (ResourceType::Endpoint, resource(name, &assignment))
}

pub(crate) fn listener(name: &str, port: u16, table: &str) -> (ResourceType, Resource) {
    let router = any("envoy.extensions.filters.http.router.v3.Router", &Router::default());
    let router = HttpFilter {
        name: "router".into(),
        config_type: Some(http_filter::ConfigType::TypedConfig(router)),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "x".into(),
        http_filters: vec![router],
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: table.into(),
        })),
        ..HttpConnectionManager::default()
    };
    let url = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let filter =
        Filter { name: "hcm".into(), config_type: Some(ConfigType::TypedConfig(any(url, &manager))) };
    let chain = FilterChain { filters: vec![filter], ..FilterChain::default() };
    let listener = Listener {
        name: name.into(),
        address: Some(address(port)),
        filter_chains: vec![chain],
        ..Listener::default()
    };
    (ResourceType::Listener, resource(name, &listener))
}

pub(crate) fn table(name: &str) -> (ResourceType, Resource) {
    let vhds = Some(Vhds { config_source: Some(ads()) });
    let table = RouteConfiguration { name: name.into(), vhds, ..RouteConfiguration::default() };
    (ResourceType::RouteConfiguration, resource(name, &table))
}

/// A virtual host `<table>/<id>` for `<id>.example.com`, or for everything if the id is `default`.
pub(crate) fn host(table: &str, id: &str, cluster: &str, regex: Option<&str>) -> (ResourceType, Resource) {
    let path = match regex {
        Some(regex) => {
            PathSpecifier::SafeRegex(RegexMatcher { regex: regex.into(), ..RegexMatcher::default() })
        }
        None => PathSpecifier::Prefix("/".into()),
    };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.into())),
        ..RouteAction::default()
    };
    let route = Route {
        r#match: Some(RouteMatch { path_specifier: Some(path), ..RouteMatch::default() }),
        action: Some(Action::Route(action)),
        ..Route::default()
    };
    let name = format!("{table}/{id}");
    let domain = if id == "default" { "*".to_owned() } else { format!("{id}.example.com") };
    let host = VirtualHost {
        name: name.clone(),
        domains: vec![domain],
        routes: vec![route],
        ..VirtualHost::default()
    };
    (ResourceType::VirtualHost, resource(&name, &host))
}

/// A commit of resources, with an edge from each virtual host to its cluster.
pub(crate) fn commit(upserts: Vec<(ResourceType, Resource)>, edges: &[(&str, &str)]) -> Commit {
    let edges: BTreeMap<_, _> = edges.iter().copied().collect();
    let edges = edges.into_iter().map(|(host, cluster)| Edge {
        from: (ResourceType::VirtualHost, host.into()),
        cluster: cluster.into(),
        delta: 1,
        linger: Duration::from_secs(15),
    });
    Commit { upserts, edges: edges.collect(), ..Commit::default() }
}
