//! What the processes of a task use, one by one.

use std::{collections::BTreeSet, fs, time::Duration};

use swarmkit_executor::Usage;

use crate::task_dir::Started;

/// How many processes are looked at. Of a task that has more nothing is told: half a sum would be wrong, and a whole one
/// dear.
const PROCESSES: usize = 4096;

/// What was summed.
#[derive(Debug, Default)]
struct Sum {
    /// Processor time in the kernel's ticks.
    ticks: u64,
    /// Bytes. `None` if the kernel would not tell us of a process.
    memory: Option<u64>,
    threads: u64,
    /// Bytes read and written. `None` as above.
    blocks: Option<(u64, u64)>,
}

/// Fills in what is not known yet.
pub(super) fn add(started: &Started, usage: &mut Usage) {
    let Some(family) = family(started) else { return };
    // A supervisor that is a process of its own has no other children than the task's, so that what its children that
    // are gone have used is the task's, too.
    let mut sum = Sum { memory: Some(0), blocks: Some((0, 0)), ..Sum::default() };
    if is_own(started.supervisor) {
        sum.ticks += stat(started.supervisor).map_or(0, |stat| stat.ticks_of_gone_children);
    }
    family.into_iter().for_each(|pid| sum.add(pid));
    let a_second = rustix::param::clock_ticks_per_second();
    usage.cpu = usage.cpu.or_else(|| Some(Duration::from_millis(sum.ticks.saturating_mul(1000) / a_second.max(1))));
    usage.memory = usage.memory.or(sum.memory);
    usage.pids = usage.pids.or(Some(sum.threads));
    usage.block_read = usage.block_read.or_else(|| Some(sum.blocks?.0));
    usage.block_written = usage.block_written.or_else(|| Some(sum.blocks?.1));
}

/// Whether the supervisor is a process of its own, which has no children but the task's.
fn is_own(supervisor: u32) -> bool {
    supervisor != std::process::id()
}

/// The processes of a task: all that came from its first one, and those that its supervisor has taken over. `None` if
/// there are too many.
fn family(started: &Started) -> Option<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    let mut next = if is_own(started.supervisor) { children(started.supervisor) } else { Vec::new() };
    next.extend(u32::try_from(started.pid));
    while let Some(pid) = next.pop() {
        if found.insert(pid) {
            if found.len() > PROCESSES {
                return None;
            }
            next.extend(children(pid));
        }
    }
    Some(found)
}

/// The children of a process; none if it is gone.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().filter_map(Result::ok);
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

impl Sum {
    /// Adds one process, unless it is gone: then what it has used is in its parent's account by now, or soon.
    fn add(&mut self, pid: u32) {
        let Some(stat) = stat(pid) else { return };
        self.ticks += stat.ticks + stat.ticks_of_gone_children;
        self.threads += stat.threads;
        if stat.ended {
            return;
        }
        self.memory = self.memory.zip(memory(pid)).map(|(sum, bytes)| sum + bytes);
        self.blocks = self.blocks.zip(blocks(pid)).map(|(sum, blocks)| (sum.0 + blocks.0, sum.1 + blocks.1));
    }
}

/// What a process has used, by its line in `/proc`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    ended: bool,
    ticks: u64,
    ticks_of_gone_children: u64,
    threads: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The name, in parentheses, may hold anything. What follows begins with the third field.
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let ended = matches!(*fields.first()?, "Z" | "X");
        Some(Self {
            ended,
            ticks: field(14)? + field(15)?,
            ticks_of_gone_children: field(16)? + field(17)?,
            threads: if ended { 0 } else { field(20)? },
        })
    }
}

/// The memory that is a process's own, and its share of what it has in common with others. Without what only caches
/// files. Where the kernel does not tell shares, all of what it has mapped.
fn memory(pid: u32) -> Option<u64> {
    let shares = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    let shares = shares.and_then(|text| kilobytes(&text, &["Pss_Anon:", "Pss_Shmem:"]));
    shares.or_else(|| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        kilobytes(&text, &["RssAnon:", "RssShmem:"])
    })
}

/// The sum of lines as `key 12 kB`, in bytes. `None` unless all are there.
fn kilobytes(text: &str, keys: &[&str]) -> Option<u64> {
    let line = |key: &&str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(*key))?;
        rest.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()
    };
    keys.iter().map(line).try_fold(0, |sum: u64, kilobytes| Some(sum + kilobytes? * 1024))
}

/// Bytes that a process, and its children that are gone, have had read and written.
fn blocks(pid: u32) -> Option<(u64, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
    Some((line("read_bytes:")?, line("write_bytes:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_any_name() {
        let line =
            "77 (a) b) S 1 77 77 0 -1 4194560 9 8 7 6 100 50 30 20 20 0 3 0 123456 1000000 250 18446744073709551615";
        let expected = Stat { ended: false, ticks: 150, ticks_of_gone_children: 50, threads: 3 };
        assert_eq!(Stat::parse(line), Some(expected));
        let gone = line.replace(") S ", ") Z ");
        assert!(Stat::parse(&gone).is_some_and(|stat| stat.ended && stat.threads == 0 && stat.ticks == 150));
        assert_eq!(Stat::parse("77 (a"), None);
    }

    #[test]
    fn amounts_of_memory_are_summed_only_if_all_are_told() {
        let text = "Rss:  1764 kB\nPss_Anon:   112 kB\nPss_Shmem:     4 kB\n";
        assert_eq!(kilobytes(text, &["Pss_Anon:", "Pss_Shmem:"]), Some(116 * 1024));
        assert_eq!(kilobytes(text, &["Pss_Anon:", "RssAnon:"]), None);
    }
}
