//! What a virtual host holds, and what it withholds because a proxy refuses it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_engine::{Change, SmallMap};
use gatehouse_model::{Edge, ResourceType};
use rustc_hash::FxHashMap;

use super::accepted::{Accepted, last_good};
use super::meanwhile::{Failing, Meanwhile};
use super::trial::Trial;
use super::{HostKey, Order};
use crate::fragments::{Fragment, FragmentId};
use crate::output::FleetChange;

/// Fragments that a proxy refused, with its words. Content is bad, wherever it stands.
pub(super) type Refused = FxHashMap<FragmentId, Arc<str>>;

/// A fragment that is kept out.
#[derive(Debug)]
struct Withheld {
    fragment: Arc<Fragment>,
    /// What stands in its place.
    instead: Option<Arc<Fragment>>,
    /// Whether a proxy accepted the host with that.
    proven: bool,
}

/// An emitted host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Sum of the hashes of what it holds.
    pub(super) sum: u128,
    pub(super) live: bool,
    /// Places that changed since a proxy last accepted the host, with what it held there before.
    unproven: SmallMap<Order, Option<Arc<Fragment>>>,
    withheld: BTreeMap<Order, Withheld>,
    /// What it may be until the clusters that it names are ready; nothing while nobody waits.
    pub(super) meanwhile: Option<Box<Meanwhile>>,
    trial: Option<Box<Trial<Order>>>,
    /// What stood in for others in a version that was accepted during the trial.
    accepted_instead: BTreeSet<FragmentId>,
    /// What the last answer was about, by its sum, and whether it was accepted: other proxies may repeat it.
    answered: Option<(u128, bool)>,
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
        let (name, order) = (&change.group.name, &change.order);
        let before = match self.withheld.remove(order) {
            Some(withheld) => withheld.instead,
            None => change.old.clone(),
        };
        let known_bad = change.new.as_ref().filter(|fragment| refused.contains_key(&fragment.id));
        let after = match known_bad {
            None => change.new.clone(),
            Some(fragment) => {
                let accepted = self.unproven.get(order).unwrap_or(&before).as_ref();
                let innocent = |fragment: &Arc<Fragment>| !refused.contains_key(&fragment.id);
                let good = last_good(accepted, fragment).filter(innocent);
                let proven = good.is_some();
                let instead = good.or_else(|| failing(fragment).filter(innocent));
                let same = instead.as_ref().map(|f| &f.id) == before.as_ref().map(|f| &f.id);
                let proven = proven || (same && !self.unproven.contains_key(order));
                let fragment = fragment.clone();
                self.withheld.insert(order.clone(), Withheld { fragment, instead: instead.clone(), proven });
                instead
            }
        };
        self.replace(out, name, order, (before.as_ref(), after.as_ref()));
        if let Some(trial) = &mut self.trial {
            match (&change.new, known_bad) {
                (Some(_), None) => trial.join(order.clone()),
                _ => trial.leave(order),
            }
        }
        if !self.unproven.contains_key(order) {
            self.unproven.insert(order.clone(), before);
        }
    }

    /// Counts one fragment out and another in.
    fn replace(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        order: &Order,
        (old, new): (Option<&Arc<Fragment>>, Option<&Arc<Fragment>>),
    ) {
        // Before it was emitted nobody has anything to lose.
        if self.live {
            self.meanwhile.get_or_insert_default().record(order, old);
        }
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

    /// A proxy accepted what it holds. Returns whether the host must be put together anew.
    pub(super) fn accepted(&mut self) -> bool {
        self.meanwhile = None;
        let Some(mut trial) = self.trial.take() else {
            self.withheld.values_mut().for_each(|withheld| withheld.proven = true);
            self.unproven = SmallMap::default();
            return false;
        };
        let fresh = self.known().is_none();
        self.learn(&mut trial, true, fresh);
        self.trial = Some(trial);
        fresh
    }

    /// What an answer says: of what stands in for others, and, if it is `fresh`, of the question.
    fn learn(&mut self, trial: &mut Trial<Order>, accepted: bool, fresh: bool) {
        if accepted {
            for withheld in self.withheld.values_mut() {
                withheld.proven = true;
                self.accepted_instead.extend(withheld.instead.as_ref().map(|instead| instead.id.clone()));
            }
        }
        if !fresh {
            return;
        }
        self.answered = Some((self.sum, accepted));
        if !accepted && trial.replaces() && self.replaces_unproven() && !trial.asks_about_joined_first() {
            // That may be why: nobody is blamed before it is gone.
            trial.strip();
        } else {
            trial.answer(accepted);
        }
    }

    /// What the last answer said, if it was about just what the host holds.
    fn known(&self) -> Option<bool> {
        self.answered.filter(|(sum, _)| *sum == self.sum).map(|(_, accepted)| accepted)
    }

    /// Changes made the question one that is answered: nobody would answer it again. Returns whether that is so.
    pub(super) fn answers_itself(&mut self) -> bool {
        let Some((mut trial, accepted)) = self.known().and_then(|known| Some((self.trial.take()?, known)))
        else {
            return false;
        };
        self.learn(&mut trial, accepted, true);
        self.trial = Some(trial);
        true
    }

    fn replaces_unproven(&self) -> bool {
        self.withheld.values().any(|withheld| !withheld.proven && withheld.instead.is_some())
    }

    /// A proxy refused what it holds. Returns whether the host must be put together anew.
    pub(super) fn refused<'f>(&mut self, holds: impl Fn(&Order) -> Option<&'f Arc<Fragment>>) -> bool {
        if let Some(mut trial) = self.trial.take() {
            let fresh = self.known().is_none();
            self.learn(&mut trial, false, fresh);
            self.trial = Some(trial);
            return fresh;
        }
        // What came back to what was accepted is above suspicion.
        let new = |order: &Order, before: &Option<Arc<Fragment>>| {
            holds(order).is_some_and(|now| before.as_ref().is_none_or(|before| before.id != now.id))
        };
        let suspect =
            |(order, before): &(&Order, &_)| !self.withheld.contains_key(*order) && new(order, before);
        let suspects: Vec<_> = self.unproven.iter().filter(suspect).map(|(order, _)| order.clone()).collect();
        if suspects.is_empty() && !self.replaces_unproven() {
            return false;
        }
        self.trial = Some(Box::new(Trial::of(suspects)));
        self.answered = Some((self.sum, false));
        true
    }

    /// Keeps out what the trial asks for and lets in the rest; returns what is proven bad.
    pub(super) fn follow_trial(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        fragments: &SmallMap<Order, Arc<Fragment>>,
        (refused, failing): (&Refused, Failing<'_>),
    ) -> Vec<FragmentId> {
        let Some(mut trial) = self.trial.take() else { return Vec::new() };
        let unproven = std::mem::take(&mut self.unproven);
        loop {
            self.put_question(out, name, (&mut trial, &unproven), fragments, (refused, failing));
            let Some(accepted) = self.known().filter(|_| !trial.is_over()) else { break };
            self.learn(&mut trial, accepted, true);
        }
        let bad = trial.bad().iter().filter_map(|order| Some(fragments.get(order)?.id.clone())).collect();
        if trial.is_over() {
            self.answered = None;
            self.accepted_instead.clear();
        } else {
            self.unproven = unproven;
            self.trial = Some(trial);
        }
        bad
    }

    /// Makes the host what the trial asks about.
    fn put_question(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        (trial, unproven): (&mut Trial<Order>, &SmallMap<Order, Option<Arc<Fragment>>>),
        fragments: &SmallMap<Order, Arc<Fragment>>,
        (refused, failing): (&Refused, Failing<'_>),
    ) {
        let known_bad = |order: &Order| fragments.get(order).is_some_and(|f| refused.contains_key(&f.id));
        let known = trial.leave_known(known_bad);
        let mut keep_out = trial.withheld();
        keep_out.extend(known);
        let free = |order: &Order, withheld: &Withheld| {
            !keep_out.contains(order) && !refused.contains_key(&withheld.fragment.id)
        };
        let freed: Vec<_> =
            self.withheld.iter().filter(|(o, w)| free(o, w)).map(|(o, _)| o.clone()).collect();
        for order in freed {
            if let Some(Withheld { fragment, instead, .. }) = self.withheld.remove(&order) {
                self.replace(out, name, &order, (instead.as_ref(), Some(&fragment)));
            }
        }
        if !trial.replaces() {
            self.leave_nothing(out, name);
        }
        let mut before = Accepted::new(unproven);
        for order in &keep_out {
            let Some(fragment) = fragments.get(order) else { continue };
            let innocent = |other: &Arc<Fragment>| {
                !refused.contains_key(&other.id) && (other.id != fragment.id || !trial.bad().contains(order))
            };
            let good = before.last_good(order, fragment).filter(innocent);
            let accepted = |other: &Arc<Fragment>| self.accepted_instead.contains(&other.id);
            // A rule that answers 500 anyway has no other replacement than nothing.
            let another = |other: &Arc<Fragment>| other.id != fragment.id && !refused.contains_key(&other.id);
            let may = |other: &Arc<Fragment>| another(other) && (trial.replaces() || accepted(other));
            let proven = good.is_some();
            let instead = good.or_else(|| failing(fragment).filter(may));
            let proven = proven || instead.as_ref().is_some_and(accepted);
            let before = self.serves(order, fragment).cloned();
            if before.as_ref().map(|f| &f.id) != instead.as_ref().map(|f| &f.id) {
                self.replace(out, name, order, (before.as_ref(), instead.as_ref()));
            }
            self.withheld.insert(order.clone(), Withheld { fragment: fragment.clone(), instead, proven });
        }
    }
}

impl Host {
    /// What stands in for a fragment is refused too: its match is what is bad. Only what a proxy accepted stays.
    fn leave_nothing(&mut self, out: &mut FleetChange, name: &Arc<str>) {
        let mut bare = Vec::new();
        for (order, withheld) in self.withheld.iter_mut().filter(|(_, withheld)| !withheld.proven) {
            bare.extend(withheld.instead.take().map(|instead| (order.clone(), instead)));
        }
        for (order, instead) in bare {
            self.replace(out, name, &order, (Some(&instead), None));
        }
    }
}

pub(super) fn weight(order: &Order, fragment: &Fragment) -> u128 {
    let place = format!("{:?}|{}", order, fragment.id.0);
    let hash = gatehouse_envoy::version(place.as_bytes());
    hash.bytes().fold(0, |sum, byte| (sum << 8) | u128::from(byte))
}
