//! How long to wait before the next session.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{RngExt as _, rngs::SmallRng};
use tokio::time::Instant;

/// The ceiling after the first failure, and what each further one adds to twice the last. As upstream.
const FIRST: Duration = Duration::from_millis(100);
/// The highest ceiling. As upstream.
const CAP: Duration = Duration::from_secs(8);

/// The highest ceiling while managers still take this node for alive. Ours: a node that waits for seconds after the network
/// is back may be given up, and its tasks with it, though it was cut off for less than its grace.
const CAP_ALIVE: Duration = Duration::from_secs(2);
/// After how many periods of silence managers give a node up, unless they are told otherwise. As upstream.
const GRACE_PERIODS: u32 = 3;

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
    pub(crate) fn delay(&mut self, pulse: &Pulse) -> Duration {
        let ceiling = if pulse.is_alive() { self.ceiling.min(CAP_ALIVE) } else { self.ceiling };
        let ceiling = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX);
        if ceiling == 0 { Duration::ZERO } else { Duration::from_millis(self.rng.random_range(0..ceiling)) }
    }
}

/// Until when managers take this node for alive, as far as it knows. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// A manager has answered, and wants to hear from this node again after `period`.
    pub(crate) fn heard(&self, period: Duration) {
        *self.0.lock() = Some(Instant::now() + period * GRACE_PERIODS);
    }

    fn is_alive(&self) -> bool {
        self.0.lock().is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn the_ceiling_grows_to_eight_seconds_and_starts_over_after_a_success() {
        let mut backoff = SessionBackoff::new(SmallRng::seed_from_u64(1));
        let pulse = Pulse::default();
        assert_eq!(backoff.delay(&pulse), Duration::ZERO);
        for ceiling in [100, 300, 700, 1500, 3100, 6300, 8000, 8000] {
            backoff.failed();
            assert_eq!(backoff.ceiling.as_millis(), ceiling);
            for _ in 0..100 {
                assert!(backoff.delay(&pulse).as_millis() < ceiling);
            }
        }
        backoff.reset();
        assert_eq!(backoff.delay(&pulse), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_yet_given_up_does_not_wait_for_long() {
        let mut backoff = SessionBackoff::new(SmallRng::seed_from_u64(1));
        let pulse = Pulse::default();
        (0..10).for_each(|_| backoff.failed());
        let mut longest = |pulse: &Pulse| (0..1000).map(|_| backoff.delay(pulse)).max().unwrap();
        assert!(longest(&pulse) > Duration::from_secs(7));
        pulse.heard(Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(longest(&pulse) < Duration::from_secs(2));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(longest(&pulse) > Duration::from_secs(7));
    }
}
