//! Time and chance for tests.

use std::time::{Duration, SystemTime};

use swarmkit_runtime::{Clock, Env};
use tokio::time::Instant;

/// When tests take place: noon of the first of August 2026, in seconds of the Unix epoch.
pub const EPOCH_SECONDS: u64 = 1_785_585_600;

/// A clock that starts at [`EPOCH_SECONDS`] and goes on as tokio's does, so it stands still while that is paused.
struct FromNoon(Instant);

impl Clock for FromNoon {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS) + self.0.elapsed()
    }
}

/// The same ids and chance in every run, and a clock that starts at [`EPOCH_SECONDS`] and follows tokio's.
#[must_use]
pub fn env() -> Env {
    Env::seeded(7, FromNoon(Instant::now()))
}
