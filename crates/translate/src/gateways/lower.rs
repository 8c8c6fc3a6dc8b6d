//! Listeners and addresses as the user wrote them, to views.

use std::net::IpAddr;
use std::sync::Arc;

use gatehouse_api::types::{
    AddressType, AllowedRoutes, Gateway, GatewayAddress, Listener, ListenerSet, Protocol, RouteGroupKind,
    SecretObjectReference, TLSMode,
};
use gatehouse_model::{AddressSet, Hostname, ListenerKey, ListenerOwner, NamespacedName, RouteKind};

use super::{Check, ListenerView, Problem, Speaks};
use crate::attach::NamespacePolicy;
use crate::authorities;
use crate::config::Hosting;
use crate::grants::GATEWAY_GROUP;
use crate::names;
use crate::output::{FleetAddress, Routability};

/// Addresses that a Gateway asks for. One without a value is left to us.
pub(super) fn addresses(gateway: &Gateway, hosting: &Hosting) -> (AddressSet, Option<Problem>) {
    let mut set = Vec::new();
    for address in &gateway.spec.addresses {
        let kind = address.address_type.as_ref().unwrap_or(&AddressType::IpAddress);
        let value = address.value.as_deref().unwrap_or_default();
        if *kind != AddressType::IpAddress {
            let message = format!("spec.addresses: type {kind} is not supported, use IPAddress");
            return (AddressSet::default(), Some(Problem::new("UnsupportedAddress", message)));
        }
        if let Err(why) = routability(address, hosting) {
            let message = format!("spec.addresses: {why}");
            return (AddressSet::default(), Some(Problem::new("UnsupportedAddress", message)));
        }
        match value.parse::<IpAddr>() {
            Ok(ip) => set.push(ip),
            Err(_) if value.is_empty() => {}
            Err(_) => {
                let message = format!("spec.addresses: {value:?} is not an IP address");
                return (AddressSet::default(), Some(Problem::new("UnsupportedAddress", message)));
            }
        }
    }
    set.sort_unstable();
    set.dedup();
    (AddressSet(set), None)
}

fn routability(address: &GatewayAddress, hosting: &Hosting) -> Result<Routability, String> {
    match (address.routability.as_deref().unwrap_or_default(), hosting) {
        ("", _) => Ok(Routability::Default),
        ("Cluster", Hosting::Pods) => Ok(Routability::Cluster),
        ("Cluster", Hosting::Host { .. }) => {
            Err("routability Cluster is not supported, for there is no cluster; leave it out".to_owned())
        }
        (other, _) => Err(format!("routability {other} is not supported, use Cluster or leave it out")),
    }
}

/// The addresses as a plan asks for them, in the user's order.
pub(super) fn wanted_addresses(gateway: &Gateway, hosting: &Hosting) -> Vec<FleetAddress> {
    let address = |address: &GatewayAddress| FleetAddress {
        kind: address.address_type.as_ref().unwrap_or(&AddressType::IpAddress).to_string().into(),
        value: address.value.as_deref().filter(|value| !value.is_empty()).map(Arc::from),
        // What is not supported has no plan.
        routability: routability(address, hosting).unwrap_or_default(),
    };
    gateway.spec.addresses.iter().map(address).collect()
}

/// The certificate that backends are shown.
pub(super) fn shows(gateway: &Gateway) -> Option<SecretObjectReference> {
    gateway.spec.tls.as_ref()?.backend.as_ref()?.client_certificate_ref.clone()
}

/// The Gateway's own listeners.
pub(super) fn own_listeners(key: &NamespacedName, gateway: &Gateway) -> Vec<ListenerView> {
    let generation = gateway.metadata.generation;
    let lower = |l| listener(key, gateway, ListenerOwner::Gateway, generation, l);
    gateway.spec.listeners.iter().map(lower).collect()
}

/// The listeners of a set that attaches to the Gateway.
pub(super) fn set_listeners(
    key: &NamespacedName,
    gateway: &Gateway,
    set_key: &NamespacedName,
    set: &ListenerSet,
) -> Vec<ListenerView> {
    let generation = set.metadata.generation;
    let lower = |l| listener(key, gateway, ListenerOwner::ListenerSet(set_key.clone()), generation, l);
    set.spec.listeners.iter().map(lower).collect()
}

fn listener(
    gateway_key: &NamespacedName,
    gateway: &Gateway,
    owner: ListenerOwner,
    generation: i64,
    listener: &Listener,
) -> ListenerView {
    let speaks = Speaks::of(listener);
    let (kinds, invalid_kinds) = kinds(speaks, &listener.protocol, listener.allowed_routes.as_ref());
    ListenerView {
        key: ListenerKey { gateway: gateway_key.clone(), owner, name: listener.name.as_str().into() },
        generation,
        port: listener.port,
        speaks,
        hostname: hostname(listener).unwrap_or(Hostname::Any),
        kinds,
        invalid_kinds,
        namespaces: NamespacePolicy::of_routes(
            listener.allowed_routes.as_ref().and_then(|a| a.namespaces.as_ref()),
        ),
        tls: listener.tls.clone().map(Arc::new),
        filters: listener.filters.iter().flat_map(|filters| &filters.requests).cloned().collect(),
        check: (speaks == Speaks::Https).then(|| check(gateway, listener.port)).flatten(),
        clients: Arc::default(),
        conflict: None,
        problem: unsupported(listener),
    }
}

/// `None` when it is not a hostname.
fn hostname(listener: &Listener) -> Option<Hostname> {
    if !Speaks::of(listener).has_hostnames() {
        return Some(Hostname::Any);
    }
    match listener.hostname.as_deref().unwrap_or_default() {
        "" => Some(Hostname::Any),
        text => names::hostname(text),
    }
}

/// What the listener asks for and we do not do; nothing is ignored in silence.
fn unsupported(listener: &Listener) -> Option<Problem> {
    match &listener.protocol {
        Protocol::Other(other) => {
            let message = format!("protocol {other} is not supported; use HTTP, HTTPS, TLS, TCP or UDP");
            return Some(Problem::new("UnsupportedProtocol", message));
        }
        Protocol::Tls if Speaks::of(listener) == Speaks::Other => {
            return Some(Problem::new("UnsupportedValue", "tls.mode is neither Terminate nor Passthrough"));
        }
        _ => {}
    }
    if hostname(listener).is_none() {
        let message = format!("{:?} is not a hostname", listener.hostname.as_deref().unwrap_or_default());
        return Some(Problem::new("UnsupportedValue", message));
    }
    let filtered = listener.filters.as_ref().is_some_and(|f| !f.requests.is_empty());
    if filtered && !matches!(listener.protocol, Protocol::Http | Protocol::Https) {
        let message = "filters.requests is for listeners of protocol HTTP or HTTPS";
        return Some(Problem::new("InvalidListenerFilter", message));
    }
    if listener.protocol != Protocol::Https {
        return None;
    }
    let passthrough =
        listener.tls.as_ref().is_some_and(|tls| tls.mode.as_ref().is_some_and(|m| *m != TLSMode::Terminate));
    passthrough.then(|| Problem::new("UnsupportedValue", "an HTTPS listener needs tls.mode Terminate"))
}

fn check(gateway: &Gateway, port: u16) -> Option<Check> {
    let validation = authorities::validation(gateway, port)?;
    Some(if authorities::lenient(validation) { Check::Lenient } else { Check::Strict })
}

/// Kinds that may attach: those the protocol carries, narrowed by `allowedRoutes.kinds`.
fn kinds(
    speaks: Speaks,
    protocol: &Protocol,
    allowed: Option<&AllowedRoutes>,
) -> (Vec<RouteKind>, Option<Arc<str>>) {
    let carried = speaks.carries();
    let asked = allowed.map(|a| a.kinds.as_slice()).unwrap_or_default();
    if asked.is_empty() {
        return (carried.to_vec(), None);
    }
    let is = |kind: &RouteKind, asked: &RouteGroupKind| {
        asked.group.as_deref().unwrap_or(GATEWAY_GROUP) == GATEWAY_GROUP && asked.kind == kind.as_str()
    };
    let kinds = carried.iter().copied().filter(|kind| asked.iter().any(|a| is(kind, a))).collect();
    let invalid: Vec<&str> =
        asked.iter().filter(|a| !carried.iter().any(|kind| is(kind, a))).map(|a| a.kind.as_str()).collect();
    let message = format!("{} cannot attach to a listener of protocol {protocol}", invalid.join(", "));
    (kinds, (!invalid.is_empty()).then(|| message.into()))
}
