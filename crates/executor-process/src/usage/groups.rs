//! What a cgroup tells of the processes in it, in either generation.

use std::{fs, path::Path, time::Duration};

use swarmkit_executor::Usage;

/// From here on a limit of the first generation means that there is none: it is the largest number of pages there.
const UNLIMITED: u64 = 1 << 62;

/// Fills in what this group tells and no earlier one has told.
pub(super) fn add(group: &Path, usage: &mut Usage) {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    usage.cpu = usage.cpu.or_else(|| {
        let second = || entry(&text("cpu.stat")?, "usage_usec").map(Duration::from_micros);
        second().or_else(|| number("cpuacct.usage").map(Duration::from_nanos))
    });
    usage.memory = usage.memory.or_else(|| {
        let (held, cached) = match number("memory.current") {
            Some(held) => (held, "inactive_file"),
            None => (number("memory.usage_in_bytes")?, "total_inactive_file"),
        };
        let cached = text("memory.stat").and_then(|stat| entry(&stat, cached)).unwrap_or_default();
        Some(held.saturating_sub(cached))
    });
    // Where there is no limit the kernel says "max", which is no number.
    usage.memory_limit = usage.memory_limit.or_else(|| {
        number("memory.max").or_else(|| number("memory.limit_in_bytes").filter(|bytes| *bytes < UNLIMITED))
    });
    usage.pids = usage.pids.or_else(|| number("pids.current"));
    usage.pids_limit = usage.pids_limit.or_else(|| number("pids.max"));
    if usage.block_read.is_none()
        && let Some((read, written)) =
            text("io.stat").map(|stat| (sum_of_pairs(&stat, "rbytes="), sum_of_pairs(&stat, "wbytes="))).or_else(|| {
                text("blkio.throttle.io_service_bytes").map(|stat| (sum_of(&stat, "Read"), sum_of(&stat, "Write")))
            })
    {
        (usage.block_read, usage.block_written) = (Some(read), Some(written));
    }
}

/// The number in the line `key number`.
fn entry(stat: &str, key: &str) -> Option<u64> {
    stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Of lines as `8:0 rbytes=1 wbytes=2`, the sum over all devices.
fn sum_of_pairs(stat: &str, key: &str) -> u64 {
    stat.split_ascii_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
}

/// Of lines as `8:0 Read 1`, the sum over all devices.
fn sum_of(stat: &str, operation: &str) -> u64 {
    let number = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        (words.next()? == operation).then(|| words.next()?.parse::<u64>().ok())?
    };
    stat.lines().filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    /// What a group with these files tells.
    fn told(files: &[(&str, &str)]) -> Usage {
        let group = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(group.path().join(name), text).unwrap();
        }
        let mut usage = Usage::at(SystemTime::UNIX_EPOCH);
        add(group.path(), &mut usage);
        usage
    }

    #[test]
    fn a_group_of_the_first_generation_tells_what_its_controllers_know() {
        let usage = told(&[
            ("cpuacct.usage", "1500000001\n"),
            ("memory.usage_in_bytes", "9000\n"),
            ("memory.stat", "inactive_file 1\ntotal_cache 5000\ntotal_inactive_file 2000\n"),
            ("memory.limit_in_bytes", "16777216\n"),
            ("pids.current", "3\n"),
            ("pids.max", "50\n"),
            ("blkio.throttle.io_service_bytes", "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\n8:16 Write 2\nTotal 33\n"),
        ]);
        assert_eq!(usage.cpu, Some(Duration::from_nanos(1_500_000_001)));
        assert_eq!((usage.memory, usage.memory_limit), (Some(7000), Some(16 << 20)));
        assert_eq!((usage.pids, usage.pids_limit), (Some(3), Some(50)));
        assert_eq!((usage.block_read, usage.block_written), (Some(11), Some(22)));
        assert_eq!((usage.network_received, usage.network_sent), (None, None));
        assert_eq!(told(&[("memory.limit_in_bytes", "9223372036854771712\n")]).memory_limit, None);
    }

    #[test]
    fn a_group_of_the_second_generation_tells_it_in_its_own_words() {
        let usage = told(&[
            ("cpu.stat", "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"),
            ("memory.current", "9000\n"),
            ("memory.stat", "anon 4000\ninactive_file 2000\n"),
            ("memory.max", "max\n"),
            ("pids.current", "4\n"),
            ("pids.max", "max\n"),
            ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=7\n8:16 rbytes=1 wbytes=2\n"),
        ]);
        assert_eq!(usage.cpu, Some(Duration::from_millis(2500)));
        assert_eq!((usage.memory, usage.memory_limit), (Some(7000), None));
        assert_eq!((usage.pids, usage.pids_limit), (Some(4), None));
        assert_eq!((usage.block_read, usage.block_written), (Some(11), Some(22)));
        assert_eq!(told(&[("memory.max", "4096\n")]).memory_limit, Some(4096));
    }

    #[test]
    fn a_group_without_a_controller_tells_nothing_of_it() {
        // The first generation's processor controller counts periods and no time.
        let usage = told(&[("cpu.stat", "nr_periods 3\nnr_throttled 1\nthrottled_time 5\n")]);
        assert_eq!(usage, Usage::at(SystemTime::UNIX_EPOCH));
    }
}
