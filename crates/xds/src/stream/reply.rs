//! Acknowledgements and refusals.
//!
//! A refusal is about a response, not a resource: every name in it is uncertain afterwards. The names are sent again in
//! smaller groups until the bad one stands alone; those that stand alone get one more chance at the end, since what was
//! wrong with one may have been the missing change of another.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatehouse_model::ResourceType;

use super::sub::{Flight, Item, Pending, Refusal};
use super::{Stage, Stream};
use crate::event::Notice;
use crate::table::Table;

/// Names in a refusal's message that are believed at once; more of them say nothing.
const MAX_NAMED: usize = 8;

impl Stream {
    pub(super) fn reply(&mut self, kind: ResourceType, request: &DeltaDiscoveryRequest, table: &Table) {
        let sub = &mut self.subs[kind];
        let number = request.response_nonce.parse::<u64>().ok();
        let Some(at) = sub.flights.iter().position(|flight| Some(flight.number) == number) else { return };
        let Some(flight) = sub.flights.remove(at) else { return };
        for item in &flight.items {
            let name = sub.name(&item.name);
            name.flying = name.flying.saturating_sub(1);
        }
        self.out.replies.push((kind, request.error_detail.is_none()));
        match &request.error_detail {
            // Nothing in a removal can be wrong; sending it again would not end.
            Some(error) if flight.items.iter().any(|item| item.version.is_some()) => {
                self.refused(kind, flight, &error.message, table);
            }
            _ => self.accepted(kind, flight, table),
        }
        self.next_round(kind);
    }

    fn accepted(&mut self, kind: ResourceType, flight: Flight, table: &Table) {
        for item in flight.items {
            let sub = &mut self.subs[kind];
            let wildcard = sub.wildcard;
            let state = sub.name(&item.name);
            match &item.version {
                Some(version) if wildcard || state.subscribed => {
                    state.hold(table.label(kind, &item.name, version));
                }
                _ => state.hold_nothing(),
            }
            state.uncertain = false;
            sub.tidy(&item.name);
            if let Some(stamp) = item.stamp {
                self.settle(kind, stamp);
                self.clear_refusal(kind, &item.name);
            }
            if let Some(seen) = item.seen {
                self.out.timings.push((kind, Stage::Acked, self.now.saturating_duration_since(seen)));
            }
            match kind {
                ResourceType::Cluster if item.version.is_none() => self.cluster_gone(&item.name, table),
                ResourceType::Cluster => self.cluster_accepted(&item.name, flight.number),
                // Removed endpoints end the warming too, with no hosts: that is not warm.
                ResourceType::Endpoint if item.version.is_some() => {
                    self.endpoints_accepted(&item.name, flight.number);
                }
                ResourceType::RouteConfiguration if item.version.is_some() => {
                    self.route_accepted(&item.name, table);
                }
                _ => {}
            }
            self.held_changed(kind, &item.name, table);
        }
    }

    fn cluster_gone(&mut self, cluster: &Arc<str>, table: &Table) {
        // Unless it was sent again behind its removal.
        if !table.contains(ResourceType::Cluster, cluster) && !self.subs[ResourceType::Cluster].known(cluster)
        {
            self.cancel_departure(cluster);
            self.uncool(cluster);
        }
    }

    fn route_accepted(&mut self, route: &Arc<str>, table: &Table) {
        if self.subs[ResourceType::RouteConfiguration].subscribed(route) && self.tables.insert(route.clone())
        {
            self.queue_virtual_hosts(route, true, table);
        }
    }

    fn refused(&mut self, kind: ResourceType, mut flight: Flight, message: &str, table: &Table) {
        if flight.items.len() == 1
            && let Some(item) = flight.items.pop()
        {
            if flight.retried && !self.subs[kind].last_round {
                self.subs[kind].provisional.push(item.name.clone());
                self.requeue(kind, &item, table);
            } else {
                self.convict(kind, item, message, table);
            }
            return;
        }
        for item in &flight.items {
            self.subs[kind].name(&item.name).uncertain = true;
            self.requeue(kind, item, table);
            self.held_changed(kind, &item.name, table);
        }
        let groups = regroup(&flight.items, message);
        self.subs[kind].retry.extend(groups);
    }

    /// Keeps a name queued, to be sent with its group.
    fn requeue(&mut self, kind: ResourceType, item: &Item, table: &Table) {
        let stamp = item.stamp.unwrap_or(table.seq());
        self.queue(kind, &item.name, Pending { stamp, force: true, ..Pending::default() });
        // The queue took the obligation over.
        if let Some(stamp) = item.stamp {
            self.settle(kind, stamp);
        }
        self.subs[kind].queue.park(&item.name);
        if kind == ResourceType::Cluster && table.contains(kind, &item.name) {
            self.cool(&item.name);
        }
    }

    /// These bytes of this name are bad: they were refused alone.
    fn convict(&mut self, kind: ResourceType, item: Item, message: &str, table: &Table) {
        let Some(version) = item.version else { return };
        if !table.contains(kind, &item.name) {
            // It is gone meanwhile: nobody has anything to mend.
            if let Some(stamp) = item.stamp {
                self.settle(kind, stamp);
            }
            return;
        }
        let stamp = item.stamp.unwrap_or_else(|| {
            self.owe(kind, table.seq());
            table.seq()
        });
        let refusal = Refusal { version: version.clone(), stamp };
        let before = self.subs[kind].refused.insert(item.name.clone(), refusal);
        if let Some(before) = &before {
            self.settle(kind, before.stamp);
        }
        if before.is_none_or(|before| before.version != version) {
            let message = message.to_owned();
            self.out.notices.push(Notice::Refused { target: (kind, item.name.clone()), version, message });
        }
        let keeps_old = self.subs[kind].names.get(&item.name).is_some_and(|name| name.held().is_some());
        if kind == ResourceType::Cluster && keeps_old {
            self.uncool(&item.name);
        }
    }

    pub(super) fn clear_refusal(&mut self, kind: ResourceType, name: &Arc<str>) {
        if let Some(refusal) = self.subs[kind].refused.remove(name) {
            self.settle(kind, refusal.stamp);
            self.out.notices.push(Notice::Cleared { target: (kind, name.clone()) });
        }
    }

    /// The table went back from the refused version to the one that the client has.
    pub(super) fn clear_overtaken(&mut self, kind: ResourceType, name: &Arc<str>, table: &Table) {
        let wanted = table.get(kind, name).map(|resource| &resource.version);
        let refused = self.subs[kind].refused.get(name).map(|refusal| &refusal.version);
        if refused.is_some() && refused != wanted {
            self.clear_refusal(kind, name);
        }
    }

    /// When all groups are answered, those that were refused alone are tried once more, and then believed.
    fn next_round(&mut self, kind: ResourceType) {
        let sub = &mut self.subs[kind];
        if sub.flights.is_empty() && sub.retry.is_empty() {
            let names = std::mem::take(&mut sub.provisional);
            sub.last_round = !names.is_empty();
            sub.retry.extend(names.into_iter().map(|name| vec![name]));
        }
    }
}

/// Smaller groups: what the message names stands alone, else halves. Removals cannot be the reason.
fn regroup(items: &[Item], message: &str) -> Vec<Vec<Arc<str>>> {
    let (removed, sent): (Vec<_>, Vec<_>) = items.iter().partition(|item| item.version.is_none());
    let removed: Vec<_> = removed.into_iter().map(|item| item.name.clone()).collect();
    let sent: Vec<_> = sent.into_iter().map(|item| item.name.clone()).collect();
    let (named, rest): (Vec<_>, Vec<_>) = sent.iter().cloned().partition(|name| message.contains(&**name));
    let mut groups = vec![removed];
    if named.is_empty() || named.len() > MAX_NAMED {
        let (left, right) = sent.split_at(sent.len() / 2);
        groups.extend([left.to_vec(), right.to_vec()]);
    } else {
        groups.push(rest);
        groups.extend(named.into_iter().map(|name| vec![name]));
    }
    groups.retain(|group| !group.is_empty());
    groups
}
