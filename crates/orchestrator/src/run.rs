//! All loops of the orchestrator together.

use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio_util::sync::CancellationToken;

use crate::{deallocator, enforcer, reaper, services, volumes};

/// Runs [`services`], [`reaper`], [`enforcer`], [`volumes`] and the deallocator until told to stop, or until one of them ends.
///
/// # Errors
///
/// The [`Error`](crate::Error) of the first loop that failed: when this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), PartError> {
    let mut crew = Crew::under(&stop);
    crew.spawn("services", |stop| services::run(env.clone(), store.clone(), stop));
    crew.spawn("reaper", |stop| reaper::run(env.clone(), store.clone(), stop));
    crew.spawn("enforcer", |stop| enforcer::run(env.clone(), store.clone(), stop));
    crew.spawn("volumes", |stop| volumes::run(env.clone(), store.clone(), stop));
    crew.spawn("deallocator", |stop| deallocator::run(env, store, stop));
    crew.finish().await
}
