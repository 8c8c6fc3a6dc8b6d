//! What a virtual host holds, and what stands at the places whose fragment a proxy refuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatehouse_engine::{Change, SmallMap};
use gatehouse_model::{Edge, ResourceType};
use rustc_hash::FxHashMap;

use super::forms::Forms;
use super::meanwhile::{Failing, Meanwhile};
use super::search::Search;
use super::{HostKey, Order};
use crate::fragments::{Fragment, FragmentId};
use crate::output::FleetChange;

/// Fragments that a proxy refused, with its words. Content is bad, wherever it stands.
pub(super) type Refused = FxHashMap<FragmentId, Arc<str>>;

/// An emitted host.
#[derive(Debug, Default)]
pub(super) struct Host {
    /// Sum of the hashes of what it holds.
    pub(super) sum: u128,
    pub(super) live: bool,
    /// Places that changed since a proxy last accepted the host, with what it held there before.
    pub(super) unproven: SmallMap<Order, Option<Arc<Fragment>>>,
    /// What stands in for fragments that are kept out.
    withheld: BTreeMap<Order, Option<Arc<Fragment>>>,
    /// What it may be until the clusters that it names are ready; nothing while nobody waits.
    pub(super) meanwhile: Option<Box<Meanwhile>>,
    /// Under way after a proxy refused the host.
    pub(super) search: Option<Box<Search>>,
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
        self.withheld.get(order).map_or(Some(fragment), Option::as_ref)
    }

    /// What stands in for fragments that are kept out.
    pub(super) fn stand_ins(&self) -> impl Iterator<Item = &Arc<Fragment>> {
        self.withheld.values().flatten()
    }

    /// Works a changed place in. Returns whether its fragment is known to be bad: then nothing stands there until
    /// [`Host::stand_in`].
    pub(super) fn record(
        &mut self,
        out: &mut FleetChange,
        change: &Change<HostKey, Order, Arc<Fragment>>,
        refused: &Refused,
    ) -> bool {
        let order = &change.order;
        let before = self.withheld.remove(order).unwrap_or_else(|| change.old.clone());
        let known_bad = change.new.as_ref().is_some_and(|fragment| refused.contains_key(&fragment.id));
        let after = change.new.as_ref().filter(|_| !known_bad);
        if known_bad {
            self.withheld.insert(order.clone(), None);
        }
        self.replace(out, &change.group.name, order, (before.as_ref(), after));
        if let Some(search) = &mut self.search
            && !after.is_some_and(|fragment| fragment.is_rest())
        {
            search.changed(order, after);
        }
        if !self.unproven.contains_key(order) {
            self.unproven.insert(order.clone(), before);
        }
        known_bad
    }

    /// Puts at places whose fragments are known to be bad what may stand there.
    pub(super) fn stand_in(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        places: &[Order],
        fragments: &SmallMap<Order, Arc<Fragment>>,
        (refused, failing): (&Refused, Failing<'_>),
    ) {
        let unproven = std::mem::take(&mut self.unproven);
        let mut forms = Forms::new(&unproven, refused, failing);
        for order in places {
            let Some(fragment) = fragments.get(order) else { continue };
            let form = forms.current(order, fragment);
            if let (Some(search), Some(form)) = (&mut self.search, &form)
                && !form.proven
            {
                search.changed(order, Some(&form.fragment));
            }
            self.put(out, name, order, (fragment, form.map(|form| form.fragment)));
        }
        self.unproven = unproven;
    }

    /// Puts this at the place of a fragment: itself, what stands in for it, or nothing.
    pub(super) fn put(
        &mut self,
        out: &mut FleetChange,
        name: &Arc<str>,
        order: &Order,
        (fragment, form): (&Arc<Fragment>, Option<Arc<Fragment>>),
    ) {
        let before = self.serves(order, fragment).cloned();
        let id = |fragment: &Option<Arc<Fragment>>| fragment.as_ref().map(|f| f.id.clone());
        if id(&before) != id(&form) {
            self.replace(out, name, order, (before.as_ref(), form.as_ref()));
        }
        if form.as_ref().is_some_and(|form| form.id == fragment.id) {
            self.withheld.remove(order);
        } else {
            self.withheld.insert(order.clone(), form);
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
}

pub(super) fn weight(order: &Order, fragment: &Fragment) -> u128 {
    let place = format!("{:?}|{}", order, fragment.id.0);
    let hash = gatehouse_envoy::version(place.as_bytes());
    hash.bytes().fold(0, |sum, byte| (sum << 8) | u128::from(byte))
}
