//! One leader term: everything that only the leader does.

use std::sync::Arc;

use swarmkit_allocator::InertNetworks;
use swarmkit_dispatcher::Dispatcher;
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

/// Runs one leader term, until told to stop or until a part of it ends.
///
/// # Errors
///
/// Why the first part ended that did so before its time.
pub(crate) async fn run(
    env: Env,
    store: Store,
    dispatcher: Dispatcher,
    stop: CancellationToken,
) -> Result<(), PartError> {
    let mut crew = Crew::under(&stop);
    crew.spawn("issuer", |stop| swarmkit_issuer::run(env.clone(), store.clone(), stop));
    crew.spawn("allocator", |stop| swarmkit_allocator::run(env.clone(), store.clone(), Arc::new(InertNetworks), stop));
    crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
    crew.spawn("services", |stop| swarmkit_orchestrator::services::run(env.clone(), store.clone(), stop));
    crew.spawn("dispatcher", move |stop| async move { dispatcher.run(stop).await });
    crew.finish().await
}
