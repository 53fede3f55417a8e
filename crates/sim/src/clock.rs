//! The time of day in the simulated world.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use swarmkit_runtime::Clock;
use tokio::time::Instant;

/// When every simulated world begins: 2030-01-01, so that nothing looks like today by accident.
const BEGINNING: Duration = Duration::from_secs(1_893_456_000);

/// The wall clock of one machine: it goes with tokio's paused time, and may be wrong by an offset. Clones share it.
///
/// tokio's own time cannot be different for each machine, so clocks jump here but do not drift.
#[derive(Clone, Debug)]
pub struct SimClock {
    start: Instant,
    offset_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// A clock that is right. To be made inside the runtime whose time it shows.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now(), offset_ms: Arc::default() }
    }

    /// Makes the clock wrong by so many milliseconds, from now on.
    pub fn jump_to(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

impl Default for SimClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        let right = SystemTime::UNIX_EPOCH + BEGINNING + self.start.elapsed();
        let offset = self.offset_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(offset.unsigned_abs());
        if offset < 0 { right - by } else { right + by }
    }
}
