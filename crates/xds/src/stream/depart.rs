//! Clusters leave last: when nothing that the client has can name them, and a linger later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_model::ResourceType;

use super::Stream;
use super::sub::Pending;
use crate::table::Table;

/// A cluster that is no longer in the table and that the client has.
#[derive(Clone, Copy, Debug)]
struct Departure {
    /// The log position of its removal; also the stamp of the obligation to remove it.
    stamp: u64,
    linger: Duration,
    /// When it may go; unknown while something may name it.
    due: Option<Instant>,
}

/// The clusters that are leaving a stream.
#[derive(Debug, Default)]
pub(super) struct Departures {
    leaving: BTreeMap<Arc<str>, Departure>,
    /// Those that something may still name, by position.
    named: BTreeSet<(u64, Arc<str>)>,
    /// Those that linger, by time.
    due: BTreeSet<(Instant, Arc<str>)>,
}

impl Departures {
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Whether nothing can name the cluster any more.
    pub(super) fn over(&self, cluster: &str, now: Instant) -> bool {
        self.leaving.get(cluster).and_then(|departure| departure.due).is_some_and(|due| due <= now)
    }
}

impl Stream {
    pub(super) fn cluster_changed(&mut self, cluster: &Arc<str>, table: &Table) {
        let kind = ResourceType::Cluster;
        if !self.subs[kind].asked {
            if !table.contains(kind, cluster) {
                // Who was let go with it, or waits for it, need not wait for what is gone.
                self.open(cluster);
            }
            return;
        }
        let Some(entry) = table.entry(kind, cluster) else {
            self.drop_queued(kind, cluster);
            self.clear_refusal(kind, cluster);
            // One that was not warm is not warm either if it comes back.
            if self.subs[kind].known(cluster) {
                self.begin_departure(cluster, table.seq(), table);
            } else {
                self.uncool(cluster);
            }
            return;
        };
        self.cancel_departure(cluster);
        if !self.wants(kind, cluster) {
            return;
        }
        if self.subs[kind].names.get(cluster).is_some_and(|name| name.holds(&entry.resource.version)) {
            self.drop_queued(kind, cluster);
            self.restore(cluster);
            return;
        }
        self.cool(cluster);
        self.queue(kind, cluster, Pending { stamp: table.seq(), seen: entry.seen, ..Pending::default() });
    }

    pub(super) fn begin_departure(&mut self, cluster: &Arc<str>, stamp: u64, table: &Table) {
        if self.departures.leaving.contains_key(cluster) {
            return;
        }
        self.owe(ResourceType::Cluster, stamp);
        let linger = self.config.linger(table.linger(cluster));
        self.departures.leaving.insert(cluster.clone(), Departure { stamp, linger, due: None });
        self.departures.named.insert((stamp, cluster.clone()));
    }

    /// The cluster is in the table again, or is gone.
    pub(super) fn cancel_departure(&mut self, cluster: &Arc<str>) {
        let Some(departure) = self.departures.leaving.remove(cluster) else { return };
        self.settle(ResourceType::Cluster, departure.stamp);
        self.departures.named.remove(&(departure.stamp, cluster.clone()));
        if let Some(due) = departure.due {
            self.departures.due.remove(&(due, cluster.clone()));
        }
        self.drop_queued(ResourceType::Cluster, cluster);
    }

    /// Moves departures on: named, lingering, to be removed.
    pub(super) fn depart(&mut self) {
        while let Some((at, cluster)) = self.departures.due.first().cloned() {
            if at > self.now {
                break;
            }
            self.departures.due.remove(&(at, cluster.clone()));
            let Some(stamp) = self.departures.leaving.get(&cluster).map(|departure| departure.stamp) else {
                continue;
            };
            if !self.subs[ResourceType::Cluster].known(&cluster) {
                // It was refused while it left.
                self.cancel_departure(&cluster);
                self.uncool(&cluster);
            } else if self.settled(&ResourceType::NAMING, stamp) {
                self.queue(ResourceType::Cluster, &cluster, Pending { stamp, ..Pending::default() });
            } else if let Some(departure) = self.departures.leaving.get_mut(&cluster) {
                // The client spoke of names that were unknown when the linger began.
                departure.due = None;
                self.departures.named.insert((stamp, cluster));
            }
        }
        while let Some((stamp, cluster)) = self.departures.named.first().cloned() {
            if !self.settled(&ResourceType::NAMING, stamp) {
                break;
            }
            self.departures.named.pop_first();
            if let Some(departure) = self.departures.leaving.get_mut(&cluster) {
                let due = self.now + departure.linger;
                departure.due = Some(due);
                self.departures.due.insert((due, cluster));
            }
        }
    }
}
