//! Which hosts stand behind the filters of which listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_engine::Graph;
use gatehouse_model::listener::TableName;
use gatehouse_model::{FleetKey, Hostname, ListenerKey, NamespacedName};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{HostId, HostKey, Source, VirtualHosts};
use crate::fragments::Fragment;
use crate::gateways::{Family, GatewayView, ListenerView, PortView, Speaks};
use crate::http::guards::{order, rest};
use crate::names;

/// The listeners of a port by their hostnames, with their filters.
type Owners = BTreeMap<Hostname, (ListenerKey, Option<Arc<Fragment>>)>;

/// Who stands before the hosts of a table.
#[derive(Clone, Debug)]
struct Guarded {
    /// Shared by the tables of a port, and by what was before if that is the same.
    owners: Arc<Owners>,
    /// The table is this listener's alone.
    only: Option<ListenerKey>,
}

impl Guarded {
    /// The narrowest listener that covers a host decides.
    fn of(&self, host: &Hostname) -> Option<&Arc<Fragment>> {
        let (owner, guard) = host.ancestors().find_map(|pattern| self.owners.get(&pattern))?;
        guard.as_ref().filter(|_| self.only.as_ref().is_none_or(|only| only == owner))
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owners, &other.owners) && self.only == other.only
    }
}

/// The filters of all listeners. Gateways and tables without any are not listed.
#[derive(Debug)]
pub(super) struct Guards {
    gateways: FxHashMap<NamespacedName, BTreeMap<TableName, Guarded>>,
    /// Tables whose filters changed since the last emission.
    changed: FxHashSet<(FleetKey, TableName)>,
    rest: Arc<Fragment>,
}

impl Default for Guards {
    fn default() -> Self {
        Self { gateways: FxHashMap::default(), changed: FxHashSet::default(), rest: Arc::new(rest()) }
    }
}

impl Guards {
    fn concerns(&self, fleet: &FleetKey, table: &TableName) -> bool {
        self.gateways.get(&fleet.0).is_some_and(|tables| tables.contains_key(table))
    }

    fn of(&self, host: &HostId) -> Option<&Arc<Fragment>> {
        self.gateways.get(&host.fleet.0)?.get(&host.table)?.of(&host.host)
    }
}

impl VirtualHosts {
    /// Replaces the filters of a Gateway's listeners.
    pub(crate) fn set_guards(
        &mut self,
        key: &NamespacedName,
        view: Option<&GatewayView>,
        guard: impl Fn(&ListenerView) -> Option<Arc<Fragment>>,
    ) {
        let old = self.guards.gateways.remove(key).unwrap_or_default();
        let mut new = BTreeMap::new();
        for ((port, _), hosts) in view.iter().flat_map(|view| &view.ports) {
            let guards: Vec<_> = hosts.hosts.values().map(|listener| guard(listener)).collect();
            if guards.iter().all(Option::is_none) {
                continue;
            }
            let tables = tables(key, *port, hosts, &guards);
            let owners = hosts.hosts.iter().zip(guards);
            let owners =
                owners.map(|((host, listener), guard)| (host.clone(), (listener.key.clone(), guard)));
            let owners: Owners = owners.collect();
            let before = tables.first_key_value().and_then(|(table, _)| old.get(table));
            let owners = match before.filter(|before| *before.owners == owners) {
                Some(before) => before.owners.clone(),
                None => Arc::new(owners),
            };
            new.extend(
                tables.into_iter().map(|(table, only)| (table, Guarded { owners: owners.clone(), only })),
            );
        }
        let same = |table: &&TableName| match (old.get(table), new.get(table)) {
            (Some(old), Some(new)) => old.is(new),
            _ => false,
        };
        let fleet = FleetKey(key.clone());
        let changed = old.keys().chain(new.keys()).filter(|table| !same(table));
        self.guards.changed.extend(changed.map(|table| (fleet.clone(), table.clone())));
        if !new.is_empty() {
            self.guards.gateways.insert(key.clone(), new);
        }
    }

    /// Puts filters where hosts came, and takes them away where hosts go. Costs nothing where no listener has any.
    pub(super) fn follow_guards<'h>(
        &mut self,
        graph: &mut Graph,
        touched: impl Iterator<Item = &'h HostKey>,
    ) {
        let changed = std::mem::take(&mut self.guards.changed);
        let mut hosts: BTreeSet<HostKey> =
            touched.filter(|host| self.guards.concerns(&host.fleet, &host.table)).cloned().collect();
        for (fleet, table) in &changed {
            let first = HostId {
                fleet: fleet.clone(),
                table: table.clone(),
                host: Hostname::Any,
                name: Arc::default(),
            };
            let of_table = |key: &&HostKey| key.fleet == *fleet && key.table == *table;
            hosts.extend(self.emitted.range(first..).map(|(key, _)| key).take_while(of_table).cloned());
        }
        for host in hosts {
            self.guard_host(graph, host);
        }
    }

    fn guard_host(&mut self, graph: &mut Graph, host: HostKey) {
        let parts = self.fragments.peek(&host);
        let ruled = parts.is_some_and(|parts| parts.values().any(|part| part.rule().is_some()));
        let exists = ruled || self.bases.peek(&host).is_some();
        let guard = self.guards.of(&host).filter(|_| exists);
        let parts = guard.into_iter().flat_map(|guard| [guard, &self.guards.rest]);
        let entries = parts.map(|part| (host.clone(), order(part), part.clone())).collect();
        self.fragments.set(graph, Source::Host(host), entries);
    }
}

/// The tables of a port that stand behind filters, and whose alone each is.
fn tables(
    gateway: &NamespacedName,
    port: u16,
    hosts: &PortView,
    guards: &[Option<Arc<Fragment>>],
) -> BTreeMap<TableName, Option<ListenerKey>> {
    if hosts.family == Family::Http {
        return BTreeMap::from([(names::http_table(gateway, port), None)]);
    }
    let guarded = hosts.hosts.values().zip(guards).filter(|(_, guard)| guard.is_some());
    let https = guarded.filter(|(listener, _)| listener.speaks == Speaks::Https);
    https.map(|(l, _)| (names::https_table(&l.key, port), Some(l.key.clone()))).collect()
}
