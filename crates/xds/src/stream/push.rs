//! From the queue to responses.

use std::sync::Arc;
use std::time::Instant;

use gatehouse_model::{Body, Interim, ResourceType, Target};

use super::sub::{Flight, Item, Pending};
use super::{Response, Stage, Stream};
use crate::table::{Entry, Table};

/// Cluster responses that may be in flight while an older one is stuck.
const MAX_CLUSTER_FLIGHTS: usize = 16;

/// What to do with a queued name.
enum Verdict {
    /// The client has it, or must not get it.
    Nothing,
    Send(Body),
    /// These bytes now, the others when the cluster is warm.
    Interim(Body, Arc<str>),
    Remove,
    /// Wait for a cluster.
    Park(Arc<str>),
    /// Look again with the next input.
    Wait,
}

/// A response in the making.
#[derive(Default)]
struct Batch {
    resources: Vec<(Body, Item)>,
    removed: Vec<Item>,
}

impl Stream {
    /// Sends what may be sent of one type.
    pub(super) fn pump(&mut self, kind: ResourceType, table: &Table) {
        if !self.subs[kind].asked {
            return;
        }
        for group in std::mem::take(&mut self.subs[kind].retry) {
            let batch = self.collect(kind, group, table);
            self.fly(kind, batch, true, table);
        }
        if self.subs[kind].first {
            self.first_answer(kind, table);
            return;
        }
        let answers = std::mem::take(&mut self.subs[kind].queue.answers);
        let batch = self.collect(kind, answers, table);
        self.send(kind, batch, table);
        if self.may_push(kind) {
            let ready = std::mem::take(&mut self.subs[kind].queue.ready);
            let batch = self.collect(kind, ready, table);
            self.send(kind, batch, table);
        }
    }

    /// The first answer is complete, even when it is empty: Envoy takes it as all there is.
    fn first_answer(&mut self, kind: ResourceType, table: &Table) {
        let queue = &self.subs[kind].queue;
        let names: Vec<_> = queue.ready.iter().chain(&queue.answers).cloned().collect();
        for name in &names {
            if let Verdict::Park(cluster) = self.verdict(kind, name, table) {
                self.park((kind, name.clone()), cluster);
            }
        }
        if self.subs[kind].queue.all_ready() {
            self.subs[kind].first = false;
            let batch = self.collect(kind, names, table);
            self.fly(kind, batch, false, table);
        }
    }

    /// One response in flight per type. Clusters are the exception when Envoy withholds an acknowledgement for long.
    fn may_push(&self, kind: ResourceType) -> bool {
        let flights = &self.subs[kind].flights;
        flights.is_empty()
            || (kind == ResourceType::Cluster
                && flights.len() < MAX_CLUSTER_FLIGHTS
                && self.patience_ends().is_some_and(|at| at <= self.now))
    }

    /// When further clusters are sent although a response is not acknowledged.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        let newest = self.subs[ResourceType::Cluster].flights.back()?;
        Some(newest.sent + self.config.cluster_patience)
    }

    fn collect(
        &mut self,
        kind: ResourceType,
        names: impl IntoIterator<Item = Arc<str>>,
        table: &Table,
    ) -> Batch {
        let mut batch = Batch::default();
        for name in names {
            match self.verdict(kind, &name, table) {
                Verdict::Nothing => {
                    self.drop_queued(kind, &name);
                    self.clear_overtaken(kind, &name, table);
                }
                Verdict::Wait => self.subs[kind].queue.wake(&name),
                Verdict::Park(cluster) => self.park((kind, name), cluster),
                Verdict::Interim(body, cluster) => {
                    self.park((kind, name.clone()), cluster);
                    let version = Some(body.version.clone());
                    batch.resources.push((body, Item { name, version, stamp: None, seen: None }));
                }
                Verdict::Send(body) => {
                    let Some(pending) = self.unqueue(kind, &name) else { continue };
                    if kind.names_clusters() {
                        self.let_go(&(kind, name.clone()), pending.expired, table);
                    }
                    let version = Some(body.version.clone());
                    batch.resources.push((body, item(name, version, &pending)));
                }
                Verdict::Remove => {
                    let Some(pending) = self.unqueue(kind, &name) else { continue };
                    self.removal_sent(&(kind, name.clone()));
                    batch.removed.push(item(name, None, &pending));
                }
            }
        }
        batch
    }

    fn verdict(&self, kind: ResourceType, name: &Arc<str>, table: &Table) -> Verdict {
        let sub = &self.subs[kind];
        let Some(pending) = sub.queue.pending.get(name) else { return Verdict::Nothing };
        let placed = kind != ResourceType::VirtualHost || self.has_table_of(name);
        let Some(entry) = table.entry(kind, name).filter(|_| placed) else {
            return self.verdict_gone(kind, name, pending, table);
        };
        let version = &entry.resource.version;
        if !pending.force {
            let has = sub.names.get(name).is_some_and(|state| state.holds(version));
            let refused = sub.refused.get(name).is_some_and(|refusal| refusal.version == *version);
            if has || refused {
                return Verdict::Nothing;
            }
        }
        let target: Target = (kind, name.clone());
        let gated = kind.names_clusters() && !pending.expired;
        let Some(cluster) = gated.then(|| self.blocker(&target, table)).flatten() else {
            return Verdict::Send(entry.resource.main());
        };
        match self.interim(&target, entry, table) {
            Some(Interim::Whole) => Verdict::Send(entry.resource.main()),
            Some(Interim::Instead { body, .. }) => Verdict::Interim(body.clone(), cluster),
            None => Verdict::Park(cluster),
        }
    }

    /// What takes access away now, if the client has something to lose and can use what is left.
    fn interim<'t>(&self, target: &Target, entry: &'t Entry, table: &Table) -> Option<&'t Interim> {
        let sub = &self.subs[target.0];
        let state = sub.names.get(&target.1).filter(|state| state.known())?;
        let interim = entry.resource.interim.as_deref()?;
        let fits = match interim {
            Interim::Whole => {
                let mut named = table.edges.of(target);
                named.all(|cluster| self.in_use(target, cluster, table))
            }
            Interim::Instead { body, clusters } => {
                let refused = sub.refused.get(&target.1).is_some_and(|bad| bad.version == body.version);
                let had = refused || state.holds(&body.version);
                !had && clusters.iter().all(|cluster| self.in_use(target, cluster, table))
            }
        };
        fits.then_some(interim)
    }

    fn verdict_gone(&self, kind: ResourceType, name: &str, pending: &Pending, table: &Table) -> Verdict {
        let using = [ResourceType::Cluster, ResourceType::Listener];
        let clusters = &self.subs[ResourceType::Cluster];
        if pending.answer {
            let retired = (kind == ResourceType::Secret).then(|| table.retired(name)).flatten();
            return match retired {
                // What was sent just before, or on a former stream, names it and would wait for it.
                Some(secret) if !clusters.asked || !self.settled(&using, table.seq()) => {
                    Verdict::Send(secret.main())
                }
                _ => Verdict::Remove,
            };
        }
        if !self.subs[kind].known(name) {
            return Verdict::Nothing;
        }
        let free = match kind {
            ResourceType::Cluster if !self.departures.over(name, self.now) => return Verdict::Nothing,
            // Endpoints are not removed before their cluster.
            ResourceType::Endpoint => match table.get(ResourceType::Cluster, name) {
                Some(cluster) => clusters.names.get(name).is_some_and(|state| state.holds(&cluster.version)),
                None => clusters.asked && !clusters.known(name),
            },
            ResourceType::Secret => self.settled(&using, pending.stamp),
            _ => true,
        };
        if free { Verdict::Remove } else { Verdict::Wait }
    }

    /// A bad route configuration would take good ones along, so these travel alone.
    fn send(&mut self, kind: ResourceType, batch: Batch, table: &Table) {
        let mut rest = batch;
        if kind == ResourceType::RouteConfiguration {
            for resource in std::mem::take(&mut rest.resources) {
                self.fly(kind, Batch { resources: vec![resource], removed: Vec::new() }, false, table);
            }
        }
        if !rest.resources.is_empty() || !rest.removed.is_empty() {
            self.fly(kind, rest, false, table);
        }
    }

    fn fly(&mut self, kind: ResourceType, batch: Batch, retried: bool, table: &Table) {
        if retried && batch.resources.is_empty() && batch.removed.is_empty() {
            return;
        }
        self.sends += 1;
        let number = self.sends;
        let mut response = Response {
            kind,
            nonce: number.to_string(),
            revision: table.revision(),
            resources: Vec::with_capacity(batch.resources.len()),
            removed: batch.removed.iter().map(|item| item.name.clone()).collect(),
        };
        let mut items = batch.removed;
        for (body, item) in batch.resources {
            response.resources.push((item.name.clone(), body));
            if kind == ResourceType::Cluster {
                self.cluster_sent(&item.name, number, table);
                self.follow_with_endpoints(&item.name, table);
            }
            items.push(item);
        }
        for item in &items {
            self.subs[kind].name(&item.name).flying += 1;
            if let Some(seen) = item.seen {
                self.out.timings.push((kind, Stage::Sent, self.now.saturating_duration_since(seen)));
            }
        }
        self.subs[kind].flights.push_back(Flight { number, sent: self.now, items, retried });
        self.out.responses.push(response);
    }

    /// Envoy waits for the endpoints of a cluster that it has got anew, and does not ask when it has subscribed before.
    fn follow_with_endpoints(&mut self, cluster: &Arc<str>, table: &Table) {
        let kind = ResourceType::Endpoint;
        if self.subs[kind].subscribed(cluster) && table.entry(kind, cluster).is_some() {
            let stamp = table.seq();
            self.queue(kind, cluster, Pending { stamp, force: true, answer: true, ..Pending::default() });
        }
    }
}

fn item(name: Arc<str>, version: Option<Arc<str>>, pending: &Pending) -> Item {
    Item { name, version, stamp: Some(pending.stamp), seen: pending.seen }
}
