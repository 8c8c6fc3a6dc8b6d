//! What a virtual host holds, and what it withholds because a proxy refuses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_engine::Change;
use gatehouse_model::{Edge, ResourceType};
use rustc_hash::FxHashMap;

use super::trial::Trial;
use super::{HostKey, Order};
use crate::fragments::{Fragment, FragmentId};
use crate::output::FleetChange;

/// Makes what answers 500 in a fragment's stead.
pub(crate) type Failing<'a> = &'a dyn Fn(&Fragment) -> Option<Arc<Fragment>>;

/// Fragments that a proxy refused, with its words. Content is bad, wherever it stands.
pub(super) type Refused = FxHashMap<FragmentId, Arc<str>>;

/// A fragment that is kept out.
#[derive(Debug)]
struct Withheld {
    fragment: Arc<Fragment>,
    /// What stands in its place.
    instead: Option<Arc<Fragment>>,
}

/// An emitted host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Sum of the hashes of what it holds.
    pub(super) sum: u128,
    pub(super) live: bool,
    /// Places that changed since a proxy last accepted the host, with what it held there before.
    unproven: BTreeMap<Order, Option<Arc<Fragment>>>,
    withheld: BTreeMap<Order, Withheld>,
    trial: Option<Trial<Order>>,
    /// The version of the last answer: other proxies may repeat it.
    answered: Option<Arc<str>>,
}

impl Host {
    /// What stands at a place.
    pub(super) fn serves<'a>(
        &'a self,
        order: &Order,
        fragment: &'a Arc<Fragment>,
    ) -> Option<&'a Arc<Fragment>> {
        if self.withheld.is_empty() {
            return Some(fragment);
        }
        self.withheld.get(order).map_or(Some(fragment), |withheld| withheld.instead.as_ref())
    }

    /// Works a changed place in.
    pub(super) fn record(
        &mut self,
        out: &mut FleetChange,
        change: &Change<HostKey, Order, Arc<Fragment>>,
        (refused, failing): (&Refused, Failing<'_>),
    ) {
        let (name, order) = (change.group.name(), &change.order);
        let before = match self.withheld.remove(order) {
            Some(withheld) => withheld.instead,
            None => change.old.clone(),
        };
        let known_bad = change.new.as_ref().filter(|fragment| refused.contains_key(&fragment.id));
        let after = match known_bad {
            None => change.new.clone(),
            Some(fragment) => {
                let instead = last_good(before.as_ref(), fragment).or_else(|| failing(fragment));
                let instead = instead.filter(|fragment| !refused.contains_key(&fragment.id));
                self.withheld
                    .insert(order.clone(), Withheld { fragment: fragment.clone(), instead: instead.clone() });
                instead
            }
        };
        self.replace(out, &name, order, (before.as_ref(), after.as_ref()));
        if let Some(trial) = &mut self.trial {
            match (&change.new, known_bad) {
                (Some(_), None) => trial.join(order.clone()),
                _ => trial.leave(order),
            }
        }
        self.unproven.entry(order.clone()).or_insert(before);
    }

    /// Counts one fragment out and another in.
    fn replace(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        order: &Order,
        (old, new): (Option<&Arc<Fragment>>, Option<&Arc<Fragment>>),
    ) {
        for (fragment, delta) in [(old, -1), (new, 1)] {
            let Some(fragment) = fragment else { continue };
            let weight = weight(order, fragment);
            self.sum = if delta > 0 { self.sum.wrapping_add(weight) } else { self.sum.wrapping_sub(weight) };
            out.edges.extend(fragment.clusters.iter().map(|cluster| Edge {
                from: (ResourceType::VirtualHost, name.clone()),
                cluster: cluster.clone(),
                delta,
                linger: fragment.linger,
            }));
        }
    }

    /// A proxy accepted this version. Returns whether the host must be put together anew.
    pub(super) fn accepted(&mut self, version: &Arc<str>) -> bool {
        let Some(trial) = &mut self.trial else {
            self.unproven.clear();
            return false;
        };
        if self.answered.as_ref() == Some(version) {
            return false;
        }
        self.answered = Some(version.clone());
        trial.answer(true);
        true
    }

    /// A proxy refused this version. Returns whether the host must be put together anew.
    pub(super) fn refused(&mut self, version: &Arc<str>, holds: impl Fn(&Order) -> bool) -> bool {
        if self.answered.as_ref() == Some(version) {
            return false;
        }
        if let Some(trial) = &mut self.trial {
            trial.answer(false);
        } else {
            let kept_in = |order: &&Order| holds(order) && !self.withheld.contains_key(*order);
            let suspects: Vec<_> = self.unproven.keys().filter(kept_in).cloned().collect();
            if suspects.is_empty() {
                return false;
            }
            self.trial = Some(Trial::of(suspects));
        }
        self.answered = Some(version.clone());
        true
    }

    /// Keeps out what the trial asks for and lets in the rest; returns what is proven bad.
    pub(super) fn follow_trial(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        fragments: &BTreeMap<Order, Arc<Fragment>>,
        (refused, failing): (&Refused, Failing<'_>),
    ) -> Vec<FragmentId> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        let keep_out = trial.withheld();
        let free = |order: &Order, withheld: &Withheld| {
            !keep_out.contains(order) && !refused.contains_key(&withheld.fragment.id)
        };
        let freed: Vec<_> =
            self.withheld.iter().filter(|(o, w)| free(o, w)).map(|(o, _)| o.clone()).collect();
        for order in freed {
            if let Some(Withheld { fragment, instead }) = self.withheld.remove(&order) {
                self.replace(out, name, &order, (instead.as_ref(), Some(&fragment)));
            }
        }
        for order in &keep_out {
            let Some(fragment) = fragments.get(order) else { continue };
            let good = last_good(self.unproven.get(order).and_then(Option::as_ref), fragment);
            let instead = good.or_else(|| failing(fragment).filter(|_| trial.replaces()));
            let before = self.serves(order, fragment).cloned();
            if before.as_ref().map(|f| &f.id) != instead.as_ref().map(|f| &f.id) {
                self.replace(out, name, order, (before.as_ref(), instead.as_ref()));
            }
            self.withheld.insert(order.clone(), Withheld { fragment: fragment.clone(), instead });
        }
        let bad = trial.bad().iter().filter_map(|order| Some(fragments.get(order)?.id.clone())).collect();
        if trial.is_over() {
            self.unproven.clear();
        } else {
            self.trial = Some(trial);
        }
        bad
    }
}

/// What a proxy held at the same place, if it names no cluster that may be gone: the match is the same.
fn last_good(old: Option<&Arc<Fragment>>, new: &Fragment) -> Option<Arc<Fragment>> {
    old.filter(|old| old.clusters.iter().all(|cluster| new.clusters.contains(cluster))).cloned()
}

fn weight(order: &Order, fragment: &Fragment) -> u128 {
    let place = format!("{:?}|{}", order, fragment.id.0);
    let hash = gatehouse_envoy::version(place.as_bytes());
    hash.bytes().fold(0, |sum, byte| (sum << 8) | u128::from(byte))
}
