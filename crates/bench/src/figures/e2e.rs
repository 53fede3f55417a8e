//! From a wish to running processes.
mod replicas;

use anyhow::Result;

pub(super) use self::replicas::replicas_on;
use crate::daemon::Daemon;
use crate::lab::{Lab, Stopwatch};

/// Rounds before the first that counts: a node that has just started is not the one that users wait for.
const WARM_UP: u32 = 3;

/// `e2e.create_to_running`
pub(crate) fn create_to_running(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let samples = time_to_running(lab, 1, WARM_UP, repeats)?;
    Ok(samples.into_iter().map(|seconds| seconds * 1000.0).collect())
}

/// `e2e.processes_500`
pub(crate) fn processes_500(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    time_to_running(lab, 500, 0, repeats)
}

/// Seconds from the call to the last of `replicas` RUNNING, as a watcher of the store sees it.
fn time_to_running(lab: &Lab, replicas: u64, warm_up: u32, repeats: u32) -> Result<Vec<f64>> {
    let swarmd = lab.swarmd()?;
    lab.block_on(async {
        let state = tempfile::tempdir()?;
        let daemon = Daemon::start(swarmd, state.path()).await?;
        let mut samples = Vec::new();
        for round in 0..warm_up + repeats {
            let mut tasks = daemon.watch_tasks().await?;
            let watch = Stopwatch::start();
            let service = daemon.create_sleepers(&format!("sleep-{round}"), replicas).await?;
            tasks.running(&service, usize::try_from(replicas)?).await?;
            if round >= warm_up {
                samples.push(watch.seconds());
            }
            drop(tasks);
            daemon.remove(&service).await?;
        }
        daemon.stop().await?;
        Ok(samples)
    })
}
