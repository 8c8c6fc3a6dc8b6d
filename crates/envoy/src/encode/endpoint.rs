//! Endpoints of clusters.

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{Address, HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3 as pb;
use gatehouse_model::backend::{Endpoint, EndpointAddress, Endpoints, Health};
use prost::Message;

use super::{pipe, socket, socket_address};

/// A `ClusterLoadAssignment`, one group per zone.
///
/// Localities carry no weight: clusters do not balance by locality, the zone only tells where an endpoint is.
pub fn endpoints(endpoints: &Endpoints) -> Bytes {
    let assignment = pb::ClusterLoadAssignment {
        cluster_name: endpoints.cluster.0.to_string(),
        endpoints: endpoints.localities.iter().map(|(zone, members)| locality(zone, members)).collect(),
        ..pb::ClusterLoadAssignment::default()
    };
    assignment.encode_to_vec().into()
}

fn locality(zone: &str, members: &[Endpoint]) -> pb::LocalityLbEndpoints {
    let locality = Locality { zone: zone.to_owned(), ..Locality::default() };
    pb::LocalityLbEndpoints {
        locality: (!zone.is_empty()).then_some(locality),
        lb_endpoints: members
            .iter()
            .map(|member| lb_endpoint(address(&member.address), member.health))
            .collect(),
        ..pb::LocalityLbEndpoints::default()
    }
}

pub(super) fn lb_endpoint(address: Address, health: Health) -> pb::LbEndpoint {
    let status = match health {
        Health::Healthy => HealthStatus::Healthy,
        Health::Draining => HealthStatus::Draining,
    };
    let endpoint = pb::Endpoint { address: Some(address), ..pb::Endpoint::default() };
    pb::LbEndpoint {
        health_status: status.into(),
        host_identifier: Some(pb::lb_endpoint::HostIdentifier::Endpoint(endpoint)),
        ..pb::LbEndpoint::default()
    }
}

fn address(address: &EndpointAddress) -> Address {
    match address {
        EndpointAddress::Socket(address) => socket(socket_address(&address.ip().to_string(), address.port())),
        EndpointAddress::Pipe(path) => pipe(path),
    }
}
