//! What is desired and what was seen, by object, and what follows from both. No I/O, no clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gatehouse_model::NamespacedName;
use rustc_hash::FxBuildHasher;

use super::own::{Digest, Shape};
use crate::backoff::Backoff;

/// An object whose status we write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    /// Unique among the kinds with a status.
    pub(super) kind: &'static str,
    pub(super) object: NamespacedName,
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, self.object)
    }
}

/// Our part of a live status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The object's version: an older sight than the last tells nothing.
    pub(super) version: u64,
    pub(super) digest: Digest,
}

/// What an object is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Desired {
    /// `None` for nothing.
    pub(super) status: Option<Arc<str>>,
    /// The generation that it speaks of.
    pub(super) generation: i64,
    pub(super) digest: Digest,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// In the queue.
    Queued,
    /// Being written, or waiting to be tried again.
    Busy,
}

#[derive(Debug)]
struct Entry {
    /// `None` until the graph has said something.
    desired: Option<Desired>,
    /// `None` until it was seen.
    seen: Option<Seen>,
    /// The pair for which a look at the live object found nothing to write: what differs is not ours to change.
    settled: Option<(Digest, Option<Digest>)>,
    phase: Phase,
    backoff: Backoff,
    /// Writes since the desired status changed last: a second one means that somebody else overwrites ours.
    writes: u32,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            desired: None,
            seen: None,
            settled: None,
            phase: Phase::Idle,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_mins(1)),
            writes: 0,
        }
    }
}

impl Entry {
    fn differs(&self, shape: Shape) -> bool {
        let Some(desired) = &self.desired else { return false };
        let seen = self.seen.map(|seen| seen.digest);
        if self.settled == Some((desired.digest, seen)) {
            return false;
        }
        match (&desired.status, shape) {
            (Some(_), _) => seen != Some(desired.digest),
            (None, Shape::Route | Shape::Policy | Shape::Backend) => {
                seen.is_some_and(|seen| seen != Digest::nothing())
            }
            (None, Shape::Whole) => false,
        }
    }

    /// Whether anything would be lost with it.
    fn is_empty(&self) -> bool {
        let silent = self.desired.as_ref().is_none_or(|desired| desired.status.is_none());
        let unseen = self.seen.is_none_or(|seen| seen.digest == Digest::nothing());
        silent && unseen && self.phase == Phase::Idle
    }
}

/// How an attempt to write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The object says it now.
    Written(Seen),
    /// It said it already.
    Unchanged(Seen),
    /// There is no such object, or it is another one of the same name: a new change will come.
    Gone,
    /// It says that and refusals that an earlier leader heard of: look again when proxies have answered.
    Kept(Seen),
    /// Try again.
    Failed,
}

/// All objects with a status, and the queue of those that are to be written.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Key, Entry, FxBuildHasher>,
    queue: VecDeque<Key>,
    /// Objects that say more than is desired until proxies have answered.
    kept: Vec<Key>,
    /// Whether we write at all.
    leading: bool,
}

impl Ledger {
    /// Starts or stops writing. Whoever starts looks at everything.
    pub(super) fn lead(&mut self, leading: bool) {
        if std::mem::replace(&mut self.leading, leading) == leading {
            return;
        }
        if !leading {
            for key in self.queue.drain(..) {
                if let Some(entry) = self.entries.get_mut(&key) {
                    entry.phase = Phase::Idle;
                }
            }
            return;
        }
        let mut keys: Vec<_> = self.entries.keys().cloned().collect();
        keys.sort_unstable();
        for key in keys {
            self.check(&key);
        }
    }

    pub(super) fn desire(&mut self, key: &Key, desired: Desired) {
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.desired.as_ref() != Some(&desired) {
            entry.writes = 0;
            entry.backoff.reset();
        }
        entry.desired = Some(desired);
        self.check(key);
    }

    pub(super) fn see(&mut self, key: &Key, seen: Option<Seen>) {
        let Some(seen) = seen else {
            if let Some(entry) = self.entries.get_mut(key) {
                // What is desired stays: the graph says when it has changed its mind, and the object may be back first.
                entry.seen = None;
                entry.settled = entry.desired.as_ref().map(|desired| (desired.digest, None));
            }
            self.drop_empty(key);
            return;
        };
        if seen.digest == Digest::nothing() && !self.entries.contains_key(key) {
            // Most routes of a cluster may be somebody else's.
            return;
        }
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.seen.is_none_or(|old| seen.version >= old.version) {
            entry.seen = Some(seen);
        }
        self.check(key);
        self.drop_empty(key);
    }

    /// Whether [`Ledger::next`] has anything to look at.
    pub(super) fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The next object to write, with what it is to say. Ends with [`Ledger::done`].
    pub(super) fn next(&mut self) -> Option<(Key, Desired)> {
        while let Some(key) = self.queue.pop_front() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.phase = Phase::Idle;
            if let Some(desired) = entry.desired.clone().filter(|_| entry.differs(Shape::of_kind(key.kind))) {
                entry.phase = Phase::Busy;
                return Some((key, desired));
            }
        }
        None
    }

    /// Ends an attempt; returns how long to wait before [`Ledger::retry`] if it is to be made again.
    pub(super) fn done(&mut self, key: &Key, desired: &Desired, outcome: &Outcome) -> Option<Duration> {
        let entry = self.entries.get_mut(key)?;
        match outcome {
            Outcome::Written(seen) => {
                entry.writes += 1;
                entry.see_at_least(*seen);
            }
            Outcome::Unchanged(seen) | Outcome::Kept(seen) => {
                if matches!(outcome, Outcome::Kept(_)) {
                    self.kept.push(key.clone());
                }
                entry.see_at_least(*seen);
                entry.settled = Some((desired.digest, entry.seen.map(|seen| seen.digest)));
            }
            Outcome::Gone => {
                entry.seen = None;
                entry.settled = Some((desired.digest, None));
            }
            Outcome::Failed => return Some(entry.backoff.next()),
        }
        if entry.writes > 1 && matches!(outcome, Outcome::Written(_)) {
            // Somebody writes against us: say it again and again, but ever more slowly.
            return Some(entry.backoff.next());
        }
        entry.phase = Phase::Idle;
        self.check(key);
        self.drop_empty(key);
        None
    }

    /// The proxies have answered: what was kept is looked at again.
    pub(super) fn heard(&mut self) {
        for key in std::mem::take(&mut self.kept) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.settled = None;
                self.check(&key);
            }
        }
    }

    pub(super) fn retry(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = Phase::Idle;
            self.check(key);
        }
    }

    /// Queues an object if there is something to write.
    fn check(&mut self, key: &Key) {
        if !self.leading {
            return;
        }
        let Some(entry) = self.entries.get_mut(key) else { return };
        if entry.phase == Phase::Idle && entry.differs(Shape::of_kind(key.kind)) {
            entry.phase = Phase::Queued;
            self.queue.push_back(key.clone());
        }
    }

    fn drop_empty(&mut self, key: &Key) {
        if self.entries.get(key).is_some_and(Entry::is_empty) {
            self.entries.remove(key);
        }
    }
}

impl Entry {
    fn see_at_least(&mut self, seen: Seen) {
        if self.seen.is_none_or(|old| seen.version >= old.version) {
            self.seen = Some(seen);
        }
    }
}

#[cfg(test)]
mod tests;
