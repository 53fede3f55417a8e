//! A million tasks, and one more.

use anyhow::Result;

use super::setting::{Asked, Setting, large_node, runtime};
use crate::lab::{Lab, Stopwatch};

const NODES: usize = 10_000;
const SERVICES: usize = 1000;
const REPLICAS: usize = 1000;
/// In how many parts the tasks come.
const WINDOWS: usize = 10;
/// How many tasks come one by one after them.
const SINGLES: usize = 1000;

/// What one cluster that was filled comes to.
#[derive(Clone, Debug)]
pub(crate) struct Placements {
    /// Tasks in a second, in each part.
    rates: Vec<f64>,
    /// Milliseconds of each single task, ascending.
    singles: Vec<f64>,
}

/// `sched.placements`
pub(super) fn slowest(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let filled = filled(lab, repeats)?;
    Ok(filled.iter().map(|run| run.rates.iter().copied().fold(f64::INFINITY, f64::min)).collect())
}

/// `sched.placements_first`
pub(super) fn first(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(filled(lab, repeats)?.iter().map(|run| run.rates[0]).collect())
}

/// `sched.placements_last`
pub(super) fn last(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(filled(lab, repeats)?.iter().map(|run| run.rates[WINDOWS - 1]).collect())
}

/// `sched.single_p99`
pub(super) fn single_p99(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(filled(lab, repeats)?.iter().map(|run| run.singles[SINGLES * 99 / 100]).collect())
}

/// `sched.single_p50`
pub(super) fn single_p50(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(filled(lab, repeats)?.iter().map(|run| run.singles[SINGLES / 2]).collect())
}

/// All of them come from the same clusters.
fn filled(lab: &mut Lab, repeats: u32) -> Result<Vec<Placements>> {
    while lab.placements.len() < repeats as usize {
        let run = runtime()?.block_on(fill())?;
        lab.placements.push(run);
    }
    Ok(lab.placements[..repeats as usize].to_vec())
}

async fn fill() -> Result<Placements> {
    let services: Vec<Asked> = (0..SERVICES).map(service).collect();
    let mut setting = Setting::begin().await?;
    let make = |tx: &mut swarmkit::store::Transaction| {
        (0..NODES).try_for_each(|number| tx.create(large_node(number)).map(drop))?;
        services.iter().try_for_each(|asked| tx.create(asked.service()).map(drop))
    };
    setting.write(make).await?;
    let mut rates = Vec::new();
    for window in 0..WINDOWS {
        let tasks = SERVICES * REPLICAS / WINDOWS;
        let seconds = setting.assigned(tasks, |tx| {
            let numbers = window * tasks..(window + 1) * tasks;
            numbers.into_iter().try_for_each(|number| {
                let (service, slot) = (&services[number / REPLICAS], number % REPLICAS + 1);
                tx.create(service.task(number, slot)).map(drop)
            })
        });
        rates.push(tasks as f64 / seconds.await?);
        eprintln!("  {:.0}/s", rates[window]);
    }
    let mut singles = Vec::new();
    for single in 0..SINGLES {
        let task = services[single % SERVICES].task(SERVICES * REPLICAS + single, REPLICAS + single);
        let watch = Stopwatch::start();
        setting.write(|tx| tx.create(task).map(drop)).await?;
        setting.seen(1).await?;
        singles.push(watch.seconds() * 1e3);
    }
    setting.end().await?;
    singles.sort_by(f64::total_cmp);
    Ok(Placements { rates, singles })
}

/// Each of ten kinds of services keeps out of one of ten zones, and there are twelve sizes.
fn service(number: usize) -> Asked {
    let size = number as i64;
    Asked::new(number).reserving(10_000_000 * (1 + size % 4), (32 << 20) * (1 + size % 3)).placement(|placement| {
        placement.constraints = vec![format!("node.labels.zone != z{}", number % 10)];
        placement.platforms = vec![swarmkit::api::wire::Platform { os: "linux".into(), architecture: "amd64".into() }];
    })
}
