//! What a node costs that has nothing to do.
use std::time::Duration;

use anyhow::Result;

use crate::daemon::Daemon;
use crate::lab::{Lab, Stopwatch};
use crate::process;

/// How long the node is watched.
const WINDOW: Duration = Duration::from_secs(60);

/// What is left out at first: starting up is not idling.
const SETTLE: Duration = Duration::from_secs(5);

/// One measurement, which gives a sample of both figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    megabytes: f64,
    percent: f64,
}

/// `idle.rss`
pub(crate) fn rss(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measure(lab, repeats)?.map(|idle| idle.megabytes).collect())
}

/// `idle.cpu`
pub(crate) fn cpu(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measure(lab, repeats)?.map(|idle| idle.percent).collect())
}

/// Measures as often as has not been done yet.
fn measure(lab: &mut Lab, repeats: u32) -> Result<impl Iterator<Item = Idle>> {
    let repeats = usize::try_from(repeats)?;
    while lab.idle.len() < repeats {
        let swarmd = lab.swarmd()?;
        let idle = lab.block_on(async {
            let state = tempfile::tempdir()?;
            let daemon = Daemon::start(swarmd, state.path()).await?;
            tokio::time::sleep(SETTLE).await;
            let watch = Stopwatch::start();
            let before = process::usage(daemon.pid())?;
            tokio::time::sleep(WINDOW).await;
            let after = process::usage(daemon.pid())?;
            let busy = after.processor_time.saturating_sub(before.processor_time);
            let percent = busy.as_secs_f64() / watch.seconds() * 100.0;
            daemon.stop().await?;
            Ok(Idle { megabytes: after.resident_bytes as f64 / 1e6, percent })
        })?;
        lab.idle.push(idle);
    }
    Ok(lab.idle.clone().into_iter().take(repeats))
}
