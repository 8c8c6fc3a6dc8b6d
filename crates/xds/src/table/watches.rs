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

#[derive(Clone, Debug, Default)]
struct Needs {
    /// Counts changes, so that answers about older needs are told apart.
    generation: u64,
    versions: BTreeMap<Target, Arc<str>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Watches {
    needs: BTreeMap<u64, Needs>,
    /// Which watches need a name.
    index: PerType<BTreeMap<Arc<str>, BTreeSet<u64>>>,
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
                    let old = self.needs.get(&watch.id).map(|needs| needs.versions.keys());
                    let unset = old.into_iter().flatten().filter(|t| !new.contains(t)).cloned().collect();
                    self.patch(watch.id, watch.needs, unset, &mut log);
                }
                WatchChange::Patch { id, set, unset } => self.patch(id, set, unset, &mut log),
                WatchChange::Remove(id) => {
                    let old = self.needs.remove(&id).unwrap_or_default();
                    for target in old.versions.into_keys() {
                        self.unindex(id, &target);
                        log.push((Change::Need(id, target), true));
                    }
                    log.push((Change::Watch(id), true));
                }
            }
        }
        log
    }

    fn patch(&mut self, id: u64, set: Vec<Need>, unset: Vec<Target>, log: &mut Vec<(Change, bool)>) {
        let fresh = !self.needs.contains_key(&id);
        let before = log.len();
        let needs = self.needs.entry(id).or_default();
        for target in unset {
            if needs.versions.remove(&target).is_some() {
                log.push((Change::Need(id, target), true));
            }
        }
        for (kind, name, version) in set {
            let target = (kind, name);
            if needs.versions.get(&target) != Some(&version) {
                needs.versions.insert(target.clone(), version);
                log.push((Change::Need(id, target), false));
            }
        }
        if !fresh && log.len() == before {
            return;
        }
        self.generations += 1;
        needs.generation = self.generations;
        for (change, _) in &log[before..] {
            if let Change::Need(_, target) = change {
                self.reindex(id, target);
            }
        }
        log.push((Change::Watch(id), false));
    }

    fn reindex(&mut self, id: u64, target: &Target) {
        if self.version(id, target).is_some() {
            self.index[target.0].entry(target.1.clone()).or_default().insert(id);
        } else {
            self.unindex(id, target);
        }
    }

    fn unindex(&mut self, id: u64, (kind, name): &Target) {
        if let Some(ids) = self.index[*kind].get_mut(name) {
            ids.remove(&id);
            if ids.is_empty() {
                self.index[*kind].remove(name);
            }
        }
    }

    /// The version that a watch needs of a name.
    pub(crate) fn version(&self, id: u64, target: &Target) -> Option<&Arc<str>> {
        self.needs.get(&id)?.versions.get(target)
    }

    /// The generation of a watch; it changes with its needs.
    pub(crate) fn generation(&self, id: u64) -> Option<u64> {
        self.needs.get(&id).map(|needs| needs.generation)
    }

    /// Which watches need a name.
    pub(crate) fn of(&self, kind: ResourceType, name: &str) -> impl Iterator<Item = u64> {
        self.index[kind].get(name).into_iter().flatten().copied()
    }

    /// All watches with their needs.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, &BTreeMap<Target, Arc<str>>)> {
        self.needs.iter().map(|(id, needs)| (*id, &needs.versions))
    }
}
