//! What a task uses, as the kernel accounts for it.
//!
//! A task with limits has cgroups, and what those tell comes from there. The rest, which without limits is everything,
//! is summed over the task's processes in `/proc`. What no source tells stays unknown: traffic, since tasks use the
//! machine's own network interfaces, and bytes of block devices where the kernel shows them to the owner only.

mod groups;
mod processes;

use std::{path::PathBuf, time::SystemTime};

use swarmkit_executor::Usage;

use crate::task_dir::{Started, start_ticks};

/// Measures a task. `None` if its process runs no more. Blocks for as long as reading a few files of the kernel takes.
pub(crate) fn measure(started: &Started, groups: &[PathBuf], now: SystemTime) -> Option<Usage> {
    if start_ticks(started.pid) != Some(started.ticks) {
        return None;
    }
    let mut usage = Usage::at(now);
    groups.iter().for_each(|group| groups::add(group, &mut usage));
    processes::add(started, &mut usage);
    // What was read while the process ended may be of another one, or of none.
    (start_ticks(started.pid) == Some(started.ticks)).then_some(usage)
}

/// Totals never go back, though what processes that ended meanwhile have used is not in every sum.
pub(crate) fn not_below(earlier: &Usage, usage: Usage) -> Usage {
    let total = |now: Option<u64>, before: Option<u64>| now.map(|now| now.max(before.unwrap_or_default()));
    Usage {
        cpu: usage.cpu.map(|now| now.max(earlier.cpu.unwrap_or_default())),
        block_read: total(usage.block_read, earlier.block_read),
        block_written: total(usage.block_written, earlier.block_written),
        ..usage
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::task_dir::boot;

    fn own() -> Started {
        let pid = i32::try_from(std::process::id()).unwrap();
        Started { pid, ticks: start_ticks(pid).unwrap(), supervisor: std::process::id(), boot: boot().unwrap() }
    }

    #[test]
    fn a_process_that_runs_is_measured_and_one_with_its_id_is_not_mistaken_for_it() {
        let now = SystemTime::UNIX_EPOCH;
        let usage = measure(&own(), &[], now).unwrap();
        assert!(usage.memory.is_some_and(|bytes| bytes > 100_000), "{usage:?}");
        assert!(usage.pids.is_some_and(|pids| pids >= 1), "{usage:?}");
        assert_eq!((usage.memory_limit, usage.network_received), (None, None));
        let another = Started { ticks: own().ticks + 1, ..own() };
        assert_eq!(measure(&another, &[], now), None);
    }

    #[test]
    fn totals_never_go_back_and_what_is_unknown_stays_so() {
        let at = |cpu: u64, memory, block_read| Usage {
            cpu: Some(Duration::from_secs(cpu)),
            memory: Some(memory),
            block_read,
            ..Usage::at(SystemTime::UNIX_EPOCH)
        };
        assert_eq!(not_below(&at(9, 70, Some(5)), at(3, 50, Some(7))), at(9, 50, Some(7)));
        assert_eq!(not_below(&at(1, 70, Some(5)), at(3, 50, None)), at(3, 50, None));
    }
}
