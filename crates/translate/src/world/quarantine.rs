//! What proxies refuse: hosts without it, statuses that tell of it, and for how long it is remembered.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::World;
use crate::backends::{may_name, may_use};
use crate::facts::Facts;
use crate::fragments::{FragmentId, Origin, failing, fragments};
use crate::gateways::namespace_of;
use crate::http::guards::{owner_kind, refusing};
use crate::output::Outputs;
use crate::vhosts::Judge;

/// So many bad fragments are remembered although nobody may have them any more: whoever goes back and forth between two
/// edits learns at once which is bad.
pub(super) const REMEMBERED: usize = 256;

impl World {
    pub(super) fn emit_hosts(&mut self, outputs: &mut Outputs) {
        let Self { graph, facts, stages, hosts, .. } = self;
        let judge = Judge {
            failing: &|fragment| match &fragment.origin {
                Origin::Rule(rule) => failing(fragment, stages.lowered.peek(&rule.route)?),
                Origin::Guard(listener) => Some(Arc::new(refusing(listener))),
                Origin::Rest => None,
            },
            allowed: &|origin, cluster| may_still_use(facts, origin, cluster),
        };
        hosts.emit(graph, &mut outputs.fleets, judge);
        let found = hosts.take_found();
        if found.is_empty() {
            return;
        }
        for (fragment, message) in found {
            facts.quarantined.set(graph, fragment, message);
        }
        // What they serve is decided already: this only tells their routes.
        stages
            .fragments
            .settle(graph, |reads, key| fragments(facts, &stages.bindings, &stages.lowered, reads, key));
        stages.fragments.take_changed();
        self.forget_refused();
    }

    /// Bad fragments are content, and every edit of a bad rule is another one. The look at which are there costs all
    /// fragments, so it is taken only when their number has doubled.
    fn forget_refused(&mut self) {
        if self.hosts.refused_count() < self.refused_limit {
            return;
        }
        let Self { graph, facts, stages, hosts, .. } = self;
        let lists = stages.fragments.iter().flat_map(|(_, fragments)| &fragments.list);
        let guards = stages.guards.iter().map(|(_, guard)| &guard.fragment);
        let there: FxHashSet<&FragmentId> = lists.chain(guards).map(|fragment| &fragment.id).collect();
        if !hosts.forget_refused(|fragment| there.contains(fragment)) {
            return;
        }
        let gone = facts.quarantined.iter().filter(|(fragment, _)| !there.contains(fragment));
        let gone: Vec<FragmentId> = gone.map(|(fragment, _)| fragment.clone()).collect();
        for fragment in &gone {
            facts.quarantined.forget(graph, fragment);
        }
        self.refused_limit = REMEMBERED.max(2 * self.hosts.refused_count());
    }

    /// How many fragments that a proxy refused are remembered.
    pub fn refused_fragments(&self) -> usize {
        self.hosts.refused_count().max(self.facts.quarantined.iter().count())
    }
}

fn may_still_use(facts: &Facts, origin: &Origin, cluster: &str) -> bool {
    match origin {
        Origin::Rule(rule) => may_use(facts, &rule.route, cluster),
        Origin::Guard(listener) => {
            may_name(facts, namespace_of(listener), owner_kind(&listener.owner), cluster)
        }
        Origin::Rest => true,
    }
}
