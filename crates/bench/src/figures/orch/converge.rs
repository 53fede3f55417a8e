//! A cluster of one node in which many services come into being, and then nothing happens.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::{ServiceId, wire},
    rpc::Channel,
    runtime::Crew,
    store::Interest,
};
use tokio::sync::Semaphore;
use wire::control_client::ControlClient;

use super::{cluster::Cluster, reaction::runtime, setting::made};
use crate::{
    daemon::sleepers,
    lab::{Lab, Stopwatch},
    process,
};

const SERVICES: usize = 10_000;
const REPLICAS: usize = 10;
const CALLERS: usize = 64;
/// How long nothing is asked of it before it is watched, and while it is.
const SETTLE: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(20);
/// How many services are then updated, one after the other.
const UPDATES: usize = 50;

/// What one cluster came to.
#[derive(Clone, Debug)]
pub(crate) struct Converged {
    seconds: f64,
    processor_seconds: f64,
    idle_percent: f64,
    megabytes: f64,
    reactions_ms: Vec<f64>,
}

/// `orch.converge_10kx10`
pub(super) fn converge(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.map(|run| run.seconds).collect())
}

/// `orch.idle_cpu_10kx10`
pub(super) fn idle(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.map(|run| run.idle_percent).collect())
}

/// `orch.converge_10kx10_cpu`
pub(super) fn processor_time(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.map(|run| run.processor_seconds).collect())
}

/// `orch.converge_10kx10_rss`
pub(super) fn memory(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.map(|run| run.megabytes).collect())
}

/// `orch.update_reaction_node`
pub(super) fn reactions(lab: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    Ok(measured(lab, repeats)?.flat_map(|run| run.reactions_ms).collect())
}

fn measured(lab: &mut Lab, repeats: u32) -> Result<impl Iterator<Item = Converged>> {
    let repeats = repeats as usize;
    while lab.converged.len() < repeats {
        let run = runtime()?.block_on(run())?;
        lab.converged.push(run);
    }
    Ok(lab.converged.clone().into_iter().take(repeats))
}

async fn run() -> Result<Converged> {
    let cluster = Cluster::of_one().await?;
    let usage = || process::usage(std::process::id());
    let (begin, watch) = (usage()?, Stopwatch::start());
    create_all(&cluster).await?;
    cluster.running(None, SERVICES * REPLICAS).await?;
    let (seconds, end) = (watch.seconds(), usage()?);

    tokio::time::sleep(SETTLE).await;
    let (before, watch) = (usage()?, Stopwatch::start());
    tokio::time::sleep(QUIET).await;
    let after = usage()?;
    let busy = after.processor_time.saturating_sub(before.processor_time);
    let idle_percent = busy.as_secs_f64() / watch.seconds() * 100.0;

    let reactions_ms = react(&cluster).await?;
    cluster.end().await?;
    Ok(Converged {
        seconds,
        processor_seconds: end.processor_time.saturating_sub(begin.processor_time).as_secs_f64(),
        idle_percent,
        megabytes: after.resident_bytes as f64 / 1e6,
        reactions_ms,
    })
}

async fn create_all(cluster: &Cluster) -> Result<()> {
    let (callers, mut crew) = (Arc::new(Semaphore::new(CALLERS)), Crew::under(&CancellationToken::new()));
    for number in 0..SERVICES {
        let (control, place) = (cluster.control()?, callers.clone().acquire_owned().await?);
        crew.spawn("caller", move |_| async move {
            create(control, &name(number), REPLICAS as u64).await.map(|_| drop(place))
        });
    }
    crew.finish().await.map_err(|error| anyhow!(error))
}

/// Creates a service, and gives its id.
pub(in crate::figures) async fn create(
    mut control: ControlClient<Channel>,
    name: &str,
    replicas: u64,
) -> Result<ServiceId> {
    let request = wire::CreateServiceRequest { spec: Some(sleepers(name, replicas)) };
    let service = control.create_service(request).await?.into_inner().service.context("the answer has no service")?;
    Ok(ServiceId::from(service.id))
}

fn name(number: usize) -> String {
    format!("s{number}")
}

/// How many milliseconds it takes from a call that updates a service to its first new task, one service after the other.
async fn react(cluster: &Cluster) -> Result<Vec<f64>> {
    let (mut control, store) = (cluster.control()?, cluster.store()?);
    let mut samples = Vec::new();
    for number in 0..UPDATES {
        let filters = wire::list_services_request::Filters { names: vec![name(number)], ..Default::default() };
        let request = wire::ListServicesRequest { filters: Some(filters) };
        let found = control.list_services(request).await?.into_inner().services;
        let wire::Service { id, meta, spec, .. } = found.into_iter().next().context("a service is missing")?;
        let mut spec = spec.context("a service has a specification")?;
        spec.task.get_or_insert_default().force_update += 1;
        let service_version = meta.context("a service has a version")?.version;
        let mut tasks = store.watch(Interest::none().tasks_of_service(ServiceId::from(id.as_str())));
        tasks.next().await?;
        let watch = Stopwatch::start();
        let request =
            wire::UpdateServiceRequest { service_id: id, service_version, spec: Some(spec), ..Default::default() };
        control.update_service(request).await?;
        made(&mut tasks, 1).await?;
        samples.push(watch.seconds() * 1e3);
    }
    Ok(samples)
}
