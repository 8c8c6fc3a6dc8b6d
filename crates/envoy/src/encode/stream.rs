//! Connections and datagrams that are forwarded as they are.

use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::{
    TcpProxy,
    tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight},
};
use envoy_types::pb::envoy::extensions::filters::udp::udp_proxy::v3::{
    Route, UdpProxyConfig, udp_proxy_config::RouteSpecifier,
};
use gatehouse_model::backend::ClusterName;
use gatehouse_model::l4::Forward;
use gatehouse_model::listener::EnvoyListener;

use super::{access_log, matcher, u32_value};

/// An endpoint that just went away costs another attempt, not the connection.
const CONNECT_ATTEMPTS: u32 = 3;

/// What forwards connections; `None` where all are rejected.
pub(super) fn tcp_proxy(listener: &EnvoyListener, forward: &Forward) -> Option<TcpProxy> {
    if forward.rejects_all() {
        return None;
    }
    let name = |cluster: &Option<ClusterName>| match cluster {
        Some(cluster) => cluster.to_string(),
        None => ClusterName::nowhere().to_string(),
    };
    let specifier = match &forward.shares[..] {
        [only] => ClusterSpecifier::Cluster(name(&only.cluster)),
        shares => {
            let clusters = shares.iter().map(|share| ClusterWeight {
                name: name(&share.cluster),
                weight: share.weight,
                ..ClusterWeight::default()
            });
            ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: clusters.collect() })
        }
    };
    Some(TcpProxy {
        stat_prefix: format!("{}-{}", if listener.tls { "tls" } else { "tcp" }, listener.port),
        cluster_specifier: Some(specifier),
        max_connect_attempts: Some(u32_value(CONNECT_ATTEMPTS)),
        access_log: access_log::of_requests(&listener.settings.access_logs),
        ..TcpProxy::default()
    })
}

/// What forwards datagrams: each client's port is hashed to a number below the sum of the weights, of which every share
/// has a range. Envoy drops datagrams that nothing matches: those of the shares without a backend.
pub(super) fn udp_proxy(listener: &EnvoyListener, forward: &Forward) -> UdpProxyConfig {
    let mut ranges = Vec::new();
    let mut total = 0;
    for share in &forward.shares {
        let start = total;
        total += share.weight;
        let route = share.cluster.as_ref().map(|cluster| Route { cluster: cluster.to_string() });
        ranges.extend(route.map(|route| (start..total, route)));
    }
    UdpProxyConfig {
        stat_prefix: format!("udp-{}", listener.port),
        access_log: access_log::of_requests(&listener.settings.access_logs),
        route_specifier: Some(RouteSpecifier::Matcher(matcher::by_source_port(total, ranges))),
        ..UdpProxyConfig::default()
    }
}
