//! How fast tasks come into being.

use anyhow::{Result, anyhow};
use swarmkit::{
    CancellationToken,
    api::Service,
    runtime::{Crew, Env},
    store::{Interest, Store, TaskBy},
};

use super::{
    reaction::runtime,
    setting::{create, service, service_id, until},
};
use crate::{
    figures::raft::Group,
    lab::{Lab, Stopwatch},
};

const REPLICAS: usize = 100_000;

/// `orch.scale_100k`
pub(super) fn local(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let runtime = runtime()?;
    (0..repeats).map(|_| runtime.block_on(async { scale(&Store::local(Env::real())).await })).collect()
}

/// `orch.scale_100k_raft1`
pub(super) fn replicated(_: &mut Lab, repeats: u32) -> Result<Vec<f64>> {
    let runtime = runtime()?;
    let sample = || {
        runtime.block_on(async {
            let group = Group::of(1).await?;
            let rate = scale(group.store()?).await?;
            group.end().await?;
            Ok(rate)
        })
    };
    (0..repeats).map(|_| sample()).collect()
}

async fn scale(store: &Store) -> Result<f64> {
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("orchestrator", |stop| swarmkit::orchestrator::run(Env::real(), store.clone(), stop));
    create(store, [service(0, 0)]).await?;
    let id = service_id(0);
    let mut changes = store.watch(Interest::none().tasks_of_service(id.clone()));
    let wanted = service(0, REPLICAS as u64).spec;
    let watch = Stopwatch::start();
    store.update(|tx| tx.edit::<Service>(&id, |service| service.spec = wanted)).await?;
    until(&mut changes, REPLICAS, |state| state.find(TaskBy::Service(&id)).count()).await?;
    let rate = REPLICAS as f64 / watch.seconds();
    crew.stop().cancel();
    crew.finish().await.map_err(|error| anyhow!(error))?;
    Ok(rate)
}
