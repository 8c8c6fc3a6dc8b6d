//! Who needs which shared resource: counts per fleet, so that a fleet carries what it uses and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use gatehouse_model::{FleetKey, ListenerKey, NamespacedName, RouteKey};
use rustc_hash::FxHashMap;

/// Who names backends, or follows policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum User {
    Route(RouteKey),
    /// A listener by its filters.
    Listener(ListenerKey),
    /// A Gateway by what it tells of its requests.
    Gateway(NamespacedName),
    /// A Gateway by the policies of its listeners, which name no backends.
    Listeners(NamespacedName),
}

/// References of sources (routes, ports) to resources, counted per fleet.
#[derive(Debug)]
pub(crate) struct Uses<S, R> {
    /// What each source uses now; exact mirror of `counts`.
    /// Sorted; a set's first node would take several times as much.
    by_source: FxHashMap<S, Box<[(FleetKey, R)]>>,
    counts: FxHashMap<R, BTreeMap<FleetKey, usize>>,
    /// Fleets that began (`true`) or ceased to use a resource since the last drain.
    changed: Vec<(FleetKey, R, bool)>,
}

impl<S, R> Default for Uses<S, R> {
    fn default() -> Self {
        Self { by_source: FxHashMap::default(), counts: FxHashMap::default(), changed: Vec::new() }
    }
}

impl<S: Clone + Eq + Hash, R: Clone + Eq + Hash + Ord> Uses<S, R> {
    /// Replaces what a source uses. Cost: the source's own uses.
    pub(crate) fn set(&mut self, source: &S, uses: BTreeSet<(FleetKey, R)>) {
        let old: BTreeSet<_> = self.by_source.remove(source).unwrap_or_default().into_iter().collect();
        for (fleet, resource) in uses.difference(&old) {
            let count = self.counts.entry(resource.clone()).or_default().entry(fleet.clone()).or_default();
            *count += 1;
            if *count == 1 {
                self.changed.push((fleet.clone(), resource.clone(), true));
            }
        }
        for (fleet, resource) in old.difference(&uses) {
            self.release(fleet, resource);
        }
        if !uses.is_empty() {
            self.by_source.insert(source.clone(), uses.into_iter().collect());
        }
    }

    fn release(&mut self, fleet: &FleetKey, resource: &R) {
        let Some(fleets) = self.counts.get_mut(resource) else { return };
        if let Some(count) = fleets.get_mut(fleet) {
            *count -= 1;
            if *count == 0 {
                fleets.remove(fleet);
                self.changed.push((fleet.clone(), resource.clone(), false));
            }
        }
        if fleets.is_empty() {
            self.counts.remove(resource);
        }
    }

    /// Fleets that use a resource.
    pub(crate) fn fleets(&self, resource: &R) -> impl Iterator<Item = &FleetKey> {
        self.counts.get(resource).into_iter().flat_map(BTreeMap::keys)
    }

    pub(crate) fn uses(&self, fleet: &FleetKey, resource: &R) -> bool {
        self.counts.get(resource).is_some_and(|fleets| fleets.contains_key(fleet))
    }

    /// What a fleet uses. Cost: all resources, so it is for rare changes of a whole fleet.
    pub(crate) fn of_fleet(&self, fleet: &FleetKey) -> impl Iterator<Item = &R> {
        self.counts.iter().filter(move |(_, fleets)| fleets.contains_key(fleet)).map(|(resource, _)| resource)
    }

    pub(crate) fn is_used(&self, resource: &R) -> bool {
        self.counts.contains_key(resource)
    }

    pub(crate) fn take_changed(&mut self) -> Vec<(FleetKey, R, bool)> {
        std::mem::take(&mut self.changed)
    }
}
