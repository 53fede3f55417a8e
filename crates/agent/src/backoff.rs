//! How long to wait before the next session.

use std::time::Duration;

use rand::{RngExt as _, rngs::SmallRng};

/// The ceiling after the first failure, and what each further one adds to twice the last. As upstream.
const FIRST: Duration = Duration::from_millis(100);
/// The highest ceiling. As upstream.
const CAP: Duration = Duration::from_secs(8);

/// A ceiling that grows with every failed session; the delay is drawn from below it, so that a cluster's agents do not
/// all come at once when a manager is back. As upstream.
pub(crate) struct SessionBackoff {
    ceiling: Duration,
    rng: SmallRng,
}

impl SessionBackoff {
    pub(crate) fn new(rng: SmallRng) -> Self {
        Self { ceiling: Duration::ZERO, rng }
    }

    /// A session has failed.
    pub(crate) fn failed(&mut self) {
        self.ceiling = (FIRST + self.ceiling * 2).min(CAP);
    }

    /// A session was established.
    pub(crate) fn reset(&mut self) {
        self.ceiling = Duration::ZERO;
    }

    /// How long to wait now. Whole milliseconds, as tokio's timers have no finer grain.
    pub(crate) fn delay(&mut self) -> Duration {
        let ceiling = u64::try_from(self.ceiling.as_millis()).unwrap_or(u64::MAX);
        if ceiling == 0 { Duration::ZERO } else { Duration::from_millis(self.rng.random_range(0..ceiling)) }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_ceiling_grows_to_eight_seconds_and_starts_over_after_a_success() {
        let mut backoff = SessionBackoff::new(SmallRng::seed_from_u64(1));
        assert_eq!(backoff.delay(), Duration::ZERO);
        for ceiling in [100, 300, 700, 1500, 3100, 6300, 8000, 8000] {
            backoff.failed();
            assert_eq!(backoff.ceiling.as_millis(), ceiling);
            for _ in 0..100 {
                assert!(backoff.delay().as_millis() < ceiling);
            }
        }
        backoff.reset();
        assert_eq!(backoff.delay(), Duration::ZERO);
    }
}
