//! Routes: where they are bound, what they mean, and where that goes.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_model::{RouteKey, RouteKind};

use super::{Changed, World, renew};
use crate::attach::{Site, bindings};
use crate::facts::age;
use crate::fragments::{contexts, fragments, is_served};
use crate::http::lowered;
use crate::policies::{Place, PolicyKind};
use crate::uses::User;
use crate::vhosts::Placement;

impl World {
    pub(super) fn settle_routes(&mut self, changed: &Changed) {
        let Self { config, graph, facts, stages, points, .. } = self;
        for key in &changed.routes {
            stages.bindings.mark(graph, key.clone());
            stages.lowered.mark(graph, key.clone());
        }
        stages.bindings.settle(graph, |reads, key| bindings(facts, points, reads, key));
        stages.lowered.settle(graph, |reads, key| lowered(facts, config, reads, key));
        let mut routes = stages.bindings.take_changed();
        routes.extend(stages.lowered.take_changed());
        let mut routes: BTreeSet<RouteKey> = routes.into_iter().collect();
        for key in &routes {
            self.mark_fragments(key);
        }
        let Self { graph, facts, stages, encoded, .. } = self;
        stages.fragments.settle(graph, |reads, key| {
            let made = fragments(facts, &stages.bindings, &stages.lowered, reads, key);
            *encoded += made.iter().flat_map(|made| &made.list).map(|f| f.bytes.len() as u64).sum::<u64>();
            made
        });
        routes.extend(stages.fragments.take_changed().into_iter().map(|(route, _)| route));
        for key in &routes {
            self.place_route(key);
        }
    }

    fn mark_fragments(&mut self, key: &RouteKey) {
        let bound = self.stages.bindings.peek(key).zip(self.stages.lowered.peek(key));
        let wanted = bound.map(|(bindings, lowered)| contexts(bindings, lowered)).unwrap_or_default();
        let plain = BTreeSet::from([None]);
        let listed = if wanted == plain { BTreeSet::new() } else { wanted };
        for context in renew(&mut self.contexts_of, key, listed).union(&plain).copied() {
            self.stages.fragments.mark(&mut self.graph, (key.clone(), context));
        }
    }

    /// Puts a route's fragments, attachments and clusters where they belong now.
    fn place_route(&mut self, key: &RouteKey) {
        let Self { graph, facts, stages, hosts, streams, attached, .. } = self;
        let bound = stages.bindings.peek(key).zip(stages.lowered.peek(key));
        let created = facts.routes.peek(key).map(|route| age(route.meta()));
        let claimed = bound.zip(created).map(|((b, l), age)| (&**b, &**l, age));
        streams.set(graph, key, claimed);
        let fragments = |context| stages.fragments.peek(&(key.clone(), context)).cloned();
        let placement = bound.map(|(b, l)| Placement {
            bindings: b,
            fragments: &fragments,
            needs_listener: l.needs_listener,
        });
        hosts.set_route(graph, key, placement.as_ref());
        // A route that is not accepted is attached to nothing.
        let made = |context| stages.fragments.peek(&(key.clone(), context));
        let accepted = bound.filter(|(bindings, lowered)| is_served(bindings, lowered, made));
        let listeners = accepted.iter().flat_map(|(bindings, _)| bindings.attached());
        attached.set(graph, key.clone(), listeners.cloned().collect());
        let mut uses = BTreeSet::new();
        if let Some((bindings, lowered)) = bound {
            for listener in bindings.listeners() {
                uses.extend(lowered.clusters.iter().map(|c| (listener.site.fleet.clone(), c.clone())));
            }
        }
        let mut told = BTreeMap::new();
        if let Some((bindings, lowered)) = bound.filter(|(_, lowered)| !lowered.told.is_empty()) {
            let passes_on = |site: &Site| key.kind == RouteKind::Tls && !site.ends_tls;
            for listener in bindings.listeners() {
                let place = Place::gateway(&listener.site.key.gateway);
                let concerns = |kind| kind != PolicyKind::BackendTls || !passes_on(&listener.site);
                for (policy, outcome) in lowered.told.iter().filter(|((kind, _), _)| concerns(*kind)) {
                    told.insert((policy.clone(), place.clone()), outcome.clone());
                }
            }
        }
        let told = told.into_iter().map(|((policy, place), outcome)| (policy, place, outcome)).collect();
        self.use_backends(User::Route(key.clone()), uses, told);
    }
}
