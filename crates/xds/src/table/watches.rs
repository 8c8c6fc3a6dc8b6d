//! What the caller wants to know: does some proxy hold all of these versions?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_model::{ResourceType, Target};

use super::Change;
use crate::resource::PerType;

/// One version that a watch needs: type, name, version.
pub type Need = (ResourceType, Arc<str>, Arc<str>);

/// A set of versions that belong together, for example everything that a listener needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Chosen by the caller, unique inside the fleet.
    pub id: u64,
    /// The versions that a proxy must hold.
    pub needs: Vec<Need>,
}

/// A change of the watches; `Patch` costs what it changes, however large the watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchChange {
    /// Creates or replaces a watch.
    Set(Watch),
    /// Sets and unsets single needs of a watch, which is created if it does not exist.
    Patch {
        /// The watch.
        id: u64,
        /// Needs that are new or have another version.
        set: Vec<Need>,
        /// Needs that are no more.
        unset: Vec<Target>,
    },
    /// Removes a watch; nothing is reported about it any more.
    Remove(u64),
}

impl WatchChange {
    /// The watch that changes.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Set(watch) => watch.id,
            Self::Patch { id, .. } | Self::Remove(id) => *id,
        }
    }
}

/// Flat maps throughout: there may be a watch for each virtual host, most of them with one need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watches {
    /// All watches; the generation counts changes, so that answers about older needs are told apart.
    generation: BTreeMap<u64, u64>,
    /// The version that a watch needs of a name.
    versions: BTreeMap<(u64, Target), Arc<str>>,
    /// Which watches need a name.
    index: PerType<BTreeSet<(Arc<str>, u64)>>,
    /// Generations are unique in a table, so that a watch that is removed and set again is another one.
    generations: u64,
}

impl Watches {
    /// Returns what to write to the log, and whether that may be forgotten some day.
    pub(super) fn apply(&mut self, changes: Vec<WatchChange>) -> Vec<(Change, bool)> {
        let mut log = Vec::new();
        for change in changes {
            match change {
                WatchChange::Set(watch) => {
                    let new: BTreeSet<Target> = watch.needs.iter().map(|(k, n, _)| (*k, n.clone())).collect();
                    let unset = self.needs(watch.id).filter(|t| !new.contains(t)).cloned().collect();
                    self.patch(watch.id, watch.needs, unset, &mut log);
                }
                WatchChange::Patch { id, set, unset } => self.patch(id, set, unset, &mut log),
                WatchChange::Remove(id) => {
                    self.generation.remove(&id);
                    let old: Vec<Target> = self.needs(id).cloned().collect();
                    for target in old {
                        self.unset(id, &target);
                        log.push((Change::Need(id, target), true));
                    }
                    log.push((Change::Watch(id), true));
                }
            }
        }
        log
    }

    fn patch(&mut self, id: u64, set: Vec<Need>, unset: Vec<Target>, log: &mut Vec<(Change, bool)>) {
        let fresh = !self.generation.contains_key(&id);
        let before = log.len();
        for target in unset {
            if self.unset(id, &target) {
                log.push((Change::Need(id, target), true));
            }
        }
        for (kind, name, version) in set {
            let target = (kind, name);
            if self.version(id, &target) != Some(&version) {
                self.index[target.0].insert((target.1.clone(), id));
                self.versions.insert((id, target.clone()), version);
                log.push((Change::Need(id, target), false));
            }
        }
        if !fresh && log.len() == before {
            return;
        }
        self.generations += 1;
        self.generation.insert(id, self.generations);
        log.push((Change::Watch(id), false));
    }

    /// Returns whether the need was there.
    fn unset(&mut self, id: u64, target: &Target) -> bool {
        self.index[target.0].remove(&(target.1.clone(), id));
        self.versions.remove(&(id, target.clone())).is_some()
    }

    /// The version that a watch needs of a name.
    pub(crate) fn version(&self, id: u64, target: &Target) -> Option<&Arc<str>> {
        self.versions.get(&(id, target.clone()))
    }

    /// The generation of a watch; it changes with its needs.
    pub(crate) fn generation(&self, id: u64) -> Option<u64> {
        self.generation.get(&id).copied()
    }

    /// Which watches need a name.
    pub(crate) fn of(&self, (kind, name): &Target) -> impl Iterator<Item = u64> {
        self.index[*kind].range((name.clone(), u64::MIN)..=(name.clone(), u64::MAX)).map(|(_, id)| *id)
    }

    /// What a watch needs.
    pub(crate) fn needs(&self, id: u64) -> impl Iterator<Item = &Target> {
        let first = (id, (ResourceType::ALL[0], Arc::default()));
        self.versions
            .range(first..)
            .map(|((id, target), _)| (id, target))
            .take_while(move |(of, _)| **of == id)
            .map(|(_, t)| t)
    }

    /// All watches.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.generation.keys().copied()
    }
}
