//! What routes read of Gateways, in pieces so small that a route depends on what it uses and nothing else.
//!
//! A new listener on a Gateway with many routes then wakes the routes that name the whole Gateway, or that looked
//! for the owner of its hostname, and no others.

use std::sync::Arc;

use gatehouse_engine::{Graph, Index, Reads};
use gatehouse_model::{FleetKey, Hostname, ListenerKey, ListenerOwner, NamespacedName, RouteKind};

use super::NamespacePolicy;
use crate::gateways::{GatewayView, ListenerView};

/// Listeners that one parentRef may mean: a Gateway, the object that declares them, and one name or all.
type Section = (NamespacedName, ListenerOwner, Option<Arc<str>>);

/// A listener as a route sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) key: ListenerKey,
    pub(crate) port: u16,
    pub(crate) https: bool,
    pub(crate) hostname: Hostname,
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) namespaces: NamespacePolicy,
    pub(crate) usable: bool,
}

impl Point {
    fn of(listener: &ListenerView) -> Self {
        Self {
            key: listener.key.clone(),
            port: listener.port,
            https: listener.https,
            hostname: listener.hostname.clone(),
            kinds: listener.kinds.clone(),
            namespaces: listener.namespaces.clone(),
            usable: listener.usable(),
        }
    }
}

/// The pieces of all Gateways of ours.
#[derive(Debug)]
pub(crate) struct Points {
    fleets: Index<NamespacedName, NamespacedName, (), FleetKey>,
    sections: Index<NamespacedName, Section, Arc<str>, Arc<Point>>,
    /// The listener of each hostname pattern of a Gateway's port.
    owners: Index<NamespacedName, (NamespacedName, u16, Hostname), (), ListenerKey>,
}

impl Points {
    pub(crate) fn new(graph: &mut Graph) -> Self {
        Self {
            fleets: Index::new(graph, "points/fleets"),
            sections: Index::new(graph, "points/sections"),
            owners: Index::new(graph, "points/owners"),
        }
    }

    /// Replaces the pieces of a Gateway; `None` takes them away.
    pub(crate) fn set(&mut self, graph: &mut Graph, key: &NamespacedName, view: Option<&GatewayView>) {
        let fleet = view.map(|view| (key.clone(), (), view.fleet.clone()));
        self.fleets.set(graph, key.clone(), fleet.into_iter().collect());
        let mut sections = Vec::new();
        for listener in view.iter().flat_map(|view| &view.listeners) {
            let point = Arc::new(Point::of(listener));
            let name = &listener.key.name;
            for section in [None, Some(name.clone())] {
                let section = (key.clone(), listener.key.owner.clone(), section);
                sections.push((section, name.clone(), point.clone()));
            }
        }
        self.sections.set(graph, key.clone(), sections);
        let ports = view.iter().flat_map(|view| &view.ports);
        let owners = ports.flat_map(|(port, hosts)| {
            let host = |(host, owner): (&Hostname, &ListenerKey)| {
                ((key.clone(), *port, host.clone()), (), owner.clone())
            };
            hosts.hosts.iter().map(host)
        });
        self.owners.set(graph, key.clone(), owners.collect());
    }

    /// The fleet of a Gateway that is ours.
    pub(crate) fn fleet(&self, reads: &mut Reads, gateway: &NamespacedName) -> Option<FleetKey> {
        self.fleets.get(reads, gateway)?.get(&()).cloned()
    }

    /// Listeners by name, of one owner of a Gateway: all, or the one of this name.
    pub(crate) fn section(
        &self,
        reads: &mut Reads,
        gateway: &NamespacedName,
        owner: &ListenerOwner,
        name: Option<&str>,
    ) -> impl Iterator<Item = &Arc<Point>> {
        let section = (gateway.clone(), owner.clone(), name.map(Arc::from));
        self.sections.get(reads, &section).into_iter().flat_map(std::collections::BTreeMap::values)
    }

    /// The listener that a host pattern belongs to on a port: the most specific one that covers it.
    pub(crate) fn owner(
        &self,
        reads: &mut Reads,
        gateway: &NamespacedName,
        port: u16,
        host: &Hostname,
    ) -> Option<&ListenerKey> {
        host.ancestors()
            .find_map(|pattern| self.owners.get(reads, &(gateway.clone(), port, pattern))?.get(&()))
    }
}
