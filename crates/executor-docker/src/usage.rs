//! What a container uses, as the engine tells of it.

use std::time::{Duration, SystemTime};

use bollard::models::{ContainerBlkioStatEntry, ContainerMemoryStats, ContainerStatsResponse};
use swarmkit_executor::Usage;

/// What of the memory that an engine counts is cached files that the kernel takes back first: under the name of the
/// first generation of cgroups, which counts groups below too, and of the second.
const CACHED: [&str; 2] = ["total_inactive_file", "inactive_file"];

/// Reads the engine's answer. `None` if the container runs no more: the engine answers then too, with nothing in it.
///
/// `limited` says whether the task has a limit of memory: of one that has none, the engine tells how much the machine has.
pub(crate) fn read(answer: ContainerStatsResponse, limited: bool, now: SystemTime) -> Option<Usage> {
    let cpu = answer.cpu_stats.and_then(|stats| stats.cpu_usage?.total_usage).filter(|nanos| *nanos > 0);
    let memory = answer.memory_stats.unwrap_or_default();
    let pids = answer.pids_stats.unwrap_or_default();
    if cpu.is_none() && memory.usage.is_none() && pids.current.is_none() {
        return None;
    }
    let blocks = answer.blkio_stats.and_then(|stats| stats.io_service_bytes_recursive).unwrap_or_default();
    let networks = answer.networks;
    let traffic = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        Some(networks.as_ref()?.values().filter_map(of).sum())
    };
    Some(Usage {
        cpu: cpu.map(Duration::from_nanos),
        memory: held(&memory),
        memory_limit: memory.limit.filter(|_| limited),
        pids: pids.current,
        // The largest number stands for none.
        pids_limit: pids.limit.filter(|limit| (1..u64::MAX).contains(limit)),
        block_read: sum(&blocks, "read"),
        block_written: sum(&blocks, "write"),
        network_received: traffic(|network| network.rx_bytes),
        network_sent: traffic(|network| network.tx_bytes),
        ..Usage::at(now)
    })
}

fn held(memory: &ContainerMemoryStats) -> Option<u64> {
    let cached = memory.stats.as_ref().and_then(|stats| CACHED.iter().find_map(|name| stats.get(*name)));
    Some(memory.usage?.saturating_sub(cached.copied().unwrap_or_default()))
}

/// The sum over all devices. `None` where the engine lists nothing: that is no measurement of nothing.
fn sum(blocks: &[ContainerBlkioStatEntry], operation: &str) -> Option<u64> {
    let is_it = |entry: &&ContainerBlkioStatEntry| {
        entry.op.as_deref().is_some_and(|named| named.eq_ignore_ascii_case(operation))
    };
    let mut matching = blocks.iter().filter(is_it).filter_map(|entry| entry.value).peekable();
    matching.peek()?;
    Some(matching.sum())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(answer: Value, limited: bool) -> Option<Usage> {
        read(serde_json::from_value(answer).unwrap(), limited, SystemTime::UNIX_EPOCH)
    }

    fn running() -> Value {
        json!({
            "cpu_stats": { "cpu_usage": { "total_usage": 1_500_000_001_u64 } },
            "memory_stats": {
                "usage": 9000, "limit": 16_777_216, "stats": { "total_inactive_file": 2000, "inactive_file": 1 },
            },
            "pids_stats": { "current": 3, "limit": 50 },
            "blkio_stats": { "io_service_bytes_recursive": [
                { "major": 8, "minor": 0, "op": "Read", "value": 10 },
                { "major": 8, "minor": 0, "op": "Write", "value": 20 },
                { "major": 8, "minor": 16, "op": "read", "value": 1 },
                { "major": 8, "minor": 16, "op": "Total", "value": 31 },
            ] },
            "networks": { "eth0": { "rx_bytes": 100, "tx_bytes": 5 }, "eth1": { "rx_bytes": 11, "tx_bytes": 6 } },
        })
    }

    #[test]
    fn everything_that_the_engine_tells_is_read() {
        let expected = Usage {
            taken_at: SystemTime::UNIX_EPOCH,
            cpu: Some(Duration::from_nanos(1_500_000_001)),
            memory: Some(7000),
            memory_limit: Some(16 << 20),
            pids: Some(3),
            pids_limit: Some(50),
            block_read: Some(11),
            block_written: Some(20),
            network_received: Some(111),
            network_sent: Some(11),
        };
        assert_eq!(told(running(), true), Some(expected));
    }

    #[test]
    fn the_memory_of_the_machine_is_no_limit_of_a_task() {
        assert_eq!(told(running(), false).unwrap().memory_limit, None);
    }

    #[test]
    fn of_the_second_generation_the_cache_has_another_name_and_no_limit_is_a_number() {
        let memory = json!({ "usage": 9000, "stats": { "inactive_file": 2500, "anon": 4000 } });
        let pids = json!({ "current": 1, "limit": u64::MAX });
        let usage = told(json!({ "memory_stats": memory, "pids_stats": pids }), true).unwrap();
        assert_eq!((usage.memory, usage.pids, usage.pids_limit), (Some(6500), Some(1), None));
        assert_eq!((usage.cpu, usage.block_read, usage.network_sent), (None, None, None));
    }

    #[test]
    fn a_container_that_has_ended_meanwhile_is_not_measured() {
        let ended = json!({
            "read": "0001-01-01T00:00:00Z",
            "cpu_stats": { "cpu_usage": { "total_usage": 0 } },
            "memory_stats": {},
            "pids_stats": {},
            "blkio_stats": { "io_service_bytes_recursive": null },
        });
        assert_eq!(told(ended, true), None);
    }
}
