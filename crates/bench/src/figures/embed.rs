//! How soon a program that embeds a cluster has something running.
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use swarmkit::CancellationToken;
use swarmkit::api::{ServiceId, TaskState, wire};
use swarmkit::executor::InertExecutor;
use swarmkit::node::Node;
use swarmkit::runtime::Crew;
use swarmkit::store::{Interest, TaskBy};

use crate::daemon::sleepers;
use crate::lab::{Lab, Stopwatch};

/// `embed.ready`
pub(crate) fn ready(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    // As programs do that say `#[tokio::main]`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let samples = (0..repeats).map(|_| runtime.block_on(sample()));
    samples.collect()
}

async fn sample() -> Result<f64> {
    let (dir, stop) = (tempfile::tempdir()?, CancellationToken::new());
    let watch = Stopwatch::start();
    let node = Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0");
    let node = node.start(&stop).await?;
    let handle = node.handle();
    let mut crew = Crew::under(&stop);
    crew.spawn("node", |stop| node.run(stop));

    // The call waits until there is a leader.
    let mut control = handle.control().context("the founder of a cluster is no manager")?;
    let request = wire::CreateServiceRequest { spec: Some(sleepers("first", 1)) };
    let created = control.create_service(request).await?.into_inner().service.context("the answer has no service")?;
    let service = ServiceId::from(created.id);
    let store = handle.store().context("a manager has no store")?;
    let mut changes = store.watch(Interest::none().tasks_of_service(service.clone()));
    while !changes
        .next()
        .await?
        .view()
        .find(TaskBy::Service(&service))
        .any(|task| task.status.state == TaskState::Running)
    {}
    let milliseconds = watch.seconds() * 1000.0;

    stop.cancel();
    crew.finish().await.map_err(|error| anyhow!(error))?;
    Ok(milliseconds)
}
