//! What routes read of Gateways, in pieces so small that a route depends on what it uses and nothing else.
//!
//! A new listener on a Gateway with many routes then wakes the routes that name the whole Gateway, or that looked
//! for the owner of its hostname, and no others.

use std::sync::Arc;

use gatehouse_engine::{Graph, Index, Reads, SmallMap};
use gatehouse_model::listener::TableName;
use gatehouse_model::{FleetKey, Hostname, ListenerKey, ListenerOwner, NamespacedName, RouteKind, Transport};

use super::NamespacePolicy;
use crate::facts::Socket;
use crate::gateways::{GatewayView, ListenerView, Speaks};
use crate::http::RedirectContext;
use crate::names;

/// Listeners that one parentRef may mean: a Gateway, the object that declares them, and one name or all.
type Section = (NamespacedName, ListenerOwner, Option<Arc<str>>);

/// Where a listener puts its routes: all of them share it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) key: Arc<ListenerKey>,
    pub(crate) fleet: FleetKey,
    /// Where its hosts are; `None` when its routes stand in filter chains.
    pub(crate) table: Option<TableName>,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    pub(crate) https: bool,
    /// Whether the clients' TLS ends here.
    pub(crate) ends_tls: bool,
}

impl Site {
    fn of(fleet: &FleetKey, listener: &ListenerView) -> Self {
        let ListenerView { key, port, speaks, .. } = listener;
        let table = match speaks {
            Speaks::Http => Some(names::http_table(&key.gateway, *port)),
            Speaks::Https => Some(names::https_table(key, *port)),
            _ => None,
        };
        Self {
            key: Arc::new(key.clone()),
            fleet: fleet.clone(),
            table,
            port: *port,
            transport: speaks.transport(),
            https: *speaks == Speaks::Https,
            ends_tls: speaks.terminates(),
        }
    }

    /// What a redirect needs to know of the listener.
    pub(crate) fn context(&self) -> RedirectContext {
        RedirectContext { port: self.port, https: self.https }
    }
}

/// A listener as a route sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) site: Arc<Site>,
    pub(crate) hostname: Hostname,
    pub(crate) kinds: Vec<RouteKind>,
    pub(crate) namespaces: NamespacePolicy,
    pub(crate) usable: bool,
}

impl Point {
    fn of(fleet: &FleetKey, listener: &ListenerView) -> Self {
        Self {
            site: Arc::new(Site::of(fleet, listener)),
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
    /// Gateways that are ours.
    gateways: Index<NamespacedName, NamespacedName, (), ()>,
    sections: Index<NamespacedName, Section, Arc<str>, Arc<Point>>,
    /// The listener of each hostname pattern of a Gateway's port.
    owners: Index<NamespacedName, (NamespacedName, Socket, Hostname), (), ListenerKey>,
}

impl Points {
    pub(crate) fn new(graph: &mut Graph) -> Self {
        Self {
            gateways: Index::new(graph, "points/gateways"),
            sections: Index::new(graph, "points/sections"),
            owners: Index::new(graph, "points/owners"),
        }
    }

    /// Replaces the pieces of a Gateway; `None` takes them away.
    pub(crate) fn set(&mut self, graph: &mut Graph, key: &NamespacedName, view: Option<&GatewayView>) {
        let ours = view.map(|_| (key.clone(), (), ()));
        self.gateways.set(graph, key.clone(), ours.into_iter().collect());
        let mut sections = Vec::new();
        let listeners = view.iter().flat_map(|view| view.listeners.iter().map(|l| (&view.fleet, l)));
        for (fleet, listener) in listeners {
            let point = Arc::new(Point::of(fleet, listener));
            let name = &listener.key.name;
            for section in [None, Some(name.clone())] {
                let section = (key.clone(), listener.key.owner.clone(), section);
                sections.push((section, name.clone(), point.clone()));
            }
        }
        self.sections.set(graph, key.clone(), sections);
        let ports = view.iter().flat_map(|view| &view.ports);
        let owners = ports.flat_map(|(socket, hosts)| {
            let host = |(host, owner): (&Hostname, &Arc<ListenerView>)| {
                ((key.clone(), *socket, host.clone()), (), owner.key.clone())
            };
            hosts.hosts.iter().map(host)
        });
        self.owners.set(graph, key.clone(), owners.collect());
    }

    /// Whether a Gateway is ours.
    pub(crate) fn is_ours(&self, reads: &mut Reads, gateway: &NamespacedName) -> bool {
        self.gateways.get(reads, gateway).is_some()
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
        self.sections.get(reads, &section).into_iter().flat_map(SmallMap::values)
    }

    /// The listener that a host pattern belongs to on a port: the most specific one that covers it.
    pub(crate) fn owner(
        &self,
        reads: &mut Reads,
        gateway: &NamespacedName,
        socket: Socket,
        host: &Hostname,
    ) -> Option<&ListenerKey> {
        host.ancestors()
            .find_map(|pattern| self.owners.get(reads, &(gateway.clone(), socket, pattern))?.get(&()))
    }
}
