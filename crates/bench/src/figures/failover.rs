//! How long a cluster of three managers takes no writes when it loses its leader.
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarmkit_api::wire;
use swarmkit_torture::{Client, Cluster, Network};
use tokio::time::{sleep, timeout};

use crate::lab::{Lab, Progress, Stopwatch};

/// How many managers: the fewest that outlive one.
const MANAGERS: usize = 3;

/// How long one try may take. What is asked of a manager that waits for a leader stays there.
const TRY_LIMIT: Duration = Duration::from_secs(5);

/// Time between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(1);

/// How long the cluster may take to take writes, and to be whole again.
const DEADLINE: Duration = Duration::from_secs(60);

/// The cluster is left alone so long before each trial.
const REST: Duration = Duration::from_millis(500);

/// How the leader goes.
#[derive(Clone, Copy)]
enum How {
    /// SIGKILL.
    Killed,
    /// SIGTERM.
    Stopped,
}

/// `failover.kill`
pub(crate) fn kill(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    trials(lab, repeats, How::Killed)
}

/// `failover.graceful`
pub(crate) fn graceful(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    trials(lab, repeats, How::Stopped)
}

fn trials(lab: &Lab, repeats: u32, how: How) -> Result<Vec<f64>> {
    let swarmd = lab.swarmd()?;
    lab.block_on(async {
        let dir = tempfile::tempdir()?;
        let mut cluster = Cluster::found(swarmd, dir.path(), Network::loopback(MANAGERS)?, MANAGERS).await?;
        let (mut samples, mut progress) = (Vec::new(), Progress::begin(repeats));
        for number in 0..repeats {
            progress.tell(&samples);
            samples.push(trial(&mut cluster, number, how).await.with_context(|| format!("trial {number}"))?);
            whole_again(&cluster).await?;
        }
        progress.tell(&samples);
        Ok(samples)
    })
}

/// Milliseconds from the signal to the answer to the first write that another manager takes.
async fn trial(cluster: &mut Cluster, number: u32, how: How) -> Result<f64> {
    let leader = cluster.leader().await.context("nobody leads")?;
    let mut client = cluster.members()[(leader + 1) % MANAGERS].client();
    ensure!(write(&mut client, format!("before-{number}")).await, "a write is not taken although all is well");
    let watch = Stopwatch::start();
    match how {
        How::Killed => cluster.member_mut(leader).kill()?,
        How::Stopped => cluster.members()[leader].ask_to_stop()?,
    }
    for attempt in 0.. {
        if write(&mut client, format!("after-{number}-{attempt}")).await {
            break;
        }
        ensure!(watch.elapsed() < DEADLINE, "no write was taken within {} s", DEADLINE.as_secs());
        sleep(TRY_AGAIN).await;
    }
    let taken = watch.seconds() * 1000.0;
    if let How::Stopped = how {
        cluster.member_mut(leader).stopped(DEADLINE).await?;
    }
    cluster.restart(leader)?;
    Ok(taken)
}

/// Whether a small object was created.
async fn write(client: &mut Client, name: String) -> bool {
    let annotations = wire::Annotations { name, ..Default::default() };
    let spec = wire::ConfigSpec { annotations: Some(annotations), data: b"x".to_vec().into(), ..Default::default() };
    let create = async {
        let request = wire::CreateConfigRequest { spec: Some(spec) };
        client.control().await?.create_config(request).await.ok()
    };
    timeout(TRY_LIMIT, create).await.is_ok_and(|answer| answer.is_some())
}

async fn whole_again(cluster: &Cluster) -> Result<()> {
    let watch = Stopwatch::start();
    while !cluster.stands(MANAGERS).await {
        ensure!(watch.elapsed() < DEADLINE, "the cluster was not whole again within {} s", DEADLINE.as_secs());
        sleep(REST / 10).await;
    }
    sleep(REST).await;
    Ok(())
}
