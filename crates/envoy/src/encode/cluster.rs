//! Clusters.

mod tls;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::cluster::v3 as pb;
use envoy_types::pb::envoy::config::cluster::v3::cluster::ClusterDiscoveryType;
use envoy_types::pb::envoy::config::core::v3::{
    HealthStatus, HealthStatusSet, Http1ProtocolOptions, Http2ProtocolOptions,
};
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, LocalityLbEndpoints};
use envoy_types::pb::envoy::extensions::clusters::common::dns::v3::DnsLookupFamily;
use envoy_types::pb::envoy::extensions::clusters::dns::v3::DnsCluster;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions,
    http_protocol_options::{
        ExplicitHttpConfig, UpstreamProtocolOptions, explicit_http_config::ProtocolConfig,
    },
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use gatehouse_model::backend::{BackendKind, Cluster, Discovery, Health, Protocol, RetryBudget};
use prost::Message;

use super::endpoint::lb_endpoint;
use super::{ads, any, duration, extension, socket, socket_address, u32_value};
use crate::wire;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_BUFFER_BYTES: u32 = 32 * 1024;
const DNS_REFRESH: Duration = Duration::from_secs(30);
/// Field number of `Cluster.metadata`.
const CLUSTER_METADATA: u32 = 25;

/// A `Cluster`: endpoints by EDS over ADS under the cluster's own name, or hostnames that Envoy resolves.
pub fn cluster(cluster: &Cluster) -> Bytes {
    // One entry only: a hash map with two would be written in an order of its own.
    let options = |options| {
        (
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(),
            any::<HttpProtocolOptions>(&options),
        )
    };
    let message = pb::Cluster {
        name: cluster.name.0.to_string(),
        alt_stat_name: stat_name(&cluster.name.0),
        connect_timeout: Some(duration(CONNECT_TIMEOUT)),
        per_connection_buffer_limit_bytes: Some(u32_value(CONNECTION_BUFFER_BYTES)),
        circuit_breakers: Some(limits(cluster.retries)),
        typed_extension_protocol_options: HashMap::from_iter(protocol_options(cluster.protocol).map(options)),
        load_balancing_policy: Some(least_request()),
        common_lb_config: Some(common_lb_config()),
        transport_socket: tls::transport_socket(cluster),
        // EDS is the truth about membership: what it drops is gone, whatever a health check still says.
        ignore_health_on_host_removal: true,
        ..discovered(cluster)
    };
    let mut bytes = message.encode_to_vec();
    let metadata = metadata(cluster);
    if !metadata.is_empty() {
        wire::put_bytes(&mut bytes, CLUSTER_METADATA, &metadata);
    }
    bytes.into()
}

/// In statistics a dot separates levels: the bootstrap tells `cluster.<name>.x` from `cluster.<name>.zone.x` by
/// them. Empty means the name itself.
fn stat_name(name: &str) -> String {
    if name.contains('.') { name.replace('.', "_") } else { String::new() }
}

fn metadata(cluster: &Cluster) -> Vec<u8> {
    let kind = match cluster.kind {
        BackendKind::Service => "Service",
        BackendKind::Backend => "Backend",
        BackendKind::XBackend => "XBackend",
        BackendKind::Nowhere => return Vec::new(),
    };
    let port = cluster.port.to_string();
    let mut pairs = vec![("kind", kind), ("name", &*cluster.object), ("namespace", &*cluster.namespace)];
    if cluster.port != 0 {
        pairs.push(("port", &port));
    }
    wire::metadata(&pairs)
}

/// A cluster with nothing but the source of its endpoints.
fn discovered(cluster: &Cluster) -> pb::Cluster {
    match &cluster.discovery {
        Discovery::Eds => pb::Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(pb::cluster::DiscoveryType::Eds.into())),
            eds_cluster_config: Some(pb::cluster::EdsClusterConfig {
                eds_config: Some(ads()),
                service_name: cluster.name.0.to_string(),
            }),
            ..pb::Cluster::default()
        },
        Discovery::Nowhere => pb::Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(
                pb::cluster::DiscoveryType::Static.into(),
            )),
            load_assignment: Some(resolved(&cluster.name.0, &[])),
            ..pb::Cluster::default()
        },
        Discovery::Dns(hosts) => pb::Cluster {
            cluster_discovery_type: Some(ClusterDiscoveryType::ClusterType(pb::cluster::CustomClusterType {
                name: "envoy.cluster.dns".to_owned(),
                typed_config: Some(any(&strict_dns())),
            })),
            load_assignment: Some(resolved(&cluster.name.0, hosts)),
            ..pb::Cluster::default()
        },
    }
}

/// Every address of every name is an endpoint, as with the older `STRICT_DNS` type.
fn strict_dns() -> DnsCluster {
    DnsCluster {
        dns_refresh_rate: Some(duration(DNS_REFRESH)),
        respect_dns_ttl: true,
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        ..DnsCluster::default()
    }
}

fn resolved(name: &str, hosts: &[(Arc<str>, u16)]) -> ClusterLoadAssignment {
    let members = hosts
        .iter()
        .map(|(host, port)| lb_endpoint(socket(socket_address(host, *port)), Health::Healthy))
        .collect();
    ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![LocalityLbEndpoints { lb_endpoints: members, ..LocalityLbEndpoints::default() }],
        ..ClusterLoadAssignment::default()
    }
}

/// `None` for what is not HTTP.
fn protocol_options(protocol: Protocol) -> Option<HttpProtocolOptions> {
    let config = match protocol {
        Protocol::Tcp | Protocol::Udp => return None,
        Protocol::Http1 => ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default()),
        Protocol::H2c => ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default()),
    };
    Some(HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(config),
        })),
        ..HttpProtocolOptions::default()
    })
}

/// Envoy's defaults (1,024 connections, pending and active requests, 3 retries) fail healthy traffic. Limits
/// are a policy: none is set until a user sets one. With a budget the number of retries is not looked at.
fn limits(retries: Option<RetryBudget>) -> pb::CircuitBreakers {
    let budget = retries.map(|budget| pb::circuit_breakers::thresholds::RetryBudget {
        budget_percent: Some(Percent { value: budget.percent.into() }),
        min_retry_concurrency: Some(u32_value(budget.min_concurrency)),
        ..pb::circuit_breakers::thresholds::RetryBudget::default()
    });
    let thresholds = |priority| pb::circuit_breakers::Thresholds {
        priority,
        max_connections: Some(u32_value(u32::MAX)),
        max_pending_requests: Some(u32_value(u32::MAX)),
        max_requests: Some(u32_value(u32::MAX)),
        max_retries: Some(u32_value(u32::MAX)),
        retry_budget: budget,
        ..pb::circuit_breakers::Thresholds::default()
    };
    pb::CircuitBreakers { thresholds: vec![thresholds(0)], ..pb::CircuitBreakers::default() }
}

fn least_request() -> pb::LoadBalancingPolicy {
    let policy = pb::load_balancing_policy::Policy {
        typed_extension_config: Some(extension(
            "envoy.load_balancing_policies.least_request",
            &LeastRequest::default(),
        )),
    };
    pb::LoadBalancingPolicy { policies: vec![policy] }
}

/// Draining endpoints get no new requests while a ready one exists (Envoy's default panic threshold of 50 %
/// would send them some during every roll-out), serve when none does, and keep their sticky sessions.
fn common_lb_config() -> pb::cluster::CommonLbConfig {
    let statuses =
        [HealthStatus::Unknown, HealthStatus::Healthy, HealthStatus::Degraded, HealthStatus::Draining];
    pb::cluster::CommonLbConfig {
        healthy_panic_threshold: Some(Percent { value: 1.0 }),
        override_host_status: Some(HealthStatusSet { statuses: statuses.map(i32::from).to_vec() }),
        ..pb::cluster::CommonLbConfig::default()
    }
}
