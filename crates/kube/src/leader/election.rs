//! Who leads, by the rules of client-go's leader election; pure, the clock is given.
//!
//! Invariant: whoever leads stops `renew_deadline` after it *began* its last successful renewal; whoever waits takes over
//! `lease_duration` after it *saw* the last one. As the deadline is the shorter of the two, there is never a second
//! leader, whatever the wall clocks say.

use std::time::Duration;

/// The parts of a Lease that count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Empty when nobody holds it.
    pub(super) holder: String,
    /// For how long the holder wants to be believed.
    pub(super) duration: Duration,
    /// The holder's own time; only whether it changes counts.
    pub(super) renewed: String,
}

/// What to do with a lease that was just read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Write our name and time into it.
    Write,
    /// Somebody else holds it.
    Wait,
}

#[derive(Debug)]
pub(super) struct Election {
    identity: String,
    renew_deadline: Duration,
    /// The record as it was seen last, and when it was first seen like that.
    observed: Option<(Record, Duration)>,
    /// Until when we lead unless we renew.
    until: Option<Duration>,
}

impl Election {
    pub(super) fn new(identity: String, renew_deadline: Duration) -> Self {
        Self { identity, renew_deadline, observed: None, until: None }
    }

    /// Takes note of the lease as it is now.
    pub(super) fn observe(&mut self, record: Record, now: Duration) -> Step {
        let other = !record.holder.is_empty() && record.holder != self.identity;
        if other {
            // Whatever our clock says: there is a new holder.
            self.until = None;
        }
        if self.observed.as_ref().is_none_or(|(old, _)| *old != record) {
            self.observed = Some((record, now));
        }
        let expired = self.observed.as_ref().is_some_and(|(record, since)| now > *since + record.duration);
        if other && !expired { Step::Wait } else { Step::Write }
    }

    /// Our name was written by a request that began at `began`.
    pub(super) fn renewed(&mut self, record: Record, began: Duration) {
        self.observed = Some((record, began));
        self.until = Some(began + self.renew_deadline);
    }

    /// Gives it up.
    pub(super) fn lose(&mut self) {
        self.until = None;
    }

    /// Until when we lead unless we renew; `None` when we do not.
    pub(super) fn until(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| now < *until)
    }

    /// Who holds the lease as far as we know.
    pub(super) fn holder(&self) -> Option<&str> {
        self.observed.as_ref().map(|(record, _)| record.holder.as_str()).filter(|holder| !holder.is_empty())
    }
}

#[cfg(test)]
mod tests;
