//! How long ten thousand agents are without a session when the leader of their managers is killed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use swarmkit::agent::AgentHandle;
use swarmkit_api::wire;
use swarmkit_torture::{Cluster, Network};

use super::fleet::Members;
use crate::{
    lab::{Lab, Stopwatch},
    process,
};

/// A build that is not optimized only shows that it works.
const AGENTS: usize = if cfg!(debug_assertions) { 20 } else { 10_000 };
/// The fewest managers that outlive one.
const MANAGERS: usize = 3;
/// The cluster is left alone so long before its leader is killed.
const REST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 1 } else { 10 });
/// A trial that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a manager and this program have open besides.
const OPEN_FILES: u64 = 512;

/// `disp.reconnect_10k`
pub(super) fn reconnect(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    (0..repeats).map(|_| lab.block_on(trial(lab))).collect()
}

async fn trial(lab: &Lab) -> Result<f64> {
    process::allow_open_files(AGENTS as u64 + OPEN_FILES)?;
    let dir = tempfile::tempdir()?;
    let mut cluster = Cluster::found(lab.swarmd()?, dir.path(), Network::loopback(MANAGERS)?, MANAGERS).await?;
    let addresses: Vec<String> = (0..MANAGERS).map(|member| cluster.network().address(member).to_string()).collect();
    let leader = cluster.leader().await.context("nobody leads")?;
    let mut control = cluster.members()[leader].client().control().await.context("the leader does not answer")?;
    let clusters = control.list_clusters(wire::ListClustersRequest::default()).await?.into_inner().clusters;
    let known = clusters.into_iter().next().context("there is no cluster")?;
    let fleet = Members::join(&known, &addresses[leader], AGENTS).await?.start(&addresses).await?;
    tokio::time::sleep(REST).await;
    let before: Vec<u64> = fleet.agents.iter().map(|agent| agent.contact().borrow().sessions).collect();

    let watch = Stopwatch::start();
    cluster.member_mut(leader).kill()?;
    let again = fleet.agents.iter().zip(before).map(|(agent, sessions)| again(agent, sessions));
    let all = tokio::time::timeout(PATIENCE, try_join_all(again)).await;
    all.with_context(|| format!("not all agents were back within {} s", PATIENCE.as_secs()))??;
    let seconds = watch.seconds();

    let next = cluster.leader().await.context("nobody leads")?;
    ensure!(next != leader, "the old leader leads");
    fleet.end().await?;
    Ok(seconds)
}

/// Waits until an agent has a later session than that.
async fn again(agent: &AgentHandle, sessions: u64) -> Result<()> {
    agent.contact().wait_for(|contact| contact.established && contact.sessions > sessions).await?;
    Ok(())
}
