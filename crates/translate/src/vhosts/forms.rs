//! What may stand at a place of a host: its fragment, or what replaces it when it is bad.

use std::sync::Arc;

use gatehouse_engine::SmallMap;
use gatehouse_envoy::encode::Requests;
use gatehouse_model::RouteKey;
use rustc_hash::FxHashMap;

use super::Order;
use super::host::Refused;
use super::meanwhile::Failing;
use crate::fragments::{Fragment, FragmentId};

/// What may stand at a place.
pub(super) struct Form {
    pub(super) fragment: Arc<Fragment>,
    /// A proxy accepted it before.
    pub(super) proven: bool,
}

/// Finds what may stand at places: the fragment, else what was accepted before, else what answers 500, else nothing.
pub(super) struct Forms<'a> {
    /// What stood at the places that changed since a proxy last accepted the host.
    accepted: &'a SmallMap<Order, Option<Arc<Fragment>>>,
    /// The same by route. Made when it is asked for.
    routes: Option<FxHashMap<&'a RouteKey, OfRoute<'a>>>,
    refused: &'a Refused,
    failing: Failing<'a>,
}

/// Fragments of a route with their requests, in order of precedence.
type OfRoute<'a> = Vec<(Requests, &'a Arc<Fragment>)>;

impl<'a> Forms<'a> {
    pub(super) fn new(
        accepted: &'a SmallMap<Order, Option<Arc<Fragment>>>,
        refused: &'a Refused,
        failing: Failing<'a>,
    ) -> Self {
        Self { accepted, routes: None, refused, failing }
    }

    /// The best that is not known to be bad.
    pub(super) fn current(&mut self, order: &Order, fragment: &Arc<Fragment>) -> Option<Form> {
        if self.is_bad(&fragment.id) {
            self.replacement(order, fragment)
        } else {
            Some(Form { fragment: fragment.clone(), proven: false })
        }
    }

    /// What may stand there while that is kept out.
    pub(super) fn stand_in(&mut self, order: &Order, fragment: &Arc<Fragment>) -> Option<Form> {
        let none = self.is_bad(&fragment.id) && !fragment.is_guard();
        if none { None } else { self.replacement(order, fragment) }
    }

    fn is_bad(&self, id: &FragmentId) -> bool {
        self.refused.contains_key(id)
    }

    fn replacement(&mut self, order: &Order, fragment: &Arc<Fragment>) -> Option<Form> {
        if let Some(good) = self.last_good(order, fragment).filter(|good| !self.is_bad(&good.id)) {
            return Some(Form { fragment: good, proven: true });
        }
        if fragment.is_guard() {
            // What takes its place refuses everything, and is no more than that: no proxy refuses it.
            return (self.failing)(fragment).map(|fragment| Form { fragment, proven: true });
        }
        // A rule that answers 500 anyway has no other replacement than nothing.
        let failing = (self.failing)(fragment).filter(|f| f.id != fragment.id && !self.is_bad(&f.id))?;
        Some(Form { fragment: failing, proven: false })
    }

    /// The last good version of a rule: at its place, or where it was before rules above it came or went. A place alone
    /// tells little: it knows of a path no more than its length.
    fn last_good(&mut self, order: &Order, new: &Fragment) -> Option<Arc<Fragment>> {
        let own = self.accepted.get(order).and_then(Option::as_ref).filter(|old| allowed(old, new));
        if new.is_guard() {
            return own.cloned();
        }
        let requests = Requests::of(&new.bytes)?;
        if let Some(own) = own.filter(|old| Requests::of(&old.bytes).as_ref() == Some(&requests)) {
            return Some(Arc::clone(own));
        }
        let of_route = self.of_route(new.route()?)?;
        let (_, old) = of_route.iter().find(|(before, _)| *before == requests)?;
        allowed(old, new).then(|| Arc::clone(old))
    }

    fn of_route(&mut self, route: &RouteKey) -> Option<&OfRoute<'a>> {
        let routes = self.routes.get_or_insert_with(|| {
            let mut routes: FxHashMap<_, OfRoute<'a>> = FxHashMap::default();
            for old in self.accepted.values().flatten() {
                if let Some((route, requests)) = old.route().zip(Requests::of(&old.bytes)) {
                    routes.entry(route).or_default().push((requests, old));
                }
            }
            routes
        });
        routes.get(route)
    }
}

/// What the rule names no more may be gone, or forbidden.
fn allowed(old: &Fragment, new: &Fragment) -> bool {
    old.clusters.iter().all(|cluster| new.clusters.contains(cluster))
}
