//! Which hosts stand behind the filters of which listener.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_engine::Graph;
use gatehouse_model::listener::TableName;
use gatehouse_model::{FleetKey, Hostname, NamespacedName};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{HostId, HostKey, Source, VirtualHosts};
use crate::fragments::Fragment;
use crate::gateways::{Family, GatewayView, ListenerView, Speaks};
use crate::http::guards::{order, rest};
use crate::names;

/// The filters of a table's listeners, by the hostname of each listener of its port.
type Owners = BTreeMap<Hostname, Option<Arc<Fragment>>>;

/// The filters of all listeners. Gateways and tables without any are not listed.
#[derive(Debug)]
pub(super) struct Guards {
    gateways: FxHashMap<NamespacedName, BTreeMap<TableName, Owners>>,
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

    /// The narrowest listener that covers a host decides.
    fn of(&self, host: &HostId) -> Option<&Arc<Fragment>> {
        let owners = self.gateways.get(&host.fleet.0)?.get(&host.table)?;
        host.host.ancestors().find_map(|pattern| owners.get(&pattern))?.as_ref()
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
        let mut tables = BTreeMap::new();
        for ((port, _), hosts) in view.iter().flat_map(|view| &view.ports) {
            let owners = |of: &dyn Fn(&ListenerView) -> bool| -> Owners {
                let own = |listener: &ListenerView| if of(listener) { guard(listener) } else { None };
                hosts.hosts.iter().map(|(host, listener)| (host.clone(), own(listener))).collect()
            };
            if hosts.family == Family::Http {
                tables.insert(names::http_table(key, *port), owners(&|_| true));
                continue;
            }
            for listener in hosts.hosts.values().filter(|listener| listener.speaks == Speaks::Https) {
                let table = names::https_table(&listener.key, *port);
                tables.insert(table, owners(&|other| other.key == listener.key));
            }
        }
        tables.retain(|_, owners| owners.values().any(Option::is_some));
        let new = (!tables.is_empty()).then_some(tables);
        let old = match &new {
            Some(tables) => self.guards.gateways.insert(key.clone(), tables.clone()),
            None => self.guards.gateways.remove(key),
        };
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let differs = |table: &&TableName| old.get(table) != new.get(table);
        let fleet = FleetKey(key.clone());
        let changed = old.keys().chain(new.keys()).filter(differs);
        self.guards.changed.extend(changed.map(|table| (fleet.clone(), table.clone())));
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
