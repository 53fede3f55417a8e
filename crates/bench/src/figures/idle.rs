//! What a node costs that has nothing to do.
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarmkit_api::wire;

use crate::daemon::{Daemon, Worker};
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

/// `agent.idle_rss`
pub(crate) fn worker_rss(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    (0..repeats).map(|_| lab.block_on(worker(lab))).collect()
}

/// Megabytes of a worker that has a manager of its own.
async fn worker(lab: &Lab) -> Result<f64> {
    let (state, own) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let daemon = Daemon::start(lab.swarmd()?, state.path()).await?;
    let token = daemon.cluster().await?.root_ca.and_then(|root| root.join_tokens).context("no tokens")?.worker;
    let worker = Worker::start(lab.swarmd()?, own.path(), &daemon.remote, &token)?;
    tokio::time::sleep(SETTLE + WINDOW).await;
    let nodes = daemon.client.control().list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes;
    let is_ready = |node: &&wire::Node| {
        node.status.as_ref().is_some_and(|status| status.state() == wire::node_status::State::Ready)
    };
    let ready = nodes.iter().filter(is_ready).count();
    ensure!(ready == 2, "{ready} nodes are ready, not two\n{}", worker.tail());
    let resident = process::usage(worker.pid())?.resident_bytes;
    drop(worker);
    daemon.stop().await?;
    Ok(resident as f64 / 1e6)
}
