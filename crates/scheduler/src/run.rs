//! The loop around the decision.

use std::time::Duration;

use parking_lot::Mutex;
use swarmkit_api::{Kind, Version};
use swarmkit_runtime::{Backoff, Env};
use swarmkit_store::{Store, StoreError, Transaction, Watch};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    plan::{Decision, Plan},
    world::World,
};

/// How long to wait before trying again what the store could not take for the moment.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Schedules until told to stop.
///
/// Works at once when something changes. While a decision is being committed further changes queue up, and the next
/// decision takes them all together.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! { biased; // nothing is decided after the stop
        () = stop.cancelled() => Ok(()),
        end = schedule(&env, &store) => end,
    }
}

async fn schedule(env: &Env, store: &Store) -> Result<(), Error> {
    let mut updates = store.watch([Kind::Node, Kind::Service, Kind::Task]);
    let mut world = World::default();
    let mut retry = Backoff::new(RETRY.0, RETRY.1, env.rng("scheduler"));
    loop {
        world.absorb(&updates.next().await?, env.now());
        catch_up(env, &mut updates, &mut world, Version::default()).await?;
        while !world.due.is_empty() {
            let due = std::mem::take(&mut world.due);
            let plan = world.plan(&due, env.now());
            match commit(store, &plan).await {
                Ok(outcome) => {
                    retry.reset();
                    world.note(plan.blocked);
                    catch_up(env, &mut updates, &mut world, outcome.written).await?;
                    outcome.refused.iter().for_each(|index| world.retry(plan.decisions[*index].task()));
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "assignments could not be committed; deciding again");
                    world.due.put_back(due);
                    env.sleep(retry.next_delay()).await;
                    catch_up(env, &mut updates, &mut world, Version::default()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Absorbs all that has arrived, at least up to a version: nothing is decided twice on the same facts.
async fn catch_up(env: &Env, updates: &mut Watch, world: &mut World, version: Version) -> Result<(), Error> {
    while let Some(update) = updates.try_next()? {
        world.absorb(&update, env.now());
    }
    while world.version < version {
        world.absorb(&updates.next().await?, env.now());
    }
    Ok(())
}

/// What became of a plan.
#[derive(Default)]
struct Outcome {
    /// The version that holds the last of the writes. The least one when nothing was written.
    written: Version,
    /// The decisions that no longer applied, by their place in the plan.
    refused: Vec<usize>,
}

async fn commit(store: &Store, plan: &Plan) -> Result<Outcome, StoreError> {
    let outcome = Mutex::new(Outcome::default());
    let write = |index: usize, decision: &Decision, tx: &mut Transaction| {
        let before = tx.changes();
        let applied = decision.write(tx)?;
        let mut outcome = outcome.lock();
        if tx.changes() > before {
            outcome.written = tx.version().next();
        }
        if !applied {
            outcome.refused.push(index);
        }
        Ok::<(), StoreError>(())
    };
    let write = &write;
    let edits: Vec<_> =
        (0..).zip(&plan.decisions).map(|(index, it)| move |tx: &mut Transaction| write(index, it, tx)).collect();
    store.batch(edits).await?;
    Ok(outcome.into_inner())
}
