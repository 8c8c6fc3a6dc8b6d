//! World and xDS server together: changes in, one commit per fleet out, and what the proxies answer back in.
//!
//! Whoever owns it runs it on one thread of its own and settles once per burst of changes.

mod metrics;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::{FleetKey, NamespacedName, ResourceType, Target};
use gatehouse_translate::{
    Change, ClusterNews, Config, FleetChange, FleetPlan, Outputs, Resource, StatusChange, Watch, WatchKey,
    WatchState, World,
};
use gatehouse_xds::{Commit, Event, FleetId, Notice, Server, WatchChange, What};

pub(crate) use metrics::PlaneMetrics;

/// How long a fleet's first snapshot waits for Secrets that nobody has read yet: the rest of it serves without them.
const FIRST_SNAPSHOT: Duration = Duration::from_secs(5);

/// What a settle leaves to do for others.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Statuses that changed.
    pub(crate) statuses: Vec<StatusChange>,
    /// Plans that changed.
    pub(crate) plans: Vec<(FleetKey, Option<Arc<FleetPlan>>)>,
    /// Fleets that exist no more.
    pub(crate) removed_fleets: Vec<FleetKey>,
    /// Whether there are other fleets than before.
    pub(crate) fleets_changed: bool,
}

/// The first snapshot of a fleet, as far as it is known.
struct First {
    /// Since when it waits for the rest.
    since: Instant,
    /// When the oldest change in it was seen.
    seen: Option<Instant>,
    change: FleetChange,
}

/// What a watch of the xDS server stands for.
#[derive(Clone, Debug)]
enum Watched {
    /// A watch of the world and the digest of its needs.
    Needs(WatchKey, Arc<str>),
    /// A virtual host and its version.
    Host(FleetKey, Arc<str>, Arc<str>),
}

/// The watches of a fleet.
#[derive(Debug, Default)]
struct Watches {
    needs: HashMap<WatchKey, u64>,
    /// By name.
    hosts: BTreeMap<Arc<str>, u64>,
}

/// World and xDS server.
pub(crate) struct Plane {
    world: World,
    server: Server,
    fleets: BTreeSet<FleetKey>,
    /// First snapshots that wait for what is not known yet.
    incomplete: BTreeMap<FleetKey, First>,
    metrics: PlaneMetrics,
    /// By watch id; an id stands for one version only, so that a late answer is not taken for a newer one. Trees, since all
    /// hosts are watched at the start and hardly one later: hash tables would keep the room.
    watched: BTreeMap<u64, Watched>,
    /// The ids of each fleet.
    watches: BTreeMap<FleetKey, Watches>,
    /// Watches of hosts that were answered: a host is watched only until a proxy has it.
    answered: BTreeMap<FleetKey, Vec<u64>>,
    next_watch: u64,
    /// When the oldest change since the last commit was seen.
    seen: Option<Instant>,
}

impl Plane {
    pub(crate) fn new(config: Config, server: Server, metrics: PlaneMetrics) -> Self {
        Self {
            world: World::new(config),
            server,
            fleets: BTreeSet::new(),
            incomplete: BTreeMap::new(),
            metrics,
            watched: BTreeMap::new(),
            watches: BTreeMap::new(),
            answered: BTreeMap::new(),
            next_watch: 0,
            seen: None,
        }
    }

    /// The fleets as of the last settle.
    pub(crate) fn fleets(&self) -> &BTreeSet<FleetKey> {
        &self.fleets
    }

    /// Whether the proxies of a fleet have something that they have neither taken nor refused yet.
    pub(crate) fn awaits_answers(&self, fleet: &FleetKey) -> bool {
        let unanswered = self.watches.get(fleet).is_some_and(|watches| !watches.hosts.is_empty());
        unanswered || self.incomplete.contains_key(fleet)
    }

    /// Something changed, as of this moment.
    pub(crate) fn change(&mut self, change: Change, seen: Instant) {
        self.seen.get_or_insert(seen);
        self.world.apply(change);
    }

    /// The world, for what its owner tells it and what it wants.
    pub(crate) fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// When to settle again though nothing changes.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.incomplete.values().map(|first| first.since + FIRST_SNAPSHOT).min()
    }

    /// Computes what the changes touch and commits it.
    pub(crate) fn settle(&mut self, now: Instant) -> Settled {
        let started = Instant::now();
        let outputs = self.world.settle();
        for panicked in self.world.take_panics() {
            tracing::error!(stage = panicked.stage, key = panicked.key, "bug: {}", panicked.message);
            self.metrics.panicked();
        }
        self.metrics.settled(started.elapsed(), &self.world);
        self.publish(outputs, now)
    }

    fn publish(&mut self, outputs: Outputs, now: Instant) -> Settled {
        let Outputs { mut fleets, removed_fleets, statuses, plans } = outputs;
        let waiting = self.answered.keys().chain(self.incomplete.keys());
        for fleet in waiting.filter(|fleet| self.fleets.contains(*fleet)) {
            fleets.entry(fleet.clone()).or_default();
        }
        let seen = self.seen.take();
        let before = self.fleets.len();
        for (fleet, change) in fleets {
            if let Some((change, seen)) = self.complete(&fleet, change, seen, now) {
                let commit = self.commit_of(&fleet, change, seen);
                self.server.commit(&fleet_id(&fleet), commit);
            }
        }
        let fleets_changed = self.fleets.len() != before || !removed_fleets.is_empty();
        for fleet in &removed_fleets {
            self.fleets.remove(fleet);
            self.incomplete.remove(fleet);
            self.server.remove_fleet(&fleet_id(fleet));
            self.forget_watches(fleet);
        }
        Settled { statuses, plans, removed_fleets, fleets_changed }
    }

    /// Holds a fleet's changes back until its first snapshot is complete, or has waited long enough: a proxy that still has
    /// an older one must not lose what is merely not known yet.
    fn complete(
        &mut self,
        fleet: &FleetKey,
        change: FleetChange,
        seen: Option<Instant>,
        now: Instant,
    ) -> Option<(FleetChange, Option<Instant>)> {
        let first = match self.incomplete.remove(fleet) {
            Some(mut first) => {
                first.change.absorb(change);
                first.seen = first.seen.or(seen);
                first
            }
            None if self.fleets.insert(fleet.clone()) => First { since: now, seen, change },
            None => return Some((change, seen)),
        };
        let settled = self.world.is_settled(fleet);
        if settled || now.duration_since(first.since) >= FIRST_SNAPSHOT {
            if !settled {
                tracing::warn!(%fleet, "served without Secrets that cannot be read yet");
            }
            return Some((first.change, first.seen));
        }
        self.incomplete.insert(fleet.clone(), first);
        None
    }

    fn commit_of(&mut self, fleet: &FleetKey, change: FleetChange, seen: Option<Instant>) -> Commit {
        let answered = self.answered.remove(fleet).unwrap_or_default();
        let mut watches: Vec<_> = answered.into_iter().map(WatchChange::Remove).collect();
        for (key, watch) in change.watches {
            self.watch_needs(key, watch, &mut watches);
        }
        for resource in change.upserts.iter().filter(|r| r.kind == ResourceType::VirtualHost) {
            let host = Watched::Host(fleet.clone(), resource.name.clone(), resource.version.clone());
            let need = (ResourceType::VirtualHost, resource.name.clone(), resource.version.clone());
            let id = self.watch(host, vec![need], &mut watches);
            let old = self.watches_of(fleet).hosts.insert(resource.name.clone(), id);
            self.unwatch(old, &mut watches);
        }
        for (_, name) in change.removals.iter().filter(|(kind, _)| *kind == ResourceType::VirtualHost) {
            let old = self.watches_of(fleet).hosts.remove(name);
            self.unwatch(old, &mut watches);
        }
        self.metrics.committed(&change.upserts);
        let upsert = |r: Resource| {
            let Resource { kind, name, version, body, interim } = r;
            (kind, gatehouse_xds::Resource { name, version, body, interim })
        };
        Commit {
            upserts: change.upserts.into_iter().map(upsert).collect(),
            removals: change.removals,
            edges: change.edges,
            watches,
            seen,
        }
    }

    fn watch_needs(&mut self, key: WatchKey, watch: Option<Watch>, out: &mut Vec<WatchChange>) {
        let fleet = key.fleet().clone();
        let old = match watch {
            Some(watch) => {
                let id = self.watch(Watched::Needs(key.clone(), watch.digest), watch.needs, out);
                self.watches_of(&fleet).needs.insert(key, id)
            }
            None => self.watches_of(&fleet).needs.remove(&key),
        };
        self.unwatch(old, out);
    }

    fn watch(&mut self, what: Watched, needs: Vec<gatehouse_xds::Need>, out: &mut Vec<WatchChange>) -> u64 {
        self.next_watch += 1;
        self.watched.insert(self.next_watch, what);
        out.push(WatchChange::Set(gatehouse_xds::Watch { id: self.next_watch, needs }));
        self.next_watch
    }

    fn unwatch(&mut self, id: Option<u64>, out: &mut Vec<WatchChange>) {
        if let Some(id) = id {
            self.watched.remove(&id);
            out.push(WatchChange::Remove(id));
        }
    }

    fn forget_watches(&mut self, fleet: &FleetKey) {
        self.answered.remove(fleet);
        let Watches { needs, hosts } = self.watches.remove(fleet).unwrap_or_default();
        for id in needs.into_values().chain(hosts.into_values()) {
            self.watched.remove(&id);
        }
    }

    fn watches_of(&mut self, fleet: &FleetKey) -> &mut Watches {
        self.watches.entry(fleet.clone()).or_default()
    }

    /// Takes what the xDS server tells of proxies.
    pub(crate) fn proxy(&mut self, event: &Event) {
        match &event.what {
            What::Held { watch, holders, refused } => self.held(*watch, *holders, refused.as_deref()),
            What::Resource(notice) => self.noticed(&event.fleet, notice),
            What::Streams { connected } => {
                tracing::info!(fleet = %event.fleet, connected, "proxies connected");
            }
        }
    }

    fn noticed(&mut self, fleet: &FleetId, notice: &Notice) {
        match notice {
            Notice::Refused { target, version, message } => self.refused(fleet, target, version, message),
            Notice::GateExpired { target, clusters } => {
                for cluster in clusters {
                    if self.cluster_says(fleet, cluster, ClusterNews::Waits(true)) {
                        tracing::warn!(%fleet, resource = %target.1, %cluster, "sent although the cluster is not ready");
                    }
                }
            }
            Notice::Warmed { cluster } => {
                self.cluster_says(fleet, cluster, ClusterNews::Waits(false));
                tracing::info!(%fleet, %cluster, "ready at last");
            }
            Notice::Cleared { target } => {
                self.refusal_of_cluster(fleet, target, None);
                tracing::info!(%fleet, resource = %target.1, "no longer refused");
            }
        }
    }

    fn held(&mut self, watch: u64, holders: usize, refused: Option<&str>) {
        match self.watched.get(&watch).cloned() {
            Some(Watched::Needs(key, digest)) => {
                if let Some(message) = refused {
                    self.world.proxy_says(key, &digest, WatchState::Refused(message.into()));
                } else if holders > 0 {
                    self.world.proxy_says(key, &digest, WatchState::Held);
                }
            }
            Some(Watched::Host(fleet, name, version)) if holders > 0 && refused.is_none() => {
                self.world.host_acknowledged(&fleet, &name, &version);
                self.watched.remove(&watch);
                self.watches_of(&fleet).hosts.remove(&name);
                self.answered.entry(fleet).or_default().push(watch);
            }
            Some(Watched::Host(..)) | None => {}
        }
    }

    fn refused(&mut self, fleet: &FleetId, target: &Target, version: &str, message: &str) {
        self.metrics.refused(target.0);
        tracing::warn!(%fleet, resource = %target.1, "refused by the proxy: {message}");
        if target.0 == ResourceType::VirtualHost
            && let Some(fleet) = fleet_key(fleet)
        {
            self.world.host_refused(&fleet, &target.1, version, &message.into());
        }
        self.refusal_of_cluster(fleet, target, Some(message.into()));
    }

    fn refusal_of_cluster(&mut self, fleet: &FleetId, (kind, name): &Target, message: Option<Arc<str>>) {
        match kind {
            ResourceType::Cluster => self.cluster_says(fleet, name, ClusterNews::Refused(message)),
            ResourceType::Endpoint => self.cluster_says(fleet, name, ClusterNews::EndpointsRefused(message)),
            _ => false,
        };
    }

    fn cluster_says(&mut self, fleet: &FleetId, cluster: &Arc<str>, news: ClusterNews) -> bool {
        fleet_key(fleet).is_some_and(|fleet| self.world.cluster_says(&fleet, cluster, news))
    }

    /// Runs, changes and holds of each stage since the start, as JSON.
    pub(crate) fn stages(&self) -> Option<String> {
        let counters: BTreeMap<_, _> = self
            .world
            .counters()
            .into_iter()
            .map(|(stage, c)| (stage, serde_json::json!([c.computed, c.changed, c.held])))
            .collect();
        serde_json::to_string(&counters).ok()
    }
}

/// The xDS server's name of a fleet.
pub(crate) fn fleet_id(fleet: &FleetKey) -> FleetId {
    FleetId::new(fleet.to_string())
}

/// The fleet of that name.
pub(crate) fn fleet_key(id: &FleetId) -> Option<FleetKey> {
    let (namespace, name) = id.as_str().split_once('/')?;
    Some(FleetKey(NamespacedName::new(namespace, name)))
}
