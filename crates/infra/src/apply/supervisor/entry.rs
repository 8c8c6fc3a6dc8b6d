//! What is remembered of one fleet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::InfraState;
use super::super::job::{Memory, Outcome, Waits};
use super::super::live::Id;
use crate::objects::{FleetObjects, Problem};

/// Between attempts that may succeed by themselves.
const TRANSIENT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Between attempts that somebody must make possible.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Objects that are not ours are not watched.
const FOREIGN: Duration = Duration::from_secs(10);
/// Between looks at why a Service has no address.
const WAITING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(30));
/// So many repairs are made at once; who goes on is fought with ever longer pauses.
const PATIENCE: u32 = 3;
const LONGEST_TRUCE: Duration = Duration::from_secs(30);
/// A fleet that needed no repair for so long starts anew.
const PEACE: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct Entry {
    pub(super) rendered: Option<Result<Arc<FleetObjects>, Vec<Problem>>>,
    pub(super) memory: BTreeMap<Id, Memory>,
    /// Its place in the queue.
    pub(super) due: Option<Instant>,
    pub(super) running: bool,
    /// Something happened while its job ran.
    pub(super) again: Option<Instant>,
    /// Said to be wanted no more.
    pub(super) ended: bool,
    pub(super) failures: u32,
    pub(super) reported: Option<InfraState>,
    /// What the load balancer said last, while the Service has no address.
    pub(super) balancer: Option<String>,
    /// How often it was asked.
    looks: u32,
    problems: Vec<String>,
    foreign: Vec<String>,
    repairs: u32,
    repaired: Option<Instant>,
}

fn doubled((first, longest): (Duration, Duration), times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(16))).min(longest)
}

impl Entry {
    /// Takes in what a job did; says when the next one is due.
    pub(super) fn finish(&mut self, outcome: Outcome, now: Instant) -> Option<Instant> {
        self.running = false;
        self.memory = outcome.memory;
        self.problems = outcome.failures.iter().map(ToString::to_string).collect();
        self.foreign = outcome.foreign;
        self.foreign.sort();
        if outcome.repaired > 0 {
            self.repairs += 1;
            self.repaired = Some(now);
        }
        let retry = if outcome.failures.is_empty() {
            self.failures = 0;
            (!self.foreign.is_empty()).then_some(FOREIGN)
        } else {
            let transient = outcome.failures.iter().all(super::super::client::Failure::is_transient);
            let wait = doubled(if transient { TRANSIENT } else { REFUSED }, self.failures);
            self.failures += 1;
            Some(wait)
        };
        let look = self.wait_for_address(outcome.waits);
        let next = [retry, look].into_iter().flatten().map(|wait| now + wait);
        next.chain(self.again.take()).min()
    }

    /// Remembers what is said of an address that is not there; says when to ask again. An answer that is not had changes
    /// nothing.
    fn wait_for_address(&mut self, waits: Option<Waits>) -> Option<Duration> {
        match waits {
            None => {
                (self.balancer, self.looks) = (None, 0);
                return None;
            }
            Some(Waits::Said(said)) => self.balancer = said,
            Some(Waits::Unknown(_)) => {}
        }
        let wait = doubled(WAITING, self.looks);
        self.looks += 1;
        Some(wait)
    }

    /// How long to wait before a look at what somebody changed.
    pub(super) fn repair_delay(&mut self, now: Instant) -> Duration {
        if self.repaired.is_none_or(|last| now.duration_since(last) > PEACE) {
            self.repairs = 0;
        }
        match self.repairs.checked_sub(PATIENCE) {
            None | Some(0) => Duration::ZERO,
            Some(more) => doubled((Duration::from_millis(250), LONGEST_TRUCE), more),
        }
    }

    /// Adds what live objects do not show.
    pub(super) fn amend(&self, state: &mut InfraState) {
        match &self.rendered {
            Some(Err(problems)) => state.refused.extend(problems.iter().map(ToString::to_string)),
            Some(Ok(objects)) => state.warnings.extend(objects.warnings.iter().map(ToString::to_string)),
            None => {}
        }
        state.problems.extend(self.problems.iter().cloned());
        if self.repairs > 2 * PATIENCE {
            state.problems.push(
                "somebody keeps changing the objects of this Gateway back; repairs are slowed down"
                    .to_owned(),
            );
        }
        state.problems.sort();
        state.problems.dedup();
        state.refused.sort();
        state.warnings.sort();
        state.foreign.clone_from(&self.foreign);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Entry, Outcome, Waits};

    #[test]
    fn repairs_slow_down_when_somebody_fights_them() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..12 {
            delays.push(entry.repair_delay(now));
            entry.finish(Outcome { repaired: 1, ..Outcome::default() }, now);
        }
        assert_eq!(delays[..4], [Duration::ZERO; 4]);
        assert!(delays[4..].is_sorted() && delays[4] > Duration::ZERO);
        assert_eq!(delays[11], Duration::from_secs(30));
        assert_eq!(entry.repair_delay(now + Duration::from_secs(61)), Duration::ZERO);
    }

    #[test]
    fn a_load_balancer_is_asked_while_an_address_is_awaited_and_ever_more_rarely() {
        let mut entry = Entry::default();
        let now = Instant::now();
        let mut look = |waits| {
            let next = entry.finish(Outcome { waits, ..Outcome::default() }, now);
            (next.map(|next| (next - now).as_secs()), entry.balancer.clone())
        };
        let said = Some("no address is left".to_owned());
        assert_eq!(look(Some(Waits::Said(None))), (Some(2), None));
        assert_eq!(look(Some(Waits::Said(said.clone()))), (Some(4), said.clone()));
        for wait in [8, 16, 30, 30] {
            assert_eq!(look(Some(Waits::Said(said.clone()))), (Some(wait), said.clone()));
        }
        assert_eq!(look(None), (None, None));
        assert_eq!(look(Some(Waits::Said(None))), (Some(2), None));
    }
}
