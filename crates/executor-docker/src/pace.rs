//! How fast the output of a task is read.

use std::time::Duration;

use tokio::time::Instant;

/// How much is read in a second on the long run, in bytes. A task can write faster than that, and managers pass on what
/// many tasks have written; what is not read yet stays with the engine.
const RATE: u64 = 10 << 20;
/// How much may be read at once after a pause, in bytes.
const BURST: u64 = 10 << 20;

/// What may be read of one task's output at the moment.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When all that was read has been paid for, at that rate. In the past if nothing is owed.
    even: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { even: Instant::now() }
    }

    /// Notes that so many bytes are read, and says how long to wait before they are passed on.
    pub(crate) fn wait_for(&mut self, bytes: usize) -> Duration {
        let now = Instant::now();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.even = self.even.max(now) + time_for(bytes);
        self.even.duration_since(now).saturating_sub(time_for(BURST))
    }
}

/// How long so many bytes take.
fn time_for(bytes: u64) -> Duration {
    Duration::from_nanos(bytes.saturating_mul(1_000_000_000 / 1024) / (RATE / 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_read_at_once_and_what_comes_after_it_at_the_rate() {
        let mut pace = Pace::new();
        let mut read = async |bytes: u64| {
            let begin = Instant::now();
            tokio::time::sleep(pace.wait_for(usize::try_from(bytes).unwrap())).await;
            begin.elapsed()
        };
        assert_eq!(read(BURST).await, Duration::ZERO);
        let began = Instant::now();
        for _ in 0..10 {
            read(RATE).await;
        }
        let took = began.elapsed();
        assert!((Duration::from_secs(9)..=Duration::from_secs(11)).contains(&took), "{took:?}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(read(BURST / 2).await, Duration::ZERO, "after a pause");
        assert_eq!(read(BURST / 2).await, Duration::ZERO, "no more than a burst is saved up");
        assert!(read(RATE).await > Duration::from_millis(900));
    }
}
