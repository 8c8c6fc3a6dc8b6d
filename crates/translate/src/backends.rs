//! Backends: references to clusters, clusters and endpoints to bytes.

mod endpoints;
mod reach;
mod xbackend;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_api::types::{Backend, BackendObjectReference, Service, ServicePort, TransportProtocol};
use gatehouse_engine::{Reads, Stage};
use gatehouse_model::backend::{BackendKind, BackendTls, Cluster, Discovery, Protocol};
use gatehouse_model::listener::SecretName;
use gatehouse_model::{NamespacedName, ResourceType, RouteKey, RouteKind, Transport};
use serde::Serialize;

pub(crate) use endpoints::{Assignment, endpoints, service_address};
pub(crate) use xbackend::unheeded;

use crate::certificates::KeyPair;
use crate::config::Config;
use crate::facts::Facts;
use crate::gateways::Problem;
use crate::grants::{EXPERIMENTAL_GROUP, GATEWAY_GROUP, GroupKind, permitted, permitted_now};
use crate::names;
use crate::output::{Resource, SecretKey};
use crate::policies::{Outcome, Target, TargetKind, backend_tls, backend_traffic};

/// The group of Envoy Gateway's kinds.
pub(crate) const ENVOY_GATEWAY_GROUP: &str = "gateway.envoyproxy.io";

/// Identity of a cluster: a backend, its port, the protocol spoken to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct ClusterKey {
    pub(crate) kind: BackendKind,
    pub(crate) object: NamespacedName,
    /// Port of the Service or XBackend; zero for a Backend.
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    /// TLS over that.
    pub(crate) tls: Option<Arc<BackendTls>>,
}

impl ClusterKey {
    /// The cluster without endpoints.
    pub(crate) fn nowhere() -> Self {
        let object = NamespacedName::new("", "");
        Self { kind: BackendKind::Nowhere, object, port: 0, protocol: Protocol::Tcp, tls: None }
    }

    /// The Secret with the certificate that the backend itself has shown to it.
    pub(crate) fn shows(&self) -> Option<&NamespacedName> {
        self.tls.as_ref()?.shows.as_ref()
    }

    fn transport(&self) -> Transport {
        if self.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp }
    }
}

/// What routes of a kind speak to their backends.
pub(crate) fn transport_to(kind: RouteKind) -> Transport {
    if kind == RouteKind::Udp { Transport::Udp } else { Transport::Tcp }
}

/// As users know it.
impl fmt::Display for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            BackendKind::Service => write!(f, "Service {} port {}", self.object, self.port),
            BackendKind::Backend => write!(f, "Backend {}", self.object),
            BackendKind::XBackend => write!(f, "XBackend {}", self.object),
            BackendKind::Nowhere => f.write_str("the cluster without endpoints"),
        }
    }
}

/// What policies call a backend; `None` for what is none.
fn target_kind(kind: BackendKind) -> Option<TargetKind> {
    match kind {
        BackendKind::Service => Some(TargetKind::Service),
        BackendKind::Backend => Some(TargetKind::Backend),
        BackendKind::XBackend => Some(TargetKind::XBackend),
        BackendKind::Nowhere => None,
    }
}

/// Group and kind of a backend as references name them.
fn group_kind(kind: BackendKind) -> Option<GroupKind<'static>> {
    match kind {
        BackendKind::Service => Some(GroupKind { group: "", kind: "Service" }),
        BackendKind::Backend => Some(GroupKind { group: ENVOY_GATEWAY_GROUP, kind: "Backend" }),
        BackendKind::XBackend => Some(GroupKind { group: EXPERIMENTAL_GROUP, kind: "XBackend" }),
        BackendKind::Nowhere => None,
    }
}

/// The kind of backend that a reference names.
fn kind_of(reference: &BackendObjectReference) -> Option<BackendKind> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let kinds = [BackendKind::Service, BackendKind::Backend, BackendKind::XBackend];
    kinds.into_iter().find(|k| group_kind(*k).is_some_and(|named| named.group == group && named.kind == kind))
}

/// What policies call the backend that a reference in a namespace names.
pub(crate) fn target(namespace: &str, reference: &BackendObjectReference) -> Option<Target> {
    let namespace = reference.namespace.as_deref().unwrap_or(namespace);
    let object = NamespacedName::new(namespace, reference.name.as_str());
    Some(Target { kind: target_kind(kind_of(reference)?)?, object })
}

/// Whether the target of a policy is there; what is no backend is not.
pub(crate) fn exists(facts: &Facts, reads: &mut Reads, target: &Target) -> bool {
    match target.kind {
        TargetKind::Service => facts.services.get(reads, &target.object).is_some(),
        TargetKind::Backend => facts.backends.get(reads, &target.object).is_some(),
        TargetKind::XBackend => facts.xbackends.get(reads, &target.object).is_some(),
        TargetKind::Gateway | TargetKind::ListenerSet => false,
    }
}

/// What a backend that is an object of its own is told; `None` for the others, which have no status for each Gateway.
pub(crate) fn told(world: (&Facts, &Config), reads: &mut Reads, target: &Target) -> Option<Arc<Outcome>> {
    if target.kind == TargetKind::XBackend { xbackend::told(world, reads, &target.object) } else { None }
}

/// Who refers to a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    pub(crate) namespace: &'a str,
    /// Its kind, as grants name it.
    pub(crate) grantee: GroupKind<'static>,
    /// Kind of the route, or of routes that speak to backends as it does.
    pub(crate) kind: RouteKind,
    /// Whether BackendTLSPolicies count.
    pub(crate) protects: bool,
}

/// Resolves a backend reference to a cluster.
pub(crate) fn resolve(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    from: Referrer<'_>,
    reference: &BackendObjectReference,
) -> Result<ClusterKey, Problem> {
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let Some(backend_kind) = kind_of(reference) else {
        let message =
            format!("backendRef {}: kind {kind} of group {group:?} is not supported", reference.name);
        return Err(Problem::new("InvalidKind", message));
    };
    let namespace = reference.namespace.as_deref().unwrap_or(from.namespace);
    let object = NamespacedName::new(namespace, reference.name.as_str());
    if !permitted(facts, reads, from.namespace, from.grantee, GroupKind { group, kind }, &object) {
        let message = format!(
            "backendRef {kind} {object}: no ReferenceGrant in namespace {} allows it to {} of namespace {}",
            object.namespace,
            plural(from.grantee.kind),
            from.namespace
        );
        return Err(Problem::new("RefNotPermitted", message));
    }
    match backend_kind {
        BackendKind::Service => service((facts, config), reads, from, object, reference.port),
        BackendKind::XBackend => xbackend::resolve((facts, config), reads, from, object, reference.port),
        BackendKind::Backend | BackendKind::Nowhere => {
            backend((facts, config), reads, from, object, reference.port)
        }
    }
}

fn plural(kind: &str) -> String {
    kind.strip_suffix("cy").map_or_else(|| format!("{kind}s"), |stem| format!("{stem}cies"))
}

/// Whether a route may (still) refer to the backend of a cluster.
pub(crate) fn may_use(facts: &Facts, route: &RouteKey, cluster: &str) -> bool {
    may_name(facts, &route.object.namespace, route.kind.as_str(), cluster)
}

/// Whether objects of a kind and namespace may (still) refer to the backend of a cluster.
pub(crate) fn may_name(facts: &Facts, namespace: &str, from: &str, cluster: &str) -> bool {
    let Some((kind, object)) = names::backend(cluster) else { return false };
    let Some(to) = group_kind(kind) else { return true };
    let from = GroupKind { group: GATEWAY_GROUP, kind: from };
    permitted_now(facts, namespace, from, to, &object)
}

fn service(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    from: Referrer<'_>,
    object: NamespacedName,
    port: Option<u16>,
) -> Result<ClusterKey, Problem> {
    let not_found = |message: String| Problem::new("BackendNotFound", message);
    let Some(service) = facts.services.get(reads, &object) else {
        return Err(not_found(format!("Service {object} does not exist")));
    };
    let Some(port) = port else {
        return Err(not_found(format!("backendRef Service {object} names no port")));
    };
    if let Some(name) = external_name(service) {
        if !is_host(name) {
            return Err(not_found(format!("Service {object} has an externalName that is no host")));
        }
        if let Some(why) = reach::external_name_problem(config, name) {
            return Err(Problem::new("UnsupportedValue", format!("Service {object}: {why}")));
        }
    }
    let route = from.kind;
    let transport = transport_to(route);
    let Some(found) = service_port(service, port, transport) else {
        let wanted = transport.as_str().to_uppercase();
        return Err(not_found(format!("Service {object} has no {wanted} port {port}")));
    };
    let tls = if from.protects {
        let target = Target { kind: TargetKind::Service, object: object.clone() };
        backend_tls::of_port(facts, reads, &target, found.name.as_deref())?
    } else {
        None
    };
    let protocol = protocol(route, tls.is_some(), found.app_protocol.as_deref().into_iter())
        .map_err(|name| wrong_protocol(route, &format!("Service {object} port {port}"), name))?;
    Ok(ClusterKey { kind: BackendKind::Service, object, port, protocol, tls })
}

/// A number may be used by a port of each protocol.
fn service_port(service: &Service, port: u16, transport: Transport) -> Option<&ServicePort> {
    service.spec.ports.iter().find(|p| p.port == port && speaks(p.protocol.as_ref(), transport))
}

/// Whether a port is one of this protocol: TCP if it does not say.
fn speaks(protocol: Option<&TransportProtocol>, transport: Transport) -> bool {
    let wanted = match transport {
        Transport::Tcp => &TransportProtocol::Tcp,
        Transport::Udp => &TransportProtocol::Udp,
    };
    protocol.unwrap_or(&TransportProtocol::Tcp) == wanted
}

fn backend(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    from: Referrer<'_>,
    object: NamespacedName,
    port: Option<u16>,
) -> Result<ClusterKey, Problem> {
    let route = from.kind;
    let Some(backend) = facts.backends.get(reads, &object) else {
        return Err(Problem::new("BackendNotFound", format!("Backend {object} does not exist")));
    };
    if let Some(problem) = backend_problem(config, backend) {
        return Err(Problem::new(problem.reason, format!("Backend {object}: {}", problem.message)));
    }
    if transport_to(route) == Transport::Udp && backend.spec.endpoints.iter().any(|e| e.unix.is_some()) {
        let message = format!("Backend {object}: datagrams cannot be sent to a Unix socket");
        return Err(Problem::new("UnsupportedValue", message));
    }
    let tls = if from.protects {
        let target = Target { kind: TargetKind::Backend, object: object.clone() };
        backend_tls::of_port(facts, reads, &target, port.map(|port| port.to_string()).as_deref())?
    } else {
        None
    };
    let protocol = protocol(route, tls.is_some(), backend.spec.app_protocols.iter().map(String::as_str))
        .map_err(|name| wrong_protocol(route, &format!("Backend {object}"), name))?;
    Ok(ClusterKey { kind: BackendKind::Backend, object, port: 0, protocol, tls })
}

/// Why a Backend cannot be used. `Backend` has its own Accepted condition with the same words.
pub(crate) fn backend_problem(config: &Config, backend: &Backend) -> Option<Problem> {
    let spec = &backend.spec;
    let invalid = |message: String| Some(Problem::new("UnsupportedValue", message));
    if spec.backend_type.as_ref().is_some_and(|t| t.as_str() != "Endpoints") {
        return invalid("only type Endpoints is supported".to_owned());
    }
    if spec.tls.is_some() {
        return invalid("spec.tls is not supported".to_owned());
    }
    if spec.fallback == Some(true) {
        return invalid("spec.fallback is not supported".to_owned());
    }
    if let Err(name) = protocol(RouteKind::Http, false, spec.app_protocols.iter().map(String::as_str)) {
        return invalid(format!("appProtocol {name} is not supported"));
    }
    let names = spec.endpoints.iter().filter(|e| e.fqdn.is_some()).count();
    if names > 0 && names < spec.endpoints.len() {
        return invalid("fqdn endpoints cannot be mixed with ip or unix endpoints".to_owned());
    }
    let bad_name =
        spec.endpoints.iter().filter_map(|e| e.fqdn.as_ref()).find(|fqdn| !is_host(&fqdn.hostname));
    if let Some(fqdn) = bad_name {
        return invalid(format!("{:?} is not a hostname", fqdn.hostname));
    }
    let bad_ip =
        spec.endpoints.iter().filter_map(|e| e.ip.as_ref()).find(|ip| ip.address.parse::<IpAddr>().is_err());
    if let Some(ip) = bad_ip {
        return invalid(format!("{:?} is not an IP address", ip.address));
    }
    spec.endpoints.iter().find_map(|endpoint| reach::endpoint_problem(config, endpoint)).and_then(invalid)
}

fn wrong_protocol(route: RouteKind, backend: &str, name: &str) -> Problem {
    let message = format!("{backend}: appProtocol {name} is not supported for a {route}");
    Problem::new("UnsupportedProtocol", message)
}

/// The protocol that `appProtocol`s ask for (GEP-1911), or that the kind of route implies; the error is the one that is
/// not supported. Routes that do not look into connections speak nothing of their own.
fn protocol<'a>(
    route: RouteKind,
    tls: bool,
    names: impl Iterator<Item = &'a str>,
) -> Result<Protocol, &'a str> {
    let mut protocol = match route {
        RouteKind::Udp => return Ok(Protocol::Udp),
        RouteKind::Tcp | RouteKind::Tls => return Ok(Protocol::Tcp),
        RouteKind::Http => Protocol::Http1,
        RouteKind::Grpc => Protocol::H2c,
    };
    let grpc = route == RouteKind::Grpc;
    for name in names {
        match name {
            "kubernetes.io/ws"
            | "gateway.envoyproxy.io/ws"
            | "kubernetes.io/wss"
            | "gateway.envoyproxy.io/wss"
                if grpc =>
            {
                return Err(name);
            }
            "kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c" => protocol = Protocol::H2c,
            "kubernetes.io/wss" | "gateway.envoyproxy.io/wss" | "https" | "tls" if !tls => return Err(name),
            // `kubernetes.io/ws`, `http` and names that we do not know say nothing against HTTP/1.1, which also carries
            // WebSockets, nor the last two against HTTP/2 where calls need it.
            _ => {}
        }
    }
    Ok(protocol)
}

/// The name that a Service of type ExternalName stands for; empty when it has none.
fn external_name(service: &Service) -> Option<&str> {
    let external = service.spec.service_type.as_deref() == Some("ExternalName");
    external.then(|| service.spec.external_name.as_deref().unwrap_or_default())
}

/// Whether a name server could be asked for it.
pub(crate) fn is_host(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 253 && name.chars().all(plain)
}

/// What a proxy waits for that has not made a cluster ready.
pub(crate) fn awaited(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> String {
    match discovery(facts, reads, key) {
        Some(Discovery::Dns(names)) => {
            let names: Vec<_> = names.iter().map(|(name, _)| &**name).collect();
            format!("for a name server to answer for {}", names.join(", "))
        }
        Some(Discovery::Eds | Discovery::Nowhere) | None => "for its endpoints".to_owned(),
    }
}

/// Where a cluster's endpoints come from.
fn discovery(facts: &Facts, reads: &mut Reads, key: &ClusterKey) -> Option<Discovery> {
    match key.kind {
        BackendKind::Nowhere => Some(Discovery::Nowhere),
        BackendKind::Service => {
            let service = facts.services.get(reads, &key.object)?;
            Some(match external_name(service) {
                Some(name) if is_host(name) => Discovery::Dns(vec![(name.into(), key.port)]),
                _ => Discovery::Eds,
            })
        }
        BackendKind::Backend => {
            let backend = facts.backends.get(reads, &key.object)?;
            let names: Vec<_> = backend
                .spec
                .endpoints
                .iter()
                .filter_map(|e| e.fqdn.as_ref())
                .map(|fqdn| (Arc::from(fqdn.hostname.as_str()), fqdn.port))
                .collect();
            Some(if names.is_empty() { Discovery::Eds } else { Discovery::Dns(names) })
        }
        BackendKind::XBackend => Some(xbackend::discovery(facts.xbackends.get(reads, &key.object)?)),
    }
}

/// Stage: a cluster's bytes. While somebody names it there is one, without endpoints when its backend is gone.
pub(crate) fn cluster(sources: (&Facts, &Config), reads: &mut Reads, key: &ClusterKey) -> Arc<Resource> {
    encode(sources, reads, key, None)
}

/// Stage: the same for fleets that show the certificate in this Secret.
pub(crate) fn cluster_with_certificate(
    sources: (&Facts, &Config),
    pairs: &Stage<NamespacedName, KeyPair>,
    reads: &mut Reads,
    (key, secret): &(ClusterKey, NamespacedName),
) -> Arc<Resource> {
    // While a Gateway waits for a Secret that is not known, its last one stands here, and may be gone.
    let usable = matches!(pairs.get(reads, secret), Some(KeyPair::Usable(..)));
    let secret = usable.then(|| names::secret(&SecretKey::Pair(secret.clone())));
    encode(sources, reads, key, secret)
}

fn encode(
    (facts, config): (&Facts, &Config),
    reads: &mut Reads,
    key: &ClusterKey,
    certificate: Option<SecretName>,
) -> Arc<Resource> {
    let name = names::cluster(key);
    // A route that waits for something unknown keeps its last form, which may name a backend that is gone.
    let discovery = discovery(facts, reads, key).unwrap_or(Discovery::Nowhere);
    let discovery =
        if key.kind == BackendKind::XBackend { xbackend::absolute(config, discovery) } else { discovery };
    let retries = target_kind(key.kind)
        .map(|kind| Target { kind, object: key.object.clone() })
        .and_then(|target| backend_traffic::retry_budget(facts, reads, &target));
    let own = key.shows().map(|secret| names::secret(&SecretKey::Pair(secret.clone())));
    let cluster = Cluster {
        kind: key.kind,
        namespace: key.object.namespace.clone(),
        object: key.object.name.clone(),
        port: key.port,
        protocol: key.protocol,
        tls: key.tls.clone(),
        certificate: own.or(certificate),
        discovery,
        retries,
        name: name.clone(),
    };
    Arc::new(Resource::new(ResourceType::Cluster, name.0, gatehouse_envoy::encode::cluster(&cluster)))
}
