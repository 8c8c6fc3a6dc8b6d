//! The desired state of one fleet, with a log of what changed when.
//!
//! The log has one entry per name (a later change moves it to the end), so what a stream has to look at since its
//! cursor is what changed since, and a slow client coalesces for free. Names that are gone stay in the log for a while;
//! a stream that is further behind than that compares everything once.

mod edges;
mod watches;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::{Edge, ResourceType, Target};

use self::edges::Edges;
use self::watches::Watches;
pub use self::watches::{Need, Watch, WatchChange};
use crate::resource::{Label, PerType, Resource};

/// Names that were removed and are still in the log; beyond it the oldest are forgotten.
const REMEMBERED_REMOVALS: usize = 4096;

/// How long after its linger the bytes of a removed cluster are kept for streams that are late.
const GRACE: Duration = Duration::from_mins(1);

/// One atomic change of a fleet's table.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// Resources that are new or changed.
    pub upserts: Vec<(ResourceType, Resource)>,
    /// Resources that are gone.
    pub removals: Vec<Target>,
    /// Changes of "this resource names that cluster".
    pub edges: Vec<Edge>,
    /// Changes of what the caller wants to know about.
    pub watches: Vec<WatchChange>,
    /// When the change behind this commit was first seen, for the end-to-end histogram.
    pub seen: Option<Instant>,
}

/// What the log says changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Change {
    Resource(Target),
    /// One need of a watch was set or unset.
    Need(u64, Target),
    /// A watch has other needs now, or was removed.
    Watch(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    pub(crate) label: Arc<Label>,
    pub(crate) seen: Option<Instant>,
}

impl Entry {
    fn new(resource: Resource, seen: Option<Instant>) -> Self {
        let label = Label { name: resource.name.clone(), version: Some(resource.version.clone()) };
        Self { resource, label: Arc::new(label), seen }
    }
}

/// A cluster that left the table and that clients may still use.
#[derive(Clone, Debug)]
struct Tombstone {
    /// Its endpoints at removal; newer ones in the table win.
    endpoints: Option<Box<Entry>>,
    linger: Duration,
    expires: Instant,
}

/// A secret that left the table. A client that was just sent something that needs it will still ask for it.
#[derive(Clone, Debug)]
struct Retired {
    resource: Resource,
    expires: Instant,
}

/// The resources of one fleet.
#[derive(Debug, Default)]
pub struct Table {
    /// Number of commits applied; zero means that there is no complete snapshot yet.
    revision: u64,
    /// The last position in `log`.
    seq: u64,
    /// Changes by position, one per distinct change.
    log: BTreeMap<u64, Change>,
    /// Where in `log` a change stands.
    positions: BTreeMap<Change, u64>,
    /// Positions of removals, oldest first: candidates to be forgotten.
    removals: VecDeque<u64>,
    /// Removals up to this position may have been forgotten.
    floor: u64,
    /// Boxed: a tree keeps room for about twice what is in it.
    live: PerType<BTreeMap<Arc<str>, Box<Entry>>>,
    tombstones: BTreeMap<Arc<str>, Tombstone>,
    secrets: BTreeMap<Arc<str>, Retired>,
    /// When tombstones and retired secrets end; may name some that came back before.
    expiries: BTreeSet<(Instant, Arc<str>)>,
    pub(crate) edges: Edges,
    pub(crate) watches: Watches,
}

impl Table {
    /// Number of commits applied.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Applies a change and returns the new revision. Cost follows the size of the commit.
    pub fn apply(&mut self, commit: Commit, now: Instant) -> u64 {
        self.revision += 1;
        for edge in commit.edges {
            self.edges.add(edge);
        }
        // Clusters first: a tombstone takes the endpoints along.
        let mut removals = commit.removals;
        removals.sort();
        for (kind, name) in removals {
            self.remove(kind, &name, now);
        }
        for (kind, resource) in commit.upserts {
            self.upsert(kind, resource, commit.seen);
        }
        for (change, removal) in self.watches.apply(commit.watches) {
            self.record(change, removal);
        }
        self.forget(now);
        self.revision
    }

    /// The resource of that name, if it exists.
    pub fn get(&self, kind: ResourceType, name: &str) -> Option<&Resource> {
        self.live[kind].get(name).map(|entry| &entry.resource)
    }

    /// All resources of a type, by name.
    pub fn resources(&self, kind: ResourceType) -> impl Iterator<Item = &Resource> {
        self.live[kind].values().map(|entry| &entry.resource)
    }

    /// The entry of that name; the endpoints of a cluster that left stay visible while clients may use it.
    pub(crate) fn entry(&self, kind: ResourceType, name: &str) -> Option<&Entry> {
        self.live[kind].get(name).map(|entry| &**entry).or_else(|| match kind {
            ResourceType::Endpoint => self.tombstones.get(name)?.endpoints.as_deref(),
            _ => None,
        })
    }

    /// The label of a name and version, the table's own if that is its version.
    pub(crate) fn label(&self, kind: ResourceType, name: &str, version: &str) -> Arc<Label> {
        match self.entry(kind, name) {
            Some(entry) if *entry.resource.version == *version => entry.label.clone(),
            Some(entry) => {
                Arc::new(Label { name: entry.resource.name.clone(), version: Some(version.into()) })
            }
            None => Arc::new(Label { name: name.into(), version: Some(version.into()) }),
        }
    }

    pub(crate) fn contains(&self, kind: ResourceType, name: &str) -> bool {
        self.live[kind].contains_key(name)
    }

    pub(crate) fn names(&self, kind: ResourceType) -> impl Iterator<Item = &Arc<str>> {
        self.live[kind].keys()
    }

    /// The virtual hosts of one route configuration.
    pub(crate) fn virtual_hosts<'t>(&'t self, table: &'t str) -> impl Iterator<Item = &'t Arc<str>> {
        let first: Arc<str> = format!("{table}/").into();
        self.live[ResourceType::VirtualHost]
            .range(first.clone()..)
            .map(|(name, _)| name)
            .take_while(move |name| name.starts_with(&*first))
            .filter(move |name| crate::resource::table_of(name) == Some(table))
    }

    /// A secret that left the table lately.
    pub(crate) fn retired(&self, secret: &str) -> Option<&Resource> {
        self.secrets.get(secret).map(|retired| &retired.resource)
    }

    /// How long a removed cluster was asked to stay.
    pub(crate) fn linger(&self, cluster: &str) -> Duration {
        self.tombstones.get(cluster).map_or(Duration::ZERO, |tombstone| tombstone.linger)
    }

    /// The last position in the log.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// What changed after `cursor`, or nothing when that is too long ago to tell.
    pub(crate) fn since(&self, cursor: u64) -> Option<impl Iterator<Item = &Change>> {
        let bounds = (std::ops::Bound::Excluded(cursor), std::ops::Bound::Unbounded);
        (cursor >= self.floor && cursor > 0).then(|| self.log.range(bounds).map(|(_, change)| change))
    }

    fn upsert(&mut self, kind: ResourceType, resource: Resource, seen: Option<Instant>) {
        let name = resource.name.clone();
        if self.live[kind].get(&name).is_some_and(|old| old.resource == resource) {
            return;
        }
        self.live[kind].insert(name.clone(), Box::new(Entry::new(resource, seen)));
        match kind {
            ResourceType::Cluster => {
                self.tombstones.remove(&name);
                self.edges.cluster_exists(&name, true);
            }
            ResourceType::Secret => drop(self.secrets.remove(&name)),
            _ => {}
        }
        self.record(Change::Resource((kind, name)), false);
    }

    fn remove(&mut self, kind: ResourceType, name: &Arc<str>, now: Instant) {
        let Some(old) = self.live[kind].remove(name) else { return };
        match kind {
            ResourceType::Cluster => {
                let endpoints = self.live[ResourceType::Endpoint].get(name).cloned();
                let linger = self.edges.longest(name);
                let expires = now + linger.max(GRACE) + GRACE;
                self.tombstones.insert(name.clone(), Tombstone { endpoints, linger, expires });
                self.expiries.insert((expires, name.clone()));
                self.edges.cluster_exists(name, false);
            }
            ResourceType::Endpoint => {
                if let Some(tombstone) = self.tombstones.get_mut(name) {
                    tombstone.endpoints = Some(old);
                }
            }
            ResourceType::Secret => {
                let expires = now + GRACE;
                let retired = Retired { resource: old.resource, expires };
                self.secrets.insert(name.clone(), retired);
                self.expiries.insert((expires, name.clone()));
            }
            _ => {}
        }
        self.record(Change::Resource((kind, name.clone())), true);
    }

    fn record(&mut self, change: Change, removal: bool) {
        self.seq += 1;
        if let Some(before) = self.positions.insert(change.clone(), self.seq) {
            self.log.remove(&before);
        }
        self.log.insert(self.seq, change);
        if removal {
            self.removals.push_back(self.seq);
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.removals.len() > REMEMBERED_REMOVALS {
            let Some(position) = self.removals.pop_front() else { break };
            self.floor = position;
            if let Some(change) = self.log.remove(&position) {
                self.positions.remove(&change);
            }
        }
        while self.expiries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((at, name)) = self.expiries.pop_first() else { break };
            if self.tombstones.get(&name).is_some_and(|tombstone| tombstone.expires == at) {
                self.tombstones.remove(&name);
            }
            if self.secrets.get(&name).is_some_and(|retired| retired.expires == at) {
                self.secrets.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
