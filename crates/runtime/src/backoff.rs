//! How long to wait before the next attempt.

use std::time::Duration;

use rand::{RngExt, rngs::SmallRng};

/// Delays that double from a base up to a cap, each drawn at random from its upper half.
///
/// The draw keeps a crowd that failed together from coming back together.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
    rng: SmallRng,
}

impl Backoff {
    /// Starts at `base` and never exceeds `cap`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration, rng: SmallRng) -> Self {
        Self { base, cap, failures: 0, rng }
    }

    /// The delay after one more failure. Whole milliseconds, since tokio's timers have no finer grain.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.base.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        let ceiling = u64::try_from(doubled.min(self.cap).as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(self.rng.random_range(ceiling.div_ceil(2)..=ceiling))
    }

    /// Forgets the failures: the next delay is the base again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2), SmallRng::seed_from_u64(1));
        for ceiling in [100, 200, 400, 800, 1600, 2000, 2000] {
            let delay = backoff.next_delay().as_millis();
            assert!((ceiling / 2..=ceiling).contains(&delay), "{delay} of at most {ceiling}");
        }
        for _ in 0..100 {
            assert!(backoff.next_delay() <= Duration::from_secs(2));
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(100));
    }
}
