//! What a host may answer while clusters that it names are not ready.
//!
//! ```text
//! record   each changed place, with what stood there meanwhile before
//! settle   a fragment that gained a cluster waits, and what stands in for it meanwhile is decided
//! Outcome  nothing was taken away: wait | nothing waits: go | else the host without what waits
//! ```
//!
//! What stands at a place meanwhile is always made from what stood there meanwhile before, never from an older
//! version: what one change took away no later one brings back, however many of them wait for the same gate.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatehouse_envoy::encode::Requests;
use gatehouse_model::RouteKey;
use rustc_hash::{FxHashMap, FxHashSet};

use super::Order;
use crate::fragments::{Fragment, Origin};

/// Makes what answers 500 in a fragment's stead.
pub(crate) type Failing<'a> = &'a dyn Fn(&Fragment) -> Option<Arc<Fragment>>;

/// Whether whoever a fragment comes from may still use a cluster.
pub(crate) type Allowed<'a> = &'a dyn Fn(&Origin, &str) -> bool;

/// What only the owner of the facts can tell.
#[derive(Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) failing: Failing<'a>,
    pub(crate) allowed: Allowed<'a>,
}

impl Judge<'_> {
    fn allows(&self, fragment: &Fragment) -> bool {
        clusters(fragment).all(|cluster| (self.allowed)(&fragment.origin, cluster))
    }
}

/// What stands at a place, if anything.
type Place = Option<Arc<Fragment>>;

/// The differences between what a host holds and what it may answer meanwhile.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    /// Places whose fragment gained a cluster since a proxy last accepted the host, and what stands there meanwhile.
    waiting: BTreeMap<Order, Place>,
    /// Something was taken away since a proxy last accepted the host.
    withdrawn: bool,
    /// Places that changed since the last [`Meanwhile::settle`].
    moved: BTreeMap<Order, Before>,
}

/// What proxies may have at a place that changed: one of both, as the gate was open for them or not.
#[derive(Debug)]
struct Before {
    meanwhile: Place,
    held: Place,
}

impl Before {
    /// What stands in for the filters of a listener: those of before, if they may; an open listener stays open.
    fn guard(&self, now: &Fragment, judge: Judge<'_>) -> Place {
        let before = self.meanwhile.as_ref()?;
        if judge.allows(before) { Some(before.clone()) } else { (judge.failing)(now) }
    }

    /// Whether something else than this stood there.
    fn differs(&self, now: Option<&Arc<Fragment>>) -> bool {
        [&self.meanwhile, &self.held].into_iter().flatten().any(|before| !same(Some(before), now))
    }
}

/// What a host may do before it can be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// Wait: nothing was taken away.
    Wait,
    /// Go: nothing in it is new.
    Go,
    /// Send the others first; these wait, and what stands there meanwhile.
    Part(&'a BTreeMap<Order, Place>),
}

impl Meanwhile {
    /// A place changed; until now it held this.
    pub(super) fn record(&mut self, order: &Order, held: Option<&Arc<Fragment>>) {
        if !self.moved.contains_key(order) {
            let meanwhile = self.waiting.remove(order).unwrap_or_else(|| held.cloned());
            self.moved.insert(order.clone(), Before { meanwhile, held: held.cloned() });
        }
    }

    /// Whether the host may be anything else than what it holds, or a later one must know of this.
    pub(super) fn matters(&self) -> bool {
        self.withdrawn || !self.waiting.is_empty()
    }

    /// Works in what changed. `held` are the fragments that the host holds now. Cost follows the change, except that
    /// all of the host is looked at when something was taken away and something waits.
    pub(super) fn settle<'f>(
        &mut self,
        held: impl Fn(&Order) -> Option<&'f Arc<Fragment>>,
        all: impl Iterator<Item = (&'f Order, &'f Arc<Fragment>)>,
        judge: Judge<'_>,
    ) -> Outcome<'_> {
        let moved = std::mem::take(&mut self.moved);
        let before = moved.values().filter_map(|before| before.meanwhile.as_ref());
        let named: FxHashSet<&str> = before.flat_map(|fragment| clusters(fragment)).collect();
        let mut gained = Vec::new();
        for (order, before) in &moved {
            let now = held(order);
            match now {
                Some(now) if clusters(now).any(|cluster| !named.contains(cluster)) => {
                    gained.push((order, now));
                }
                _ => self.withdrawn |= before.differs(now),
            }
        }
        let left = Left::of(&moved, &held, &gained);
        for (order, now) in gained {
            let meanwhile = match now.route() {
                Some(route) => left.get(route).and_then(|left| left.stand_in(now, judge)),
                None => moved.get(order).and_then(|before| before.guard(now, judge)),
            };
            self.withdrawn |= moved.get(order).is_some_and(|before| before.differs(meanwhile.as_ref()));
            self.waiting.insert(order.clone(), meanwhile);
        }
        self.revoke(&held, judge);
        if !self.withdrawn {
            return Outcome::Wait;
        }
        self.release(&held, all);
        if self.waiting.is_empty() { Outcome::Go } else { Outcome::Part(&self.waiting) }
    }

    /// What stood in for something may be forbidden since.
    fn revoke<'f>(&mut self, held: impl Fn(&Order) -> Option<&'f Arc<Fragment>>, judge: Judge<'_>) {
        for (order, meanwhile) in &mut self.waiting {
            if meanwhile.as_ref().is_some_and(|fragment| !judge.allows(fragment)) {
                *meanwhile = held(order).and_then(|fragment| (judge.failing)(fragment));
                self.withdrawn = true;
            }
        }
    }

    /// What waits for nothing but clusters that others name already waits no more.
    fn release<'f>(
        &mut self,
        held: impl Fn(&Order) -> Option<&'f Arc<Fragment>>,
        all: impl Iterator<Item = (&'f Order, &'f Arc<Fragment>)>,
    ) {
        let waiting = self.waiting.keys().filter_map(&held);
        let mut unknown: BTreeSet<&str> = waiting.flat_map(|fragment| clusters(fragment)).collect();
        for cluster in self.waiting.values().flatten().flat_map(|fragment| clusters(fragment)) {
            unknown.remove(cluster);
        }
        for (order, fragment) in all {
            if unknown.is_empty() {
                break;
            }
            if clusters(fragment).any(|cluster| unknown.contains(cluster))
                && !self.waiting.contains_key(order)
            {
                clusters(fragment).for_each(|cluster| _ = unknown.remove(cluster));
            }
        }
        self.waiting.retain(|order, _| {
            held(order).is_some_and(|fragment| clusters(fragment).any(|cluster| unknown.contains(cluster)))
        });
    }
}

/// What the changed places of a route held before, by the requests that it was for.
#[derive(Default)]
struct Left<'l> {
    /// Fragments and their requests, in order of precedence.
    before: Vec<(Requests, &'l Arc<Fragment>)>,
    /// Requests that the route still has a rule for.
    now: Vec<Requests>,
}

impl<'l> Left<'l> {
    /// By route, of those that gained something and had something before.
    fn of<'f: 'l>(
        moved: &'l BTreeMap<Order, Before>,
        held: impl Fn(&Order) -> Option<&'f Arc<Fragment>>,
        gained: &[(&Order, &'f Arc<Fragment>)],
    ) -> FxHashMap<&'l RouteKey, Self> {
        let mut routes: FxHashMap<&RouteKey, Self> = FxHashMap::default();
        if gained.is_empty() {
            return routes;
        }
        let wanted: FxHashSet<&RouteKey> = gained.iter().filter_map(|(_, now)| now.route()).collect();
        for fragment in moved.values().filter_map(|before| before.meanwhile.as_ref()) {
            if let Some(route) = fragment.route()
                && wanted.contains(route)
                && let Some(requests) = Requests::of(&fragment.bytes)
            {
                routes.entry(route).or_default().before.push((requests, fragment));
            }
        }
        for fragment in moved.keys().filter_map(held) {
            if let Some(left) = fragment.route().and_then(|route| routes.get_mut(route)) {
                left.now.extend(Requests::of(&fragment.bytes));
            }
        }
        routes
    }

    /// What answers the requests of a fragment until its clusters are ready: what answered them before, if that is
    /// still allowed. Requests that its rule had before must not fall through to other rules: they fail.
    fn stand_in(&self, now: &Arc<Fragment>, judge: Judge<'_>) -> Place {
        let requests = Requests::of(&now.bytes)?;
        let same_requests = self.before.iter().find(|(before, _)| *before == requests);
        let (before, old) = same_requests.or_else(|| {
            let rule = |f: &Fragment| f.rule().map(|rule| (rule.rule, rule.matched));
            // Rules may have moved up or down: one that is still there is not the one that was edited.
            self.before.iter().find(|(before, old)| rule(old) == rule(now) && !self.now.contains(before))
        })?;
        if before.are_apart_from(&requests) {
            return None;
        }
        let kept = if !judge.allows(old) {
            None
        } else if requests.cover(before) {
            Some(Arc::clone(old))
        } else if before.cover(&requests) {
            requests.instead(&old.bytes).map(|bytes| Arc::new(old.with_bytes(bytes)))
        } else {
            None
        };
        kept.or_else(|| (judge.failing)(now))
    }
}

fn clusters(fragment: &Fragment) -> impl Iterator<Item = &str> {
    fragment.clusters.iter().map(|cluster| &**cluster)
}

fn same(one: Option<&Arc<Fragment>>, other: Option<&Arc<Fragment>>) -> bool {
    one.map(|fragment| &fragment.id) == other.map(|fragment| &fragment.id)
}
