//! What a task uses of its machine.

use std::time::{Duration, SystemTime};

/// What one task uses, at one moment. A field is `None` where the executor cannot tell: never a guess, and 0 is a
/// measurement.
///
/// Totals begin at the task's start and never go back, so that two samples give a rate.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use swarmkit_executor::Usage;
///
/// let now = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
/// let before = Usage { cpu: Some(Duration::from_millis(400)), ..Usage::at(now) };
/// let later = Usage { cpu: Some(Duration::from_millis(900)), ..Usage::at(now + Duration::from_secs(1)) };
/// assert_eq!(later.cpus_since(&before), Some(0.5), "half of one processor");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// When it was measured, by the node's clock.
    pub taken_at: SystemTime,
    /// Processor time that all its processes together have used, in user and kernel mode. A total.
    pub cpu: Option<Duration>,
    /// Memory that it holds now, in bytes, without what the kernel can take back by dropping cached files.
    pub memory: Option<u64>,
    /// How much memory it may hold at most, in bytes. `None` also where nothing limits it.
    pub memory_limit: Option<u64>,
    /// How many processes it has now, each thread counted, as the kernel counts them for a limit.
    pub pids: Option<u64>,
    /// How many of them it may have at most. `None` also where nothing limits it.
    pub pids_limit: Option<u64>,
    /// Bytes that it has had read from block devices. A total.
    pub block_read: Option<u64>,
    /// Bytes that it has had written to block devices. A total.
    pub block_written: Option<u64>,
    /// Bytes that it has received from networks, on interfaces of its own. A total.
    pub network_received: Option<u64>,
    /// Bytes that it has sent to networks, on interfaces of its own. A total.
    pub network_sent: Option<u64>,
}

impl Usage {
    /// A sample that was taken at that time and tells nothing.
    #[must_use]
    pub const fn at(taken_at: SystemTime) -> Self {
        Self {
            taken_at,
            cpu: None,
            memory: None,
            memory_limit: None,
            pids: None,
            pids_limit: None,
            block_read: None,
            block_written: None,
            network_received: None,
            network_sent: None,
        }
    }

    /// How many processors it kept busy between `before` and now; 1.0 is one whole. `None` where it is not known, or no
    /// time has passed.
    #[must_use]
    pub fn cpus_since(&self, before: &Self) -> Option<f64> {
        let passed = self.taken_at.duration_since(before.taken_at).ok().filter(|passed| !passed.is_zero())?;
        Some(self.cpu?.saturating_sub(before.cpu?).as_secs_f64() / passed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn sample(after: u64, cpu: Option<u64>) -> Usage {
        let cpu = cpu.map(Duration::from_millis);
        Usage { cpu, ..Usage::at(SystemTime::UNIX_EPOCH + SECOND * u32::try_from(after).unwrap()) }
    }

    #[test]
    fn two_samples_give_a_rate_and_never_a_negative_or_infinite_one() {
        let before = sample(10, Some(1000));
        assert_eq!(sample(12, Some(7000)).cpus_since(&before), Some(3.0));
        assert_eq!(sample(12, Some(1000)).cpus_since(&before), Some(0.0));
        assert_eq!(sample(12, Some(900)).cpus_since(&before), Some(0.0), "another task's total, or a clock's whim");
        assert_eq!(sample(10, Some(2000)).cpus_since(&before), None, "no time has passed");
        assert_eq!(sample(9, Some(2000)).cpus_since(&before), None, "the clock was set back");
        assert_eq!(sample(12, None).cpus_since(&before), None);
        assert_eq!(sample(12, Some(1)).cpus_since(&sample(10, None)), None);
    }
}
