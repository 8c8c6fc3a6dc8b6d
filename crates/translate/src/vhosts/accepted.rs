//! What proxies accepted before a host changed: it stands in for what they refuse.

use std::sync::Arc;

use gatehouse_engine::SmallMap;
use gatehouse_envoy::encode::Requests;
use gatehouse_model::RouteKey;
use rustc_hash::FxHashMap;

use super::Order;
use crate::fragments::Fragment;

/// Fragments of a route with their requests, in order of precedence.
type OfRoute<'a> = Vec<(Requests, &'a Arc<Fragment>)>;

/// What stood at the changed places of a host.
pub(super) struct Accepted<'a> {
    places: &'a SmallMap<Order, Option<Arc<Fragment>>>,
    /// Made when it is asked for.
    routes: Option<FxHashMap<&'a RouteKey, OfRoute<'a>>>,
}

impl<'a> Accepted<'a> {
    pub(super) fn new(places: &'a SmallMap<Order, Option<Arc<Fragment>>>) -> Self {
        Self { places, routes: None }
    }

    /// The last good version of a rule: at its place, or where it was before rules above it came or went.
    pub(super) fn last_good(&mut self, order: &Order, new: &Fragment) -> Option<Arc<Fragment>> {
        let own = self.places.get(order).and_then(Option::as_ref);
        last_good(own, new).or_else(|| {
            let of_route = self.of_route(&new.provenance.route)?;
            let requests = Requests::of(&new.bytes)?;
            let (_, old) = of_route.iter().find(|(before, _)| *before == requests)?;
            allowed(old, new).then(|| Arc::clone(old))
        })
    }

    fn of_route(&mut self, route: &RouteKey) -> Option<&OfRoute<'a>> {
        let routes = self.routes.get_or_insert_with(|| {
            let mut routes: FxHashMap<_, OfRoute<'a>> = FxHashMap::default();
            for old in self.places.values().flatten() {
                if let Some(requests) = Requests::of(&old.bytes) {
                    routes.entry(&old.provenance.route).or_default().push((requests, old));
                }
            }
            routes
        });
        routes.get(route)
    }
}

/// What was accepted before, if it is for the same requests and names no cluster that may be gone. A place alone tells
/// little: it knows of a path no more than its length.
pub(super) fn last_good(old: Option<&Arc<Fragment>>, new: &Fragment) -> Option<Arc<Fragment>> {
    let old = old.filter(|old| allowed(old, new))?;
    let requests = Requests::of(&old.bytes)?;
    (Requests::of(&new.bytes)? == requests).then(|| Arc::clone(old))
}

/// What the rule names no more may be gone, or forbidden.
fn allowed(old: &Fragment, new: &Fragment) -> bool {
    old.clusters.iter().all(|cluster| new.clusters.contains(cluster))
}
