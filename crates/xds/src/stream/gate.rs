//! Warm clusters, and what waits for them.
//!
//! A cluster is warm on a stream when the response that carried it is acknowledged and, if it has endpoints, a response
//! with these that was sent after it is acknowledged too. Envoy withholds the CDS acknowledgement while a cluster warms,
//! except before it is initialised: there its LDS request is the signal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use gatehouse_model::{ResourceType, Target};

use super::Stream;
use super::sub::Pending;
use crate::config::Config;
use crate::event::Notice;
use crate::table::Table;

/// What is known about a cluster that is not warm on the stream.
#[derive(Debug, Default)]
struct Warming {
    /// The number of the response that carried it last; zero: not sent yet.
    sent: u64,
    accepted: bool,
    /// It has its endpoints, or takes none: as it was sent, not as the table is now.
    endpoints: bool,
    /// The client has a version that was warm, and uses it until this one is.
    serving: bool,
}

/// The gates of one stream.
#[derive(Debug, Default)]
pub(super) struct Gates {
    /// Clusters of the table, or leaving, that are not warm.
    cold: BTreeMap<Arc<str>, Warming>,
    /// Which names wait for a cluster; each name waits for one at a time.
    blocked: BTreeMap<Arc<str>, BTreeSet<Target>>,
    /// The same names by the end of their patience, with the cluster that each waits for.
    deadlines: BTreeMap<(Instant, Target), Arc<str>>,
    /// Clusters that a name was let go with although they were not warm: it waits for them only once.
    let_go: BTreeMap<Target, BTreeSet<Arc<str>>>,
    /// Clusters that were named before they were warm, and still are not.
    late: BTreeSet<Arc<str>>,
}

impl Gates {
    pub(super) fn waiting(&self) -> usize {
        self.deadlines.len()
    }

    /// Clusters that were named before they were warm, and still are not.
    #[cfg(test)]
    pub(super) fn late(&self) -> &BTreeSet<Arc<str>> {
        &self.late
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.keys().next().map(|(at, _)| *at)
    }

    /// A name left the queue.
    pub(super) fn forget(&mut self, kind: ResourceType, name: &str, pending: &Pending, config: &Config) {
        let Some(since) = pending.held else { return };
        let key = (since + config.gate_deadline, (kind, Arc::from(name)));
        if let Some(cluster) = self.deadlines.remove(&key) {
            self.unblock(&cluster, &key.1);
        }
    }

    fn unblock(&mut self, cluster: &Arc<str>, target: &Target) {
        if let Some(targets) = self.blocked.get_mut(cluster) {
            targets.remove(target);
            if targets.is_empty() {
                self.blocked.remove(cluster);
            }
        }
    }
}

impl Stream {
    /// The first cluster that a resource has to wait for. Costs the smaller of the number of clusters that
    /// are not warm and the number of clusters that the resource names.
    pub(super) fn blocker(&self, target: &Target, table: &Table) -> Option<Arc<str>> {
        let missing = table.edges.missing();
        let unknown = !self.subs[ResourceType::Cluster].asked;
        let cold = self.gates.cold.len() + missing.len();
        if unknown || table.edges.of(target).nth(cold).is_none() {
            return table.edges.of(target).find(|cluster| !self.ready(target, cluster)).cloned();
        }
        let cold = self.gates.cold.keys().chain(missing);
        let mut named = cold.filter(|cluster| table.edges.names(target, cluster));
        named.find(|cluster| !self.ready(target, cluster)).cloned()
    }

    /// All clusters that a resource names and that are not warm.
    fn blockers(&self, target: &Target, table: &Table) -> Vec<Arc<str>> {
        table.edges.of(target).filter(|cluster| !self.warm(cluster)).cloned().collect()
    }

    /// A cluster of which the client never spoke is not warm.
    fn warm(&self, cluster: &str) -> bool {
        let clusters = &self.subs[ResourceType::Cluster];
        let held = clusters.names.get(cluster).is_some_and(|name| name.held().is_some());
        clusters.asked && held && !self.gates.cold.contains_key(cluster)
    }

    /// The cluster is warm, or the client may have a version of the resource that names it already.
    fn ready(&self, target: &Target, cluster: &str) -> bool {
        self.warm(cluster) || self.gates.let_go.get(target).is_some_and(|clusters| clusters.contains(cluster))
    }

    /// Naming the cluster breaks nothing that the client does not have already.
    pub(super) fn in_use(&self, target: &Target, cluster: &str, table: &Table) -> bool {
        let kind = ResourceType::Cluster;
        let sent = self.subs[kind].names.get(cluster).is_some_and(|name| name.flying > 0);
        let leaving = sent && !table.contains(kind, cluster);
        let serving = self.gates.cold.get(cluster).is_some_and(|warming| warming.serving);
        !leaving && (serving || self.ready(target, cluster))
    }

    /// The cluster was sent on this stream, and may wait for its endpoints.
    pub(super) fn may_warm(&self, cluster: &str) -> bool {
        let flying = self.subs[ResourceType::Cluster].names.get(cluster).is_some_and(|name| name.flying > 0);
        flying || self.gates.cold.get(cluster).is_some_and(|warming| warming.sent > 0)
    }

    /// Lets a queued name wait for a cluster.
    pub(super) fn park(&mut self, target: Target, cluster: Arc<str>) {
        let (kind, name) = &target;
        let queue = &mut self.subs[*kind].queue;
        queue.park(name);
        let Some(pending) = queue.pending.get_mut(name) else { return };
        let since = *pending.held.get_or_insert(self.now);
        let key = (since + self.config.gate_deadline, target.clone());
        if let Some(before) = self.gates.deadlines.insert(key, cluster.clone()) {
            self.gates.unblock(&before, &target);
        }
        self.gates.blocked.entry(cluster).or_default().insert(target);
    }

    /// Names that waited long enough go out now.
    pub(super) fn expire_gates(&mut self) {
        while let Some(entry) = self.gates.deadlines.first_entry() {
            let (at, (kind, name)) = entry.key().clone();
            if at > self.now {
                break;
            }
            let cluster = entry.remove();
            self.gates.unblock(&cluster, &(kind, name.clone()));
            let queue = &mut self.subs[kind].queue;
            if let Some(pending) = queue.pending.get_mut(&name) {
                pending.expired = true;
            }
            queue.wake(&name);
        }
    }

    /// A resource goes out. Says so if it does although clusters are not warm, which it need not wait for again.
    pub(super) fn let_go(&mut self, target: &Target, expired: bool, table: &Table) {
        if !expired && !self.gates.let_go.contains_key(target) {
            return;
        }
        let clusters = self.blockers(target, table);
        if expired && !clusters.is_empty() {
            self.gates.late.extend(clusters.iter().cloned());
            self.out.notices.push(Notice::GateExpired { target: target.clone(), clusters: clusters.clone() });
        }
        if clusters.is_empty() {
            self.gates.let_go.remove(target);
        } else {
            self.gates.let_go.insert(target.clone(), clusters.into_iter().collect());
        }
    }

    /// A removal goes out: what was sent before and is acknowledged later proves nothing any more.
    pub(super) fn removal_sent(&mut self, target: &Target) {
        self.gates.let_go.remove(target);
        if target.0 == ResourceType::Cluster
            && let Some(warming) = self.gates.cold.get_mut(&target.1)
        {
            *warming = Warming::default();
        }
    }

    /// The client has to get this version of a cluster; until then the cluster is not warm.
    pub(super) fn cool(&mut self, cluster: &Arc<str>) {
        let names = &self.subs[ResourceType::Cluster].names;
        let settled = names.get(cluster).is_some_and(|name| !name.uncertain && name.flying == 0);
        let serving = settled && self.warm(cluster);
        let fresh = || Warming { serving, ..Warming::default() };
        self.gates.cold.entry(cluster.clone()).or_insert_with(fresh);
    }

    pub(super) fn cluster_sent(&mut self, cluster: &Arc<str>, number: u64, table: &Table) {
        let endpoints = !table.contains(ResourceType::Endpoint, cluster);
        let warming = self.gates.cold.entry(cluster.clone()).or_default();
        *warming = Warming { sent: number, accepted: false, endpoints, serving: warming.serving };
    }

    pub(super) fn cluster_accepted(&mut self, cluster: &Arc<str>, number: u64) {
        if let Some(warming) = self.gates.cold.get_mut(cluster)
            && warming.sent == number
        {
            warming.accepted = true;
            self.check_warm(cluster);
        }
    }

    pub(super) fn endpoints_accepted(&mut self, cluster: &Arc<str>, number: u64) {
        if let Some(warming) = self.gates.cold.get_mut(cluster)
            && (warming.sent > 0 || warming.accepted)
            && number > warming.sent
        {
            warming.endpoints = true;
            self.check_warm(cluster);
        }
    }

    fn check_warm(&mut self, cluster: &Arc<str>) {
        let Some(warming) = self.gates.cold.get(cluster) else { return };
        let initialised = self.subs[ResourceType::Listener].asked;
        if warming.accepted && initialised && warming.endpoints {
            self.gates.cold.remove(cluster);
            self.open(cluster);
        }
    }

    /// The client asked for listeners: its first clusters are warm.
    pub(super) fn check_all_warm(&mut self) {
        let cold: Vec<_> = self.gates.cold.keys().cloned().collect();
        for cluster in cold {
            self.check_warm(&cluster);
        }
    }

    /// The client came with this version of a cluster. That is all it needs if it came with endpoints too, or does so
    /// in a moment; before it is initialised it may have the one and not the other.
    pub(super) fn cluster_presented(&mut self, cluster: &Arc<str>, table: &Table) {
        let kind = ResourceType::Endpoint;
        let held = self.subs[kind].names.get(cluster).is_some_and(|name| name.held().is_some());
        let endpoints = held || !table.contains(kind, cluster);
        self.gates
            .cold
            .insert(cluster.clone(), Warming { sent: 0, accepted: true, endpoints, serving: false });
    }

    pub(super) fn endpoints_presented(&mut self, cluster: &Arc<str>) {
        if let Some(warming) = self.gates.cold.get_mut(cluster)
            && warming.sent == 0
        {
            warming.endpoints = true;
            self.check_warm(cluster);
        }
    }

    /// The table is back at the version that the client has, before it heard of another one.
    pub(super) fn restore(&mut self, cluster: &Arc<str>) {
        if self.gates.cold.get(cluster).is_some_and(|warming| warming.sent > 0 || warming.accepted) {
            self.check_warm(cluster);
        } else {
            self.uncool(cluster);
        }
    }

    /// The cluster is warm without having been sent again: its old version stays, or it left.
    pub(super) fn uncool(&mut self, cluster: &Arc<str>) {
        self.gates.cold.remove(cluster);
        self.open(cluster);
    }

    /// Looks again at everything that waited for a cluster.
    pub(super) fn open(&mut self, cluster: &Arc<str>) {
        if self.gates.late.remove(cluster) {
            self.out.notices.push(Notice::Warmed { cluster: cluster.clone() });
        }
        for (kind, name) in self.gates.blocked.remove(cluster).unwrap_or_default() {
            let queue = &mut self.subs[kind].queue;
            if let Some(since) = queue.pending.get(&name).and_then(|pending| pending.held) {
                self.gates.deadlines.remove(&(since + self.config.gate_deadline, (kind, name.clone())));
            }
            queue.wake(&name);
        }
    }
}
