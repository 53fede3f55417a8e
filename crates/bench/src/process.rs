//! What the kernel says of a process and its descendants, out of `/proc`.
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process and its descendants have used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Resident memory at this moment, in bytes.
    pub(crate) resident_bytes: u64,
    /// Processor time of those that live, user and system.
    pub(crate) processor_time: Duration,
}

/// Reads the usage of a process tree.
pub(crate) fn usage(root: u32) -> Result<Usage> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("reading /proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        // One that has just ended is no longer there to be read.
        if let Some(stat) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(Stat::parse) {
            stats.insert(pid, stat);
        }
    }
    let page = u64::try_from(rustix::param::page_size())?;
    let ticks = rustix::param::clock_ticks_per_second();
    stats.get(&root).with_context(|| format!("process {root} has ended"))?;
    let mut usage = Usage::default();
    for (pid, stat) in &stats {
        if descends(*pid, root, &stats) {
            usage.resident_bytes += stat.resident_pages * page;
            usage.processor_time += Duration::from_millis(stat.ticks * 1000 / ticks);
        }
    }
    Ok(usage)
}

/// Processor time that the calling thread has used so far.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Allows this process, and those that it starts from now on, to have so many files and sockets open.
pub(crate) fn allow_open_files(count: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    ensure!(maximum.is_none_or(|maximum| maximum >= count), "{count} open files are needed, and not allowed here");
    if current.is_some_and(|current| current < count) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum })?;
    }
    Ok(())
}

/// The fields of `/proc/PID/stat` that are of interest.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in parentheses that may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            ticks: number(11)? + number(12)?,
            resident_pages: number(21)?,
        })
    }
}

fn descends(pid: u32, root: u32, stats: &BTreeMap<u32, Stat>) -> bool {
    let mut next = Some(pid);
    while let Some(pid) = next {
        if pid == root {
            return true;
        }
        next = stats.get(&pid).map(|stat| stat.parent).filter(|parent| *parent != 0);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_is_passed_over() {
        let text =
            "42 (a) b (c)) S 7 42 42 0 -1 4194560 100 0 0 0 25 5 0 0 20 0 4 0 1000 9999 321 18446744073709551615";
        assert_eq!(Stat::parse(text), Some(Stat { parent: 7, ticks: 30, resident_pages: 321 }));
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn a_process_descends_from_itself_and_from_its_grandparent() {
        let stat = |parent| Stat { parent, ticks: 0, resident_pages: 0 };
        let stats = BTreeMap::from([(1, stat(0)), (5, stat(1)), (6, stat(5)), (7, stat(1))]);
        assert!(descends(5, 5, &stats) && descends(6, 1, &stats));
        assert!(!descends(7, 5, &stats));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = usage(std::process::id()).expect("this process is there");
        assert!(usage.resident_bytes > 100_000);
    }
}
