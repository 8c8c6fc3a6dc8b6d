//! "This resource names that cluster", with counts, so that a commit costs what it changes and not what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_model::{Edge, Target};

use crate::resource::PerType;

/// How a cluster is used across the fleet.
#[derive(Clone, Debug, Default)]
struct Use {
    /// Resources with an edge to it.
    resources: usize,
    /// The longest `linger` since it appeared; an edge that is gone may still have requests.
    longest: Duration,
    exists: bool,
}

/// How many parts of a resource name a cluster: one flat map, since most resources name one.
type Counts = BTreeMap<(Arc<str>, Arc<str>), i64>;

/// The edges of one table, indexed from both ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    from: PerType<Counts>,
    uses: BTreeMap<Arc<str>, Use>,
    /// Named by some resource, but not in the table.
    missing: BTreeSet<Arc<str>>,
}

impl Edges {
    pub(crate) fn add(&mut self, edge: Edge) {
        let (kind, name) = edge.from;
        let key = (name, edge.cluster.clone());
        let before = self.from[kind].get(&key).copied().unwrap_or_default();
        let after = before + i64::from(edge.delta);
        if after == 0 {
            self.from[kind].remove(&key);
        } else {
            self.from[kind].insert(key, after);
        }
        let usage = self.uses.entry(edge.cluster.clone()).or_default();
        usage.longest = usage.longest.max(edge.linger);
        match (before == 0, after == 0) {
            (true, false) => usage.resources += 1,
            (false, true) => usage.resources = usage.resources.saturating_sub(1),
            _ => {}
        }
        self.tidy(&edge.cluster);
    }

    pub(crate) fn cluster_exists(&mut self, cluster: &Arc<str>, exists: bool) {
        self.uses.entry(cluster.clone()).or_default().exists = exists;
        self.tidy(cluster);
    }

    /// Keeps `missing` true and forgets clusters that nobody knows any more.
    fn tidy(&mut self, cluster: &Arc<str>) {
        let Some(usage) = self.uses.get(cluster) else { return };
        let (used, exists) = (usage.resources > 0, usage.exists);
        if used && !exists {
            self.missing.insert(cluster.clone());
        } else {
            self.missing.remove(cluster);
        }
        if !used && !exists {
            self.uses.remove(cluster);
        }
    }

    /// The longest linger of the edges that a cluster had.
    pub(crate) fn longest(&self, cluster: &str) -> Duration {
        self.uses.get(cluster).map_or(Duration::ZERO, |usage| usage.longest)
    }

    /// The clusters that a resource names.
    pub(crate) fn of(&self, (kind, name): &Target) -> impl Iterator<Item = &Arc<str>> {
        let edges = self.from[*kind].range((name.clone(), Arc::default())..);
        edges
            .map(|((from, cluster), _)| (from, cluster))
            .take_while(move |(from, _)| *from == name)
            .map(|(_, c)| c)
    }

    /// Whether a resource names a cluster.
    pub(crate) fn names(&self, (kind, name): &Target, cluster: &Arc<str>) -> bool {
        self.from[*kind].contains_key(&(name.clone(), cluster.clone()))
    }

    /// Clusters that are named and do not exist.
    pub(crate) fn missing(&self) -> &BTreeSet<Arc<str>> {
        &self.missing
    }
}
