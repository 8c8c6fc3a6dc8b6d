//! Virtual hosts: sorted concatenations of fragments over a base that every listener lays.

mod forms;
mod guards;
mod host;
mod interim;
mod meanwhile;
mod search;
mod trial;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_engine::{Graph, Index, SmallMap};
use gatehouse_model::listener::TableName;
use gatehouse_model::{FleetKey, Hostname, Interim, NamespacedName, ResourceType, RouteKey};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::attach::{Bindings, BoundListener, Site};
use crate::fragments::{Fragment, FragmentId, Fragments, Rank};
use crate::gateways::{Family, GatewayView, PortView, Speaks};
use crate::http::RedirectContext;
use crate::names;
use crate::output::{FleetChange, Resource};
use guards::Guards;
use host::{Host, Refused};
pub(crate) use meanwhile::Judge;
use search::Verdicts;

/// One virtual host.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostId {
    pub(crate) fleet: FleetKey,
    pub(crate) table: TableName,
    pub(crate) host: Hostname,
    /// Its xDS name, made of `table` and `host`; shared with everything that names it.
    name: Arc<str>,
}

/// Shared by the maps and logs that it stands in.
pub(crate) type HostKey = Arc<HostId>;

fn host_id(fleet: FleetKey, table: TableName, host: Hostname) -> HostKey {
    let name = names::virtual_host(&table, &host);
    Arc::new(HostId { fleet, table, host, name })
}

/// Place of a fragment in its host: the route's own hostname first (`GatewayRouteHostnameIntersectionPrecedence`).
type Order = (Reverse<(u8, usize)>, Arc<Rank>);

/// A route's fragments by host and rank.
type Placed = BTreeMap<(HostKey, Arc<Rank>), (Order, Arc<Fragment>)>;

/// What a host answers when no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// 404.
    NotFound,
    /// 421: the host belongs to another TLS listener of the port (RFC 9110 section 15.5.20).
    Misdirected,
}

/// Who puts a fragment into a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    /// A route its rules.
    Route(RouteKey),
    /// The host itself what its listener asks for.
    Host(HostKey),
}

/// Where a route goes, and its fragments by the listener's view.
pub(crate) struct Placement<'a> {
    pub(crate) bindings: &'a Bindings,
    pub(crate) fragments: &'a dyn Fn(Option<RedirectContext>) -> Option<Arc<Fragments>>,
    pub(crate) needs_listener: bool,
}

/// The hosts of all tables.
#[derive(Debug)]
pub(crate) struct VirtualHosts {
    fragments: Index<Source, HostKey, Order, Arc<Fragment>>,
    /// The filters of listeners, which stand in `fragments` too.
    guards: Guards,
    bases: Index<NamespacedName, HostKey, (), Base>,
    tables: Index<NamespacedName, (FleetKey, TableName), (), ()>,
    /// In the order of tables.
    emitted: BTreeMap<HostKey, Host>,
    refused: Refused,
    /// What was found to be bad since the last look, with the proxy's words.
    found: Vec<(FragmentId, Arc<str>)>,
    /// Hosts whose trial goes on with the next emission, with the proxy's words.
    answered: BTreeMap<HostKey, Arc<str>>,
    /// The proxy's last words on a host.
    words: FxHashMap<HostKey, Arc<str>>,
    /// Counts of the work done, for the tests of bounded work.
    pub(crate) work: HostWork,
}

/// Work that virtual hosts cost since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostWork {
    /// Hosts put together anew.
    pub(crate) assembled: u64,
    /// Bytes copied for that.
    pub(crate) copied: u64,
}

impl VirtualHosts {
    pub(crate) fn new(graph: &mut Graph) -> Self {
        Self {
            fragments: Index::with_log(graph, "vhosts/fragments"),
            guards: Guards::default(),
            bases: Index::with_log(graph, "vhosts/bases"),
            tables: Index::with_log(graph, "vhosts/tables"),
            emitted: BTreeMap::new(),
            refused: Refused::default(),
            found: Vec::new(),
            answered: BTreeMap::new(),
            words: FxHashMap::default(),
            work: HostWork::default(),
        }
    }

    /// Lays the base of a Gateway's tables; `None` takes it away.
    pub(crate) fn set_gateway(
        &mut self,
        graph: &mut Graph,
        key: &NamespacedName,
        view: Option<&GatewayView>,
    ) {
        let mut bases = Vec::new();
        let mut tables = Vec::new();
        for ((port, _), hosts) in view.iter().flat_map(|view| &view.ports) {
            for (table, host, base) in port_bases(key, *port, hosts) {
                let fleet = FleetKey(key.clone());
                tables.push(((fleet.clone(), table.clone()), (), ()));
                bases.push((host_id(fleet, table, host), (), base));
            }
        }
        tables.dedup();
        self.bases.set(graph, key.clone(), bases);
        self.tables.set(graph, key.clone(), tables);
    }

    /// Places a route's fragments; `None` takes them away.
    pub(crate) fn set_route(&mut self, graph: &mut Graph, key: &RouteKey, route: Option<&Placement<'_>>) {
        let mut entries = Placed::new();
        if let Some(Placement { bindings, fragments, needs_listener }) = route {
            for listener in bindings.listeners() {
                let context = needs_listener.then(|| listener.site.context());
                let Some(list) = fragments(context) else { continue };
                place(&mut entries, listener, &list);
            }
        }
        let shared = |host| self.fragments.same_group(host);
        let entries =
            entries.into_iter().map(|((host, _), (order, fragment))| (shared(host), order, fragment));
        let entries = entries.collect();
        self.fragments.set(graph, Source::Route(key.clone()), entries);
    }

    /// Emits what changed since the last call.
    pub(crate) fn emit(
        &mut self,
        graph: &mut Graph,
        fleets: &mut BTreeMap<FleetKey, FleetChange>,
        judge: Judge<'_>,
    ) {
        for change in self.tables.take_changes() {
            let (fleet, table) = change.group;
            let out = fleets.entry(fleet).or_default();
            match change.new {
                Some(()) => out.upserts.push(crate::ports::route_table(&table)),
                None => out.removals.push((ResourceType::RouteConfiguration, table.0)),
            }
        }
        let mut dirty: FxHashSet<HostKey> =
            self.bases.take_changes().into_iter().map(|change| change.group).collect();
        let mut changes = self.fragments.take_changes();
        self.follow_guards(graph, dirty.iter().chain(changes.iter().map(|change| &change.group)));
        changes.extend(self.fragments.take_changes());
        let mut known_bad: BTreeMap<HostKey, Vec<Order>> = BTreeMap::new();
        for change in changes {
            let out = fleets.entry(change.group.fleet.clone()).or_default();
            let host = self.emitted.entry(change.group.clone()).or_default();
            if host.record(out, &change, &self.refused) {
                known_bad.entry(change.group.clone()).or_default().push(change.order);
            }
            dirty.insert(change.group);
        }
        // What was accepted elsewhere in a host is known once all of its changes are.
        for (key, places) in known_bad {
            let (Some(host), Some(fragments)) = (self.emitted.get_mut(&key), self.fragments.peek(&key))
            else {
                continue;
            };
            let out = fleets.entry(key.fleet.clone()).or_default();
            host.stand_in(out, &key.name, &places, fragments, (&self.refused, judge.failing));
        }
        for key in &dirty {
            let host = self.emitted.get_mut(key).filter(|_| !self.answered.contains_key(key));
            if host.is_some_and(Host::answers_itself) {
                self.answered.insert(key.clone(), self.words.get(key).cloned().unwrap_or_default());
            }
        }
        for (key, words) in std::mem::take(&mut self.answered) {
            let (Some(host), Some(fragments)) = (self.emitted.get_mut(&key), self.fragments.peek(&key))
            else {
                continue;
            };
            let out = fleets.entry(key.fleet.clone()).or_default();
            let mut verdicts = Verdicts { refused: &mut self.refused, found: &mut self.found, words };
            host.follow_search(out, &key.name, fragments, judge.failing, &mut verdicts);
            dirty.insert(key);
        }
        let mut dirty: Vec<_> = dirty.into_iter().collect();
        dirty.sort();
        for key in dirty {
            let out = fleets.entry(key.fleet.clone()).or_default();
            self.emit_host(out, &key, judge);
        }
    }

    fn emit_host(&mut self, out: &mut FleetChange, key: &HostKey, judge: Judge<'_>) {
        let state = self.emitted.entry(key.clone()).or_default();
        let fragments = self.fragments.peek(key);
        let base = self.bases.peek(key).and_then(|entries| entries.get(&()));
        let name = key.name.clone();
        if fragments.is_none() && base.is_none() {
            if state.live {
                out.removals.push((ResourceType::VirtualHost, name));
            }
            self.emitted.remove(key);
            self.words.remove(key);
            return;
        }
        state.live = true;
        let body = match (fragments, base) {
            (None, Some(Base::Misdirected)) => {
                gatehouse_envoy::encode::status_host(&key.table, &key.host, 421)
            }
            (fragments, _) => {
                let serves = |(order, fragment)| state.serves(order, fragment);
                let bytes =
                    fragments.into_iter().flat_map(SmallMap::iter).filter_map(serves).map(|f| &f.bytes[..]);
                gatehouse_envoy::encode::virtual_host(&key.table, &key.host, bytes)
            }
        };
        self.work.assembled += 1;
        self.work.copied += body.len() as u64;
        let version_of = |sum| version(&name, base, fragments.is_some(), sum);
        let interim = state.interim(key, fragments, version_of, judge).map(Arc::new);
        if let Some(Interim::Instead { body, .. }) = interim.as_deref() {
            self.work.copied += body.bytes.len() as u64;
        }
        let version = version_of(state.sum);
        out.upserts.push(Resource { kind: ResourceType::VirtualHost, name, version, body, interim });
    }

    /// A proxy acknowledged this version of a host: what it holds now is proven.
    pub(crate) fn acknowledged(&mut self, fleet: &FleetKey, name: &str, version: &str) {
        let Some(key) = self.current(fleet, name, version) else { return };
        if let Some(host) = self.emitted.get_mut(&key)
            && host.accepted()
        {
            let message = self.words.get(&key).cloned().unwrap_or_default();
            self.answered.insert(key, message);
        }
    }

    /// A proxy refused this version of a host. Returns whether there is something that may be why.
    pub(crate) fn refused(
        &mut self,
        fleet: &FleetKey,
        name: &str,
        version: &str,
        message: &Arc<str>,
    ) -> bool {
        let Some(key) = self.current(fleet, name, version) else { return false };
        let Some(host) = self.emitted.get_mut(&key) else { return false };
        let fragments = self.fragments.peek(&key);
        let holds = |order: &Order| fragments?.get(order);
        let goes_on = host.refused(holds);
        if goes_on {
            self.words.insert(key.clone(), message.clone());
            self.answered.insert(key, message.clone());
        }
        goes_on
    }

    /// Fragments found to be bad since the last call, with the proxy's words.
    pub(crate) fn take_found(&mut self) -> Vec<(FragmentId, Arc<str>)> {
        std::mem::take(&mut self.found)
    }

    /// How many fragments are known to be bad.
    pub(crate) fn refused_count(&self) -> usize {
        self.refused.len()
    }

    /// Forgets bad fragments that nobody has any more. Returns whether that was possible: searches rely on them.
    pub(crate) fn forget_refused(&mut self, is_there: impl Fn(&FragmentId) -> bool) -> bool {
        let searched = self.emitted.values().any(|host| host.search.is_some());
        if !searched {
            self.refused.retain(|fragment, _| is_there(fragment));
        }
        !searched
    }

    /// The host of this name, when this version is its current one.
    fn current(&self, fleet: &FleetKey, name: &str, version: &str) -> Option<HostKey> {
        let key = host_key(fleet, name)?;
        (*self.current_version(&key)? == *version).then_some(key)
    }

    fn current_version(&self, key: &HostKey) -> Option<Arc<str>> {
        let state = self.emitted.get(key)?;
        let base = self.bases.peek(key).and_then(|entries| entries.get(&()));
        Some(version(&key.name, base, self.fragments.peek(key).is_some(), state.sum))
    }
}

/// The identity behind a virtual host's xDS name.
fn host_key(fleet: &FleetKey, name: &str) -> Option<HostKey> {
    let (table, host) = name.rsplit_once('/')?;
    Some(host_id(fleet.clone(), TableName(table.into()), Hostname::parse(host)))
}

/// The version of a host without reading its bytes: a keyed hash of the sum of its fragments' hashes, each of which
/// covers the fragment's place. Addition makes an edit of one fragment cost one fragment.
fn version(name: &str, base: Option<&Base>, routed: bool, sum: u128) -> Arc<str> {
    let base = if routed { None } else { base };
    gatehouse_envoy::version(format!("{name}|{base:?}|{sum:032x}").as_bytes())
}

fn place(entries: &mut Placed, listener: &BoundListener, fragments: &Fragments) {
    let Site { fleet, table: Some(table), .. } = &*listener.site else { return };
    for (host, own) in &listener.hosts {
        let key = host_id(fleet.clone(), table.clone(), host.clone());
        for fragment in &fragments.list {
            let order = (Reverse(own.specificity()), fragment.rank.clone());
            let slot = (key.clone(), fragment.rank.clone());
            // Two patterns of one route can meet in one host: the more specific one counts.
            let better = entries.get(&slot).is_none_or(|(old, _)| order < *old);
            if better {
                entries.insert(slot, (order, fragment.clone()));
            }
        }
    }
}

/// Up to so many hostnames of a port its tables list all of them: a Gateway alone has no more.
const MOST_LISTED: usize = 64;

/// The hosts that the listeners of a port lay.
///
/// HTTP: one table, every listener's hostname answers 404, so that no wider pattern takes over. HTTPS: a table per
/// listener; hosts of other listeners, TLS ones included, answer 421, hosts of no listener 404
/// (`Listener.hostname`). To tell these apart each table lists all hostnames of the port, the square of them. Beyond
/// [`MOST_LISTED`] an exact listener lists two hosts, a wildcard one the narrower listeners under it, and hosts of no listener
/// answer 421, too.
fn port_bases(gateway: &NamespacedName, port: u16, hosts: &PortView) -> Vec<(TableName, Hostname, Base)> {
    if hosts.family == Family::Http {
        let table = names::http_table(gateway, port);
        let own = hosts.hosts.keys().cloned();
        let all: BTreeSet<Hostname> = own.chain([Hostname::Any]).collect();
        return all.into_iter().map(|host| (table.clone(), host, Base::NotFound)).collect();
    }
    let mut bases = Vec::new();
    let lists_all = hosts.hosts.len() <= MOST_LISTED;
    let elsewhere = if lists_all { Base::NotFound } else { Base::Misdirected };
    for (own, listener) in hosts.hosts.iter().filter(|(_, listener)| listener.speaks == Speaks::Https) {
        let table = names::https_table(&listener.key, port);
        bases.push((table.clone(), own.clone(), Base::NotFound));
        if !hosts.hosts.contains_key(&Hostname::Any) {
            bases.push((table.clone(), Hostname::Any, elsewhere));
        }
        if !lists_all && matches!(own, Hostname::Exact(_)) {
            continue;
        }
        let listed = |other: &Hostname| lists_all || *other == Hostname::Any || own.covers(other);
        let others = hosts.hosts.keys().filter(|other| *other != own && listed(other));
        bases.extend(others.map(|other| (table.clone(), other.clone(), Base::Misdirected)));
    }
    bases
}
