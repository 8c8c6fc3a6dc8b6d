//! Endpoints of a cluster: EndpointSlices of a Service, the addresses of a Backend, or the pods of an XBackend.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use gatehouse_api::types::{
    BackendEndpoint, EndpointAddressType, EndpointConditions, EndpointPort, EndpointSlice, Pod,
};
use gatehouse_engine::{Reads, SmallMap};
use gatehouse_model::backend::{BackendKind, Endpoint, EndpointAddress, Endpoints, Health};
use gatehouse_model::{ResourceType, Transport};

use super::{ClusterKey, Discovery, discovery, external_name, service_port, speaks, xbackend};
use crate::facts::Facts;
use crate::names;
use crate::output::Resource;

type Zones = BTreeMap<Arc<str>, Vec<Endpoint>>;

/// Where a cluster's endpoints come from, encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Assignment {
    /// The cluster says so itself: Envoy resolves names, or there are none.
    Inline,
    Listed(Arc<Resource>),
}

impl Assignment {
    pub(crate) fn listed(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Inline => None,
            Self::Listed(resource) => Some(resource),
        }
    }
}

/// Stage: a cluster's load assignment; there is always one, as long as the cluster is named.
pub(crate) fn endpoints(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> Option<Assignment> {
    if discovery(facts, reads, key) != Some(Discovery::Eds) {
        return Some(Assignment::Inline);
    }
    let mut zones = match key.kind {
        BackendKind::Service => of_service(facts, reads, key)?,
        BackendKind::Backend => of_backend(&facts.backends.get(reads, &key.object)?.spec.endpoints),
        BackendKind::XBackend => of_pods(facts, reads, key)?,
        BackendKind::Nowhere => Zones::new(),
    };
    for endpoints in zones.values_mut() {
        endpoints.sort();
        endpoints.dedup_by(|a, b| a.address == b.address);
    }
    Some(listed(key, zones))
}

/// Stage: the same for fleets that send requests to Services' own addresses; a Service without one has endpoints as ever.
pub(crate) fn service_address(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> Option<Assignment> {
    let service = match key.kind {
        BackendKind::Service => facts.services.get(reads, &key.object),
        BackendKind::Backend | BackendKind::XBackend | BackendKind::Nowhere => None,
    };
    let own = service.filter(|service| external_name(service).is_none());
    let ip = own.and_then(|service| service.spec.cluster_ip.as_deref()?.parse::<IpAddr>().ok());
    let Some(ip) = ip else { return endpoints(facts, reads, key) };
    let address = EndpointAddress::Socket(SocketAddr::new(ip, key.port));
    Some(listed(key, [("".into(), vec![Endpoint { address, health: Health::Healthy }])].into()))
}

fn listed(key: &ClusterKey, zones: Zones) -> Assignment {
    let cluster = names::cluster(key);
    let endpoints = Endpoints { cluster: cluster.clone(), localities: zones.into_iter().collect() };
    let body = gatehouse_envoy::encode::endpoints(&endpoints);
    Assignment::Listed(Arc::new(Resource::new(ResourceType::Endpoint, cluster.0, body)))
}

fn of_service(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> Option<Zones> {
    let service = facts.services.get(reads, &key.object)?;
    let transport = key.transport();
    let port = service_port(service, key.port, transport);
    let port = (port.and_then(|p| p.name.as_deref()).unwrap_or_default(), transport);
    let slices = facts.slices_of.get(reads, &key.object);
    Some(best(|zones, health| {
        for slice in slices.into_iter().flat_map(SmallMap::values) {
            add_slice(zones, slice, port, health);
        }
    }))
}

/// What an endpoint's conditions make of it.
type Judge = fn(EndpointConditions) -> Option<Health>;

/// Those that are ready, or whoever there is.
fn best(collect: impl Fn(&mut Zones, Judge)) -> Zones {
    let with = |health: Judge| {
        let mut zones = Zones::new();
        collect(&mut zones, health);
        zones
    };
    let usable = with(health);
    if usable.is_empty() { with(stand_in) } else { usable }
}

/// The pods that an XBackend selects, as the endpoints of a Service with that selector would be.
fn of_pods(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> Option<Zones> {
    let backend = facts.xbackends.get(reads, &key.object)?;
    let selection = xbackend::selection(&key.object.namespace, backend)?;
    // After an edit the old pods serve until the new ones are known.
    facts.selections.want(reads, &selection);
    let (label, value) = selection.labels.first_key_value()?;
    let place = (selection.namespace.clone(), label.as_str().into(), value.as_str().into());
    let pods = facts.pods_labelled.get(reads, &place);
    let selected = pods.into_iter().flat_map(SmallMap::values);
    let selected: Vec<_> = selected.filter(|pod| selection.selects(&pod.metadata.labels)).collect();
    Some(best(|zones, health| {
        for pod in &selected {
            add_pod(zones, pod, key.port, health);
        }
    }))
}

fn add_pod(zones: &mut Zones, pod: &Pod, port: u16, health: Judge) {
    let ended = matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let ip = pod.status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok());
    let Some(ip) = ip.filter(|_| !ended) else { return };
    let (serving, terminating) = (pod.is_ready(), pod.metadata.deletion_timestamp.is_some());
    let conditions = EndpointConditions {
        ready: Some(serving && !terminating),
        serving: Some(serving),
        terminating: Some(terminating),
    };
    let Some(health) = health(conditions) else { return };
    let zone = pod.metadata.labels.get("topology.kubernetes.io/zone").map(String::as_str);
    let address = EndpointAddress::Socket(SocketAddr::new(ip, port));
    zones.entry(zone.unwrap_or_default().into()).or_default().push(Endpoint { address, health });
}

fn add_slice(zones: &mut Zones, slice: &EndpointSlice, named: (&str, Transport), health: Judge) {
    if !matches!(slice.address_type, EndpointAddressType::IPv4 | EndpointAddressType::IPv6) {
        return;
    }
    let Some(port) = slice.ports.iter().find(|p| serves(p, named)).and_then(|p| p.port) else { return };
    for endpoint in &slice.endpoints {
        let Some(health) = health(endpoint.conditions) else { continue };
        let zone: Arc<str> = endpoint.zone.as_deref().unwrap_or_default().into();
        // Only the first address counts: the others are not alternatives (EndpointSlice API).
        let ip = endpoint.addresses.first().and_then(|address| address.parse::<IpAddr>().ok());
        let address = ip.map(|ip| EndpointAddress::Socket(SocketAddr::new(ip, port)));
        zones.entry(zone).or_default().extend(address.map(|address| Endpoint { address, health }));
    }
}

fn serves(port: &EndpointPort, (name, transport): (&str, Transport)) -> bool {
    port.name.as_deref().unwrap_or_default() == name && speaks(port.protocol.as_ref(), transport)
}

/// Ready = healthy; serving while terminating = draining; anything else gets nothing. Absent `ready` means ready.
fn health(conditions: EndpointConditions) -> Option<Health> {
    if conditions.ready.unwrap_or(true) {
        return Some(Health::Healthy);
    }
    let draining = conditions.serving.unwrap_or(false) && conditions.terminating.unwrap_or(false);
    draining.then_some(Health::Draining)
}

/// Where nobody is ready, whoever is not on its way out gets the requests: a node that was not heard of for a while (an
/// API server that was away is enough) makes all its pods unready, and they answer as before. Those that cannot answer
/// cost a request nothing that an empty list would not.
fn stand_in(conditions: EndpointConditions) -> Option<Health> {
    (!conditions.terminating.unwrap_or(false)).then_some(Health::Healthy)
}

fn of_backend(endpoints: &[BackendEndpoint]) -> Zones {
    let mut zones = Zones::new();
    for endpoint in endpoints {
        let address = match (&endpoint.ip, &endpoint.unix) {
            (Some(ip), _) => {
                let Ok(parsed) = ip.address.parse::<IpAddr>() else { continue };
                EndpointAddress::Socket(SocketAddr::new(parsed, ip.port))
            }
            (None, Some(socket)) => EndpointAddress::Pipe(socket.path.as_str().into()),
            (None, None) => continue,
        };
        let zone: Arc<str> = endpoint.zone.as_deref().unwrap_or_default().into();
        zones.entry(zone).or_default().push(Endpoint { address, health: Health::Healthy });
    }
    zones
}
