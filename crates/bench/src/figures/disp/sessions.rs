//! Ten thousand sessions that do nothing but stand.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use swarmkit_api::wire;

use super::fleet::{Fleet, Members};
use crate::{
    daemon::Daemon,
    lab::{Lab, Stopwatch},
    process,
};

/// A build that is not optimized only shows that it works.
const SESSIONS: usize = if cfg!(debug_assertions) { 20 } else { 10_000 };
/// How long nothing is measured after the last session was opened, and how long one sample takes.
const SETTLE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 2 } else { 20 });
const SAMPLE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 6 } else { 60 });
/// What the manager and this program have open besides.
const OPEN_FILES: u64 = 512;

/// What one manager with its sessions came to.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    percent: Vec<f64>,
    bytes_each: f64,
}

/// `disp.sessions_10k`
pub(super) fn processor(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.percent)
}

/// `disp.session_bytes`
pub(super) fn memory(lab: &mut Lab, _: u32) -> Result<Vec<f64>> {
    Ok(vec![measured(lab, 1)?.bytes_each])
}

fn measured(lab: &mut Lab, samples: u32) -> Result<Sessions> {
    if lab.sessions.is_none() {
        let measured = lab.block_on(measure(lab, samples))?;
        lab.sessions = Some(measured);
    }
    lab.sessions.clone().context("invariant: it was measured just now")
}

async fn measure(lab: &Lab, samples: u32) -> Result<Sessions> {
    process::allow_open_files(SESSIONS as u64 + OPEN_FILES)?;
    let state = tempfile::tempdir()?;
    let daemon = Daemon::start(lab.swarmd()?, state.path()).await?;
    tokio::time::sleep(SETTLE).await;
    let empty = process::usage(daemon.pid())?.resident_bytes;

    let members = Members::join(&daemon.cluster().await?, &daemon.remote, SESSIONS).await?;
    let ids: Vec<String> = members.ids().map(|id| id.to_string()).collect();
    let fleet = members.start(std::slice::from_ref(&daemon.remote)).await?;
    tokio::time::sleep(SETTLE).await;

    let (before, had) = (standing(&daemon, &ids).await?, sessions(&fleet));
    let mut percent = Vec::new();
    for _ in 0..samples {
        let (watch, used) = (Stopwatch::start(), process::usage(daemon.pid())?.processor_time);
        tokio::time::sleep(SAMPLE).await;
        let used = process::usage(daemon.pid())?.processor_time.saturating_sub(used);
        percent.push(used.as_secs_f64() / watch.seconds() * 100.0);
    }
    let full = process::usage(daemon.pid())?.resident_bytes;
    ensure!(standing(&daemon, &ids).await? == before, "a node was written meanwhile, so one was taken for down");
    tell_lost(&fleet, &had);
    fleet.end().await?;
    daemon.stop().await?;
    Ok(Sessions { percent, bytes_each: full.saturating_sub(empty) as f64 / SESSIONS as f64 })
}

/// How many sessions each agent has had.
fn sessions(fleet: &Fleet) -> Vec<u64> {
    fleet.agents.iter().map(|agent| agent.contact().borrow().sessions).collect()
}

/// Says how many agents have had another session since. On a busy machine that is no fault of the manager: an agent that gets no
/// answer within five seconds asks anew, which is no sign of a node that is down.
fn tell_lost(fleet: &Fleet, had: &[u64]) {
    let lost = sessions(fleet).into_iter().zip(had).filter(|(has, had)| has != *had).count();
    if lost > 0 {
        eprintln!("{lost} agents have lost their session meanwhile, and were not taken for down");
    }
}

/// The versions of these nodes, all of which are ready. Heartbeats are not written, so they stay the same.
async fn standing(daemon: &Daemon, ids: &[String]) -> Result<BTreeMap<String, u64>> {
    let nodes = daemon.client.control().list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes;
    let nodes: BTreeMap<String, wire::Node> = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
    let mut versions = BTreeMap::new();
    for id in ids {
        let node = nodes.get(id).context("a node is missing")?;
        let state = node.status.as_ref().map(wire::NodeStatus::state);
        ensure!(state == Some(wire::node_status::State::Ready), "a node is {state:?}");
        let version = node.meta.as_ref().and_then(|meta| meta.version).unwrap_or_default();
        versions.insert(id.clone(), version.index);
    }
    Ok(versions)
}
