//! A fleet without a ready proxy, and for how long that is forgiven.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gatehouse_model::FleetKey;
use gatehouse_translate::FleetState;

/// A Gateway without a ready proxy is programmed no more after this time: a rollout or a node's hiccup is shorter.
const UNREADY: Duration = Duration::from_secs(30);

/// Fleets that have a ready proxy, or had one a moment ago.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Without a time, a proxy is ready; else the last one went then, and this is what else is known.
    fleets: BTreeMap<FleetKey, Option<(Instant, FleetState)>>,
}

impl Patience {
    /// Takes what is true of a fleet now and returns what to say of it.
    pub(super) fn hear(&mut self, fleet: &FleetKey, state: FleetState, now: Instant) -> FleetState {
        if state.ready {
            self.fleets.insert(fleet.clone(), None);
            return state;
        }
        // One that never was ready is not missed.
        let Some(missed) = self.fleets.get_mut(fleet) else { return state };
        let since = missed.as_ref().map_or(now, |(since, _)| *since);
        *missed = Some((since, state.clone()));
        FleetState { ready: true, ..state }
    }

    /// Fleets that have been without a ready proxy for too long, with what to say of them.
    pub(super) fn lost(&mut self, now: Instant) -> Vec<(FleetKey, FleetState)> {
        let late = |missed: &Option<(Instant, FleetState)>| {
            missed.as_ref().is_some_and(|(since, _)| now.duration_since(*since) >= UNREADY)
        };
        self.fleets
            .extract_if(.., |_, missed| late(missed))
            .filter_map(|(fleet, missed)| Some((fleet, missed?.1)))
            .collect()
    }

    /// When the next fleet is lost, unless a proxy becomes ready.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.fleets.values().flatten().map(|(since, _)| *since + UNREADY).min()
    }

    /// The fleet is no more.
    pub(super) fn forget(&mut self, fleet: &FleetKey) {
        self.fleets.remove(fleet);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use gatehouse_model::{FleetKey, NamespacedName};
    use gatehouse_translate::FleetState;

    use super::{Patience, UNREADY};

    fn fleet() -> FleetKey {
        FleetKey(NamespacedName::new("ns", "gw"))
    }

    fn state(ready: bool) -> FleetState {
        FleetState { ready, ..FleetState::default() }
    }

    #[test]
    fn a_proxy_that_was_ready_is_missed_after_a_while_only() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        assert!(!patience.hear(&fleet(), state(false), start).ready, "it never was");
        assert_eq!(patience.ends_at(), None);
        assert!(patience.hear(&fleet(), state(true), start).ready);
        let gone = start + Duration::from_secs(5);
        assert!(patience.hear(&fleet(), state(false), gone).ready);
        // Hearing it again does not start anew.
        assert!(patience.hear(&fleet(), state(false), gone + Duration::from_secs(10)).ready);
        assert_eq!(patience.ends_at(), Some(gone + UNREADY));
        assert!(patience.lost(gone + Duration::from_secs(29)).is_empty());
        assert_eq!(patience.lost(gone + UNREADY), [(fleet(), state(false))]);
        assert!(!patience.hear(&fleet(), state(false), gone + UNREADY).ready);
    }

    #[test]
    fn a_proxy_that_comes_back_in_time_was_never_missed() {
        let (mut patience, start) = (Patience::default(), Instant::now());
        patience.hear(&fleet(), state(true), start);
        patience.hear(&fleet(), state(false), start);
        patience.hear(&fleet(), state(true), start + Duration::from_secs(29));
        assert_eq!(patience.ends_at(), None);
        assert!(patience.lost(start + UNREADY * 2).is_empty());
    }
}
