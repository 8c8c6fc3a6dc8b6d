//! Ports of a host that several Gateways share.

use std::sync::Arc;

use gatehouse_api::types::Gateway;
use gatehouse_engine::{Reads, Stage};
use gatehouse_model::{AddressSet, NamespacedName, Transport};

use super::{ClassState, Problem, lower, refuse_set};
use crate::config::{Config, Hosting};
use crate::facts::{Facts, Socket, age, socket};

/// Creation time and name: the smaller one comes first.
type Order = (Arc<str>, NamespacedName);

/// A Gateway that asks for ports. An address and port belong to the oldest Gateway that names them, itself or
/// through a ListenerSet that it allows.
pub(super) struct Claimant<'a> {
    facts: &'a Facts,
    classes: &'a Stage<Arc<str>, ClassState>,
    config: &'a Config,
    order: Order,
    addresses: AddressSet,
    /// The Gateway's own ports.
    ports: Vec<Socket>,
}

impl<'a> Claimant<'a> {
    pub(super) fn new(
        facts: &'a Facts,
        classes: &'a Stage<Arc<str>, ClassState>,
        config: &'a Config,
        key: &NamespacedName,
        gateway: &Gateway,
    ) -> Self {
        let (addresses, _) = lower::addresses(gateway, &config.hosting);
        let order = (age(&gateway.metadata), key.clone());
        let ports = gateway.spec.listeners.iter().map(socket).collect();
        Self { facts, classes, config, order, addresses, ports }
    }

    /// Why the Gateway cannot have a port.
    pub(super) fn port_taken(&self, reads: &mut Reads, (port, transport): Socket) -> Option<Problem> {
        if self.config.hosting == Hosting::Pods {
            return None;
        }
        let same = self.same_socket(port, transport);
        let earlier = |own: &&Socket| own.0 < port && same.contains(own);
        if let Some((own, _)) = self.ports.iter().find(earlier) {
            let bound = self.config.bound_port(port);
            let message = format!("ports {own} and {port} are both bound as {bound} (--port-map)");
            return Some(Problem::new("PortUnavailable", message));
        }
        let owner = same.into_iter().find_map(|socket| {
            self.gateway_before(reads, socket).or_else(|| self.set_before(reads, socket))
        })?;
        let message =
            format!("port {port} is taken by Gateway {owner}; give the Gateways different spec.addresses");
        Some(Problem::new("PortUnavailable", message))
    }

    /// Ports that are bound as the same one, itself included.
    fn same_socket(&self, port: u16, transport: Transport) -> Vec<Socket> {
        let bound = self.config.bound_port(port);
        let mapped = self.config.port_map.iter().filter(|(_, to)| **to == bound).map(|(from, _)| *from);
        let plain = (self.config.bound_port(bound) == bound).then_some(bound);
        let mut ports: Vec<u16> = mapped.chain(plain).chain([port]).collect();
        ports.sort_unstable();
        ports.dedup();
        ports.into_iter().map(|port| (port, transport)).collect()
    }

    fn gateway_before(&self, reads: &mut Reads, socket: Socket) -> Option<NamespacedName> {
        let claims = self.facts.claims.get(reads, &socket)?;
        let mut before = claims.iter().take_while(|(order, _)| **order < self.order);
        before.find(|(_, rival)| self.overlaps(reads, rival)).map(|((_, key), _)| key.clone())
    }

    fn set_before(&self, reads: &mut Reads, socket: Socket) -> Option<NamespacedName> {
        let claims = self.facts.set_claims.get(reads, &socket)?;
        let mut rivals = claims.iter().filter(|(_, gateway)| **gateway != self.order.1);
        rivals
            .find(|(set, key)| {
                let Some(rival) = self.facts.gateways.get(reads, key) else { return false };
                (age(&rival.metadata), (*key).clone()) < self.order
                    && self.overlaps(reads, rival)
                    && refuse_set(self.facts, reads, key, rival, set).is_none()
            })
            .map(|(_, key)| key.clone())
    }

    fn overlaps(&self, reads: &mut Reads, rival: &Gateway) -> bool {
        let class: Arc<str> = rival.spec.gateway_class_name.as_str().into();
        // One whose addresses are refused binds nothing.
        let (theirs, None) = lower::addresses(rival, &self.config.hosting) else { return false };
        matches!(self.classes.get(reads, &class), Some(ClassState::Ours { problem: None, .. }))
            && overlap(&self.addresses, &theirs)
    }
}

fn overlap(a: &AddressSet, b: &AddressSet) -> bool {
    a.0.is_empty() || b.0.is_empty() || a.0.iter().any(|address| b.0.contains(address))
}
