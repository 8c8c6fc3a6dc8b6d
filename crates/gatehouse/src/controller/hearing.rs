//! Whether the proxies have told what they refuse, since we lead.
//!
//! A new leader knows of refusals only what the one before it wrote into statuses, until it has been answered itself. To say
//! meanwhile that nothing is refused would be a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gatehouse_model::FleetKey;

/// So long after the last answer nothing more is expected: a host that names a cold cluster is sent after a second.
const QUIET: Duration = Duration::from_secs(3);
/// Whoever has not answered by then is not waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a term has heard.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Since when we listen; nothing while we do not lead, or have heard all.
    since: Option<Instant>,
    /// Since when nothing is outstanding.
    quiet: Option<Instant>,
    /// Streams of each fleet, also between terms.
    connected: BTreeMap<FleetKey, usize>,
    /// Fleets without a ready proxy.
    silent: BTreeSet<FleetKey>,
}

impl Hearing {
    /// A term begins.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.since, self.quiet) = (Some(now), None);
    }

    /// It is over.
    pub(super) fn end(&mut self) {
        (self.since, self.quiet) = (None, None);
        self.silent.clear();
    }

    /// So many streams of a fleet there are.
    pub(super) fn streams(&mut self, fleet: &FleetKey, connected: usize) {
        if connected > 0 {
            self.connected.insert(fleet.clone(), connected);
        } else {
            self.connected.remove(fleet);
        }
    }

    /// Whether a fleet has a proxy that could answer.
    pub(super) fn ready(&mut self, fleet: &FleetKey, ready: bool) {
        if ready {
            self.silent.remove(fleet);
        } else {
            self.silent.insert(fleet.clone());
        }
    }

    /// The fleet is no more.
    pub(super) fn forget(&mut self, fleet: &FleetKey) {
        self.silent.remove(fleet);
    }

    /// Looks at what is outstanding; true when all has been heard, once in a term. `awaits`: what a fleet was sent and has not
    /// answered.
    pub(super) fn look<'a>(
        &mut self,
        mut fleets: impl Iterator<Item = &'a FleetKey>,
        awaits: impl Fn(&FleetKey) -> bool,
        now: Instant,
    ) -> bool {
        let Some(since) = self.since else { return false };
        let outstanding = fleets.any(|fleet| {
            let connected = self.connected.contains_key(fleet);
            if connected { awaits(fleet) } else { !self.silent.contains(fleet) }
        });
        self.quiet = if outstanding { None } else { Some(self.quiet.unwrap_or(now)) };
        let quiet = self.quiet.is_some_and(|quiet| now.duration_since(quiet) >= QUIET);
        let heard = quiet || now.duration_since(since) >= PATIENCE;
        if heard {
            (self.since, self.quiet) = (None, None);
        }
        heard
    }

    /// When to look again though nothing happens.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        let patience = self.since? + PATIENCE;
        Some(self.quiet.map_or(patience, |quiet| patience.min(quiet + QUIET)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use gatehouse_model::{FleetKey, NamespacedName};

    use super::{Hearing, PATIENCE, QUIET};

    fn fleets() -> [FleetKey; 2] {
        ["a", "b"].map(|name| FleetKey(NamespacedName::new("ns", name)))
    }

    /// Looks with these fleets still to answer.
    fn look(hearing: &mut Hearing, awaits: &[FleetKey], now: Instant) -> bool {
        hearing.look(fleets().iter(), |fleet| awaits.contains(fleet), now)
    }

    #[test]
    fn all_is_heard_when_every_fleet_has_connected_and_answered_a_while_ago() {
        let (mut hearing, [a, b], start) = (Hearing::default(), fleets(), Instant::now());
        assert!(!look(&mut hearing, &[], start), "nobody leads");
        hearing.begin(start);
        hearing.streams(&a, 1);
        assert!(!look(&mut hearing, &[], start + QUIET), "b has not connected");
        hearing.streams(&b, 2);
        let later = start + Duration::from_secs(10);
        assert!(!look(&mut hearing, std::slice::from_ref(&b), later), "b has not answered");
        assert!(!look(&mut hearing, &[], later));
        assert_eq!(hearing.wake_at(), Some(later + QUIET));
        assert!(look(&mut hearing, &[], later + QUIET));
        assert!(!look(&mut hearing, &[], later + QUIET), "once in a term");
        assert_eq!(hearing.wake_at(), None);
    }

    #[test]
    fn a_refusal_that_is_being_searched_for_starts_the_quiet_time_anew() {
        let (mut hearing, [a, b], start) = (Hearing::default(), fleets(), Instant::now());
        hearing.begin(start);
        hearing.streams(&a, 1);
        hearing.streams(&b, 1);
        assert!(!look(&mut hearing, &[], start));
        assert!(!look(&mut hearing, std::slice::from_ref(&a), start + QUIET));
        assert!(!look(&mut hearing, &[], start + QUIET));
        assert!(look(&mut hearing, &[], start + QUIET * 2));
    }

    #[test]
    fn a_fleet_without_a_proxy_is_not_waited_for_and_any_other_for_so_long_only() {
        let (mut hearing, [a, b], start) = (Hearing::default(), fleets(), Instant::now());
        hearing.begin(start);
        hearing.streams(&a, 1);
        hearing.ready(&b, false);
        look(&mut hearing, &[], start);
        assert!(look(&mut hearing, &[], start + QUIET));

        hearing.end();
        hearing.begin(start);
        assert!(!look(&mut hearing, &fleets(), start + QUIET * 2));
        assert_eq!(hearing.wake_at(), Some(start + PATIENCE));
        assert!(look(&mut hearing, &fleets(), start + PATIENCE));
    }
}
