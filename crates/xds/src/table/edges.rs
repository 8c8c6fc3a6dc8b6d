//! "This resource names that cluster", with counts, so that a commit costs what it changes and not what it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_model::{Edge, ResourceType};

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

/// How many parts of a resource name a cluster.
pub(crate) type Counts = BTreeMap<Arc<str>, i64>;

/// The edges of one table, indexed from both ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edges {
    from: PerType<BTreeMap<Arc<str>, Counts>>,
    uses: BTreeMap<Arc<str>, Use>,
    /// Named by some resource, but not in the table.
    missing: BTreeSet<Arc<str>>,
}

impl Edges {
    pub(crate) fn add(&mut self, edge: Edge) {
        let (kind, name) = edge.from;
        let targets = self.from[kind].entry(name.clone()).or_default();
        let count = targets.entry(edge.cluster.clone()).or_default();
        let before = *count;
        *count += i64::from(edge.delta);
        let after = *count;
        if after == 0 {
            targets.remove(&edge.cluster);
            if targets.is_empty() {
                self.from[kind].remove(&name);
            }
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
    pub(crate) fn of(&self, kind: ResourceType, name: &str) -> Option<&Counts> {
        self.from[kind].get(name)
    }

    /// Clusters that are named and do not exist.
    pub(crate) fn missing(&self) -> &BTreeSet<Arc<str>> {
        &self.missing
    }
}
