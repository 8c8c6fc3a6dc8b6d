//! One client's stream: a pure state machine.
//!
//! ```text
//! request | table change | clock --> handle() --> responses, notices, when to wake up
//!
//!   pull     what changed since the cursor is queued, by type        (mod stream)
//!   request  subscriptions queue answers, ACK and NACK settle        (request, reply)
//!   gate     a name whose clusters are not warm waits, at most 1 s   (gate)
//!   depart   a cluster leaves last, and lingers                      (depart)
//!   pump     what may go is put into responses, by rank              (push)
//!   report   what the client holds or refused is told                (holds)
//! ```
//!
//! An *obligation* is a name on which the client is behind, stamped with the log position at which it fell behind. It
//! lives in the queue, in a response in flight or in a refusal, and ends with an acknowledgement. `unsettled` counts
//! them, so "everything that was pending then is acknowledged" is one look at the smallest stamp.

mod depart;
mod gate;
mod holds;
mod push;
mod reply;
mod request;
mod sub;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use gatehouse_model::{Body, ResourceType, Target};

use self::depart::Departures;
use self::gate::Gates;
use self::holds::Holds;
use self::sub::{Name, Pending, Sub};
use crate::config::Config;
use crate::event::Notice;
use crate::resource::{PerType, table_of};
use crate::table::{Change, Table};

/// What happens to a stream.
#[derive(Debug)]
pub enum Input<'a> {
    /// The client sent a request.
    Request(&'a DeltaDiscoveryRequest),
    /// The table changed, or the time of [`Output::wake`] has come.
    Wake,
}

/// A response to be sent, made of shared bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The type of everything in it.
    pub kind: ResourceType,
    /// Pairs it with its acknowledgement.
    pub nonce: String,
    /// The table's revision, for people who look at dumps.
    pub revision: u64,
    /// Names and bytes.
    pub resources: Vec<(Arc<str>, Body)>,
    /// Names that are gone.
    pub removed: Vec<Arc<str>>,
}

/// Whether the client holds everything that a watch needs; said anew for each generation of the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The watch.
    pub watch: u64,
    /// The generation of the watch that this is about.
    pub generation: u64,
    /// The answer.
    pub held: bool,
}

/// Where in its way to the client a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Handed to the transport.
    Sent,
    /// Acknowledged by the client.
    Acked,
}

/// What a stream wants done.
#[derive(Debug, Default)]
pub struct Output {
    /// Responses, in the order in which they must be sent.
    pub responses: Vec<Response>,
    /// How resources fared with the client.
    pub notices: Vec<Notice>,
    /// What the client holds or does not hold any more.
    pub holdings: Vec<Holding>,
    /// Time from "change seen" to a stage.
    pub timings: Vec<(ResourceType, Stage, Duration)>,
    /// How the client answered responses: type, and whether it accepted.
    pub replies: Vec<(ResourceType, bool)>,
    /// When to call again at the latest.
    pub wake: Option<Instant>,
}

/// The state machine of one client.
#[derive(Debug)]
pub struct Stream {
    config: Config,
    now: Instant,
    /// The log position up to which changes were queued; zero: nothing seen yet.
    cursor: u64,
    /// Counts responses; also their nonce.
    sends: u64,
    subs: PerType<Sub>,
    /// Obligations by stamp.
    unsettled: PerType<BTreeMap<u64, usize>>,
    /// Route configurations that the client has since it subscribed to them: only their virtual hosts find a place.
    tables: BTreeSet<Arc<str>>,
    gates: Gates,
    departures: Departures,
    holds: Holds,
    /// Names that the client may have from a refused response of a former stream without saying so.
    doubts: BTreeSet<Target>,
    out: Output,
}

impl Stream {
    /// A stream on which nothing was said yet.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config,
            now,
            cursor: 0,
            sends: 0,
            subs: PerType::default(),
            unsettled: PerType::default(),
            tables: BTreeSet::new(),
            gates: Gates::default(),
            departures: Departures::default(),
            holds: Holds::default(),
            doubts: BTreeSet::new(),
            out: Output::default(),
        }
    }

    /// Takes one input and says what to do. The table may have changed since the last call; time never goes back.
    pub fn handle(&mut self, input: &Input<'_>, table: &Table, now: Instant) -> Output {
        self.now = now;
        self.pull(table);
        if let Input::Request(request) = input {
            self.request(request, table);
        }
        self.expire_gates();
        self.depart();
        for kind in ResourceType::ALL {
            self.pump(kind, table);
        }
        self.report_holds(table);
        self.out.wake = self.next_wake();
        std::mem::take(&mut self.out)
    }

    /// What the client may have without knowing its version: for the next stream of the same client.
    pub fn doubts(&self) -> BTreeSet<Target> {
        let mut doubts = self.doubts.clone();
        for kind in ResourceType::ALL {
            let uncertain = self.subs[kind].names.iter().filter(|name| name.uncertain || name.flying > 0);
            doubts.extend(uncertain.map(|name| (kind, name.name().clone())));
        }
        doubts
    }

    /// Takes over what a former stream of the same client was uncertain about, before the first request is handled.
    pub fn doubt(&mut self, doubts: BTreeSet<Target>) {
        self.doubts.extend(doubts);
    }

    /// Names that wait for clusters to be warm.
    pub fn gated(&self) -> usize {
        self.gates.waiting()
    }

    /// The version of a resource that the client is known to have.
    pub fn held(&self, kind: ResourceType, name: &str) -> Option<&Arc<str>> {
        self.subs[kind].names.get(name).filter(|name| !name.uncertain)?.held()
    }

    /// Queues what changed since the cursor: cost follows the change.
    fn pull(&mut self, table: &Table) {
        match table.since(self.cursor) {
            Some(changes) => changes.for_each(|change| self.changed(change, table)),
            None if self.cursor < table.seq() => self.resync(table),
            None => {}
        }
        self.cursor = table.seq();
    }

    /// Looks at every name once: for a new stream, and for one that is so late that the log no longer reaches back.
    fn resync(&mut self, table: &Table) {
        for kind in ResourceType::ALL {
            let mut names: BTreeSet<Arc<str>> =
                self.subs[kind].names.iter().map(Name::name).cloned().collect();
            if self.subs[kind].wildcard {
                names.extend(table.names(kind).cloned());
            }
            for name in names {
                self.changed(&Change::Resource((kind, name)), table);
            }
        }
        self.reset_holds(table);
    }

    fn changed(&mut self, change: &Change, table: &Table) {
        match change {
            Change::Resource((ResourceType::Cluster, name)) => self.cluster_changed(name, table),
            Change::Resource((kind, name)) => self.resource_changed(*kind, name, table),
            Change::Need(watch, target) => self.check_need(*watch, target, table),
            Change::Watch(watch) => self.holds.renew(*watch),
        }
    }

    fn resource_changed(&mut self, kind: ResourceType, name: &Arc<str>, table: &Table) {
        let gone = !table.contains(kind, name);
        if self.wants(kind, name) || (gone && self.subs[kind].known(name)) {
            let seen = table.entry(kind, name).and_then(|entry| entry.seen);
            let behind = self.subs[kind].refused.get(name).map_or(table.seq(), |refusal| refusal.stamp);
            self.queue(kind, name, Pending { stamp: behind, seen, ..Pending::default() });
        }
        if gone {
            self.clear_refusal(kind, name);
        }
    }

    /// Whether a resource of this name is of use to the client.
    fn wants(&self, kind: ResourceType, name: &str) -> bool {
        let sub = &self.subs[kind];
        let subscribed = sub.wildcard || sub.subscribed(name);
        sub.asked && subscribed && (kind != ResourceType::VirtualHost || self.has_table_of(name))
    }

    /// Envoy drops virtual hosts of a route configuration that it does not have, yet believes that it has them.
    fn has_table_of(&self, virtual_host: &str) -> bool {
        table_of(virtual_host).is_some_and(|table| self.tables.contains(table))
    }

    fn queue(&mut self, kind: ResourceType, name: &Arc<str>, pending: Pending) {
        let stamp = pending.stamp;
        let before = self.subs[kind].queue.add(name, pending);
        if before.is_none_or(|before| stamp < before) {
            self.owe(kind, stamp);
            if let Some(before) = before {
                self.settle(kind, before);
            }
        }
    }

    /// Takes a name out of the queue; its obligation passes to the caller.
    fn unqueue(&mut self, kind: ResourceType, name: &str) -> Option<Pending> {
        let pending = self.subs[kind].queue.remove(name)?;
        self.gates.forget(kind, name, &pending, &self.config);
        Some(pending)
    }

    /// Takes a name out of the queue and ends its obligation.
    fn drop_queued(&mut self, kind: ResourceType, name: &str) {
        if let Some(pending) = self.unqueue(kind, name) {
            self.settle(kind, pending.stamp);
        }
    }

    fn owe(&mut self, kind: ResourceType, stamp: u64) {
        *self.unsettled[kind].entry(stamp).or_default() += 1;
    }

    fn settle(&mut self, kind: ResourceType, stamp: u64) {
        if let Some(count) = self.unsettled[kind].get_mut(&stamp) {
            *count -= 1;
            if *count == 0 {
                self.unsettled[kind].remove(&stamp);
            }
        }
    }

    /// Whether the client has acknowledged everything of these types that it was behind on at a log position.
    fn settled(&self, kinds: &[ResourceType], position: u64) -> bool {
        kinds.iter().all(|kind| self.unsettled[*kind].keys().next().is_none_or(|oldest| *oldest > position))
    }

    fn next_wake(&self) -> Option<Instant> {
        let patience =
            self.patience_ends().filter(|_| !self.subs[ResourceType::Cluster].queue.ready.is_empty());
        [self.gates.next_deadline(), self.departures.next(), patience].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests;
