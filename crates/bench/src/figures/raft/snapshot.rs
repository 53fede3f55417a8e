//! What writers notice of snapshots: three members with a million tasks, whose state is written out while others write.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};

use super::{Group, Load, load, runtime};
use crate::{
    figures::store::{MILLION, fill, tasks},
    lab::{Lab, Stopwatch},
};

const MEMBERS: usize = 3;
const WRITERS: usize = 128;

/// So many tasks are created before the next ones are.
const FILLED_AT_ONCE: usize = 2_000;

/// How long the load of each half runs.
const MEASURED: Duration = Duration::from_secs(10);

/// How long one snapshot may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Names of snapshots, and of files that are to become one.
const SNAPSHOT: &str = ".snap";
const UNFINISHED: &str = ".tmp";

/// The same load on the same members: without snapshots, and with one after the other.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    without: Load,
    with: Load,
}

/// `raft3.snapshot_p99_ratio`
pub(crate) fn snapshot_p99_ratio(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    each(lab, repeats, |pair| pair.with.p99_ms / pair.without.p99_ms)
}

/// `raft3.million_p50`
pub(crate) fn million_p50(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    each(lab, repeats, |pair| pair.without.p50_ms)
}

/// `raft3.million_p99`
pub(crate) fn million_p99(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    each(lab, repeats, |pair| pair.without.p99_ms)
}

/// `raft3.snapshot_p50`
pub(crate) fn snapshot_p50(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    each(lab, repeats, |pair| pair.with.p50_ms)
}

/// `raft3.snapshot_p99`
pub(crate) fn snapshot_p99(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    each(lab, repeats, |pair| pair.with.p99_ms)
}

fn each(lab: &mut Lab, repeats: u32, of: impl Fn(&Pair) -> f64) -> Result<Vec<f64>> {
    if lab.snapshots.is_empty() {
        lab.snapshots = runtime()?.block_on(pairs(repeats))?;
    }
    Ok(lab.snapshots.iter().map(of).collect())
}

async fn pairs(repeats: u32) -> Result<Vec<Pair>> {
    let group = Group::of(MEMBERS).await?;
    group.set_snapshot_interval(0)?;
    let mut tasks = tasks(MILLION, 1000).peekable();
    while tasks.peek().is_some() {
        // All at once would be a load that nothing is to be learnt from, and that may cost the leader its lease.
        fill(group.store()?, tasks.by_ref().take(FILLED_AT_ONCE)).await?;
    }
    let mut pairs = Vec::new();
    for _ in 0..repeats {
        let without = load(group.store()?, WRITERS, MEASURED).await?;
        // A snapshot is due after every entry: the next one begins when one is written, on all members.
        group.set_snapshot_interval(1)?;
        let with = load(group.store()?, WRITERS, MEASURED).await?;
        group.set_snapshot_interval(0)?;
        whole(&group).await?;
        pairs.push(Pair { without, with });
    }
    group.end().await?;
    Ok(pairs)
}

/// Waits until every member has finished what it has begun. It must have a snapshot then.
async fn whole(group: &Group) -> Result<()> {
    let watch = Stopwatch::start();
    for folder in group.folders() {
        while has(folder, UNFINISHED)? {
            ensure!(watch.elapsed() < DEADLINE, "a snapshot takes more than {} s", DEADLINE.as_secs());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        ensure!(has(folder, SNAPSHOT)?, "no snapshot was taken");
    }
    Ok(())
}

fn has(folder: &Path, suffix: &str) -> Result<bool> {
    let files = std::fs::read_dir(folder).context("looking for snapshots")?;
    let names: Vec<_> = files.map(|file| Ok(file?.file_name())).collect::<Result<_>>()?;
    Ok(names.iter().any(|name| name.to_string_lossy().ends_with(suffix)))
}
