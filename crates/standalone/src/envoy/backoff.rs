//! How long to wait before a crashed Envoy is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// An Envoy that lived this long failed for a new reason.
const FORGIVEN_AFTER: Duration = Duration::from_secs(30);

/// Doubles from failure to failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The wait after a failure of something that lived for `life`.
    pub(super) fn after(&mut self, life: Duration) -> Duration {
        let wait = match self.last {
            Some(last) if life < FORGIVEN_AFTER => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(wait);
        wait
    }

    /// Forgets all failures: what failed is not what comes next.
    pub(super) fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_ten_seconds_and_forgives_a_long_life() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(Duration::from_secs(30)), FIRST);
        assert_eq!(backoff.after(Duration::from_secs(29)), FIRST * 2);
        backoff.reset();
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
    }
}
