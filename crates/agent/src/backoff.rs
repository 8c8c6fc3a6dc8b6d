//! How long to wait between attempts to reach a controller.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const BASE: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(2);

/// Doubles from 100 ms to 2 s.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// After a stream that was served, the next attempt is one of the first again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The time before the next attempt: between half of the step and all of it, different for each proxy.
    pub(crate) fn next(&mut self) -> Duration {
        let step = BASE.saturating_mul(1 << self.failures.min(8)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        let random = u32::try_from(RandomState::new().hash_one(()) % 1000).unwrap_or(0);
        step / 2 + step / 2 * random / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_two_seconds_and_begins_anew_after_a_stream() {
        let mut backoff = Backoff::default();
        let first = backoff.next();
        assert!((BASE / 2..=BASE).contains(&first), "{first:?}");
        let later = (0..40).map(|_| backoff.next()).last().unwrap_or_default();
        assert!((MAX / 2..=MAX).contains(&later), "{later:?}");
        backoff.reset();
        assert!(backoff.next() <= BASE);
    }
}
