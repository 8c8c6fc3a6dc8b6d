//! A rate with a burst.

use std::time::Duration;

/// So many per second over time, so many at once. Time is given, in any clock that only grows.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    per_second: f64,
    burst: f64,
    left: f64,
    filled: Duration,
}

impl Budget {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let burst = f64::from(burst.max(1));
        Self { per_second: f64::from(per_second.max(1)), burst, left: burst, filled: Duration::ZERO }
    }

    /// One per this time, and `burst` at once.
    pub(crate) fn every(time: Duration, burst: u32) -> Self {
        Self { per_second: 1.0 / time.as_secs_f64(), ..Self::new(1, burst) }
    }

    /// Takes one, or says how long until there is one.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let passed = now.saturating_sub(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.left = (self.left + passed * self.per_second).min(self.burst);
        if self.left >= 1.0 {
            self.left -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - self.left) / self.per_second).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_is_spent_at_once_and_comes_back_at_the_rate() {
        let mut budget = Budget::new(10, 2);
        let at = Duration::from_millis;
        assert_eq!([budget.take(at(0)), budget.take(at(0))], [Ok(()), Ok(())]);
        assert_eq!(budget.take(at(0)), Err(at(100)));
        assert_eq!(budget.take(at(100)), Ok(()));
        assert!(budget.take(at(100)).is_err());
        assert_eq!([budget.take(at(9000)), budget.take(at(9000))], [Ok(()), Ok(())]);
        assert!(budget.take(at(9000)).is_err());
    }
}
