//! Durable writes, alone and in a group of three.
//!
//! The members run in this process, each on a folder of its own that is synced for real, and reach each other over
//! sockets of this machine with mutual TLS.

mod group;
mod snapshot;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{Service, ServiceId, wire},
    runtime::Crew,
    store::Store,
};
use tokio::runtime::Runtime;

pub(super) use self::group::Group;
pub(crate) use self::snapshot::{Pair, million_p50, million_p99, snapshot_p50, snapshot_p99, snapshot_p99_ratio};
use crate::lab::{Lab, Stopwatch};

/// How long a load runs before it is measured, and while it is.
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(3);

/// What one run of writers came to.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Loads that were measured, by members and writers: rate and latency come from the same runs.
pub(crate) type Loads = BTreeMap<(usize, usize), Vec<Load>>;

/// Writes a second.
pub(crate) fn writes<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.per_second).collect())
}

/// Median time of a write.
pub(crate) fn p50<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.p50_ms).collect())
}

/// The time that 99 of 100 writes stay below.
pub(crate) fn p99<const MEMBERS: usize, const WRITERS: usize>(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(loads(lab, MEMBERS, WRITERS, repeats)?.into_iter().map(|load| load.p99_ms).collect())
}

fn loads(lab: &mut Lab, members: usize, writers: usize, repeats: u32) -> Result<Vec<Load>> {
    if let Some(known) = lab.loads.get(&(members, writers)) {
        return Ok(known.clone());
    }
    let runtime = runtime()?;
    let measured: Vec<Load> = runtime.block_on(async {
        let group = Group::of(members).await?;
        let store = group.store()?;
        let mut measured = Vec::new();
        for _ in 0..repeats {
            measured.push(load(store, writers, MEASURED).await?);
        }
        group.end().await?;
        Ok::<_, anyhow::Error>(measured)
    })?;
    lab.loads.insert((members, writers), measured.clone());
    Ok(measured)
}

/// As programs do that say `#[tokio::main]`.
fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Lets writers write, each one write after the other, and looks at those of so long a time.
async fn load(store: &Store, writers: usize, measured: Duration) -> Result<Load> {
    let watch = Stopwatch::start();
    let mut crew = Crew::under(&CancellationToken::new());
    let (latencies, mut gathered) = tokio::sync::mpsc::channel(writers);
    for writer in 0..writers {
        let (store, latencies) = (store.clone(), latencies.clone());
        crew.spawn("writer", move |_| async move {
            let taken = one_writer(&store, &format!("w{writer}"), watch, measured).await?;
            latencies.send(taken).await.map_err(|error| anyhow!(error))
        });
    }
    drop(latencies);
    crew.finish().await.map_err(|error| anyhow!(error))?;
    let mut all: Vec<Duration> = Vec::new();
    while let Some(some) = gathered.recv().await {
        all.extend(some);
    }
    all.sort_unstable();
    let at = |share: f64| all.get((all.len() as f64 * share) as usize).map(|took| took.as_secs_f64() * 1000.0);
    let (p50_ms, p99_ms) = at(0.5).zip(at(0.99)).context("nothing was written")?;
    Ok(Load { per_second: all.len() as f64 / measured.as_secs_f64(), p50_ms, p99_ms })
}

/// Updates one service over and over, and gives how long the writes took that began while it was measured.
async fn one_writer(store: &Store, name: &str, watch: Stopwatch, measured: Duration) -> Result<Vec<Duration>> {
    let id = ServiceId::from(name);
    if store.view().get::<Service>(&id).is_none() {
        store.update(|tx| tx.create(service(&id, 0))).await?;
    }
    let mut taken = Vec::new();
    for round in 1.. {
        let began = watch.elapsed();
        if began > WARM_UP + measured {
            break;
        }
        store.update(|tx| tx.edit::<Service>(&id, |known| known.spec = service(&id, round).spec)).await?;
        let ended = watch.elapsed();
        if began >= WARM_UP && ended <= WARM_UP + measured {
            taken.push(ended.saturating_sub(began));
        }
    }
    Ok(taken)
}

fn service(id: &ServiceId, round: u64) -> Service {
    let labels = [("round".to_owned(), round.to_string())].into();
    let annotations = Some(wire::Annotations { name: id.to_string(), labels, ..Default::default() });
    Service::new(id.clone(), wire::ServiceSpec { annotations, ..Default::default() })
}

/// How long an append of 512 bytes and its sync take on the disk of these figures.
pub(crate) fn fsync(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    use std::io::Write as _;
    let folder = tempfile::tempdir()?;
    let mut file = std::fs::File::create(folder.path().join("log"))?;
    let mut samples = Vec::new();
    for _ in 0..repeats {
        let watch = Stopwatch::start();
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        samples.push(watch.seconds() * 1000.0);
    }
    Ok(samples)
}
