//! The loop around the decision.

use swarmkit_api::{Kind, Version};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, decision::Decision, world::World};

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
    let mut updates = store.watch([Kind::Cluster, Kind::Node, Kind::Service, Kind::Task, Kind::Volume]);
    let mut world = World::default();
    let mut retry = store.retries("scheduler");
    loop {
        world.absorb(&updates.next().await?, env.now());
        catch_up(env, &mut updates, &mut world, Version::default()).await?;
        while !world.due.is_empty() {
            let due = std::mem::take(&mut world.due);
            let mut plan = world.plan(&due, env.now());
            // Neighbours in the store are cheaper to write together. A decision does not depend on another's being written.
            plan.decisions.sort_by(|a, b| a.task().map(|task| &task.id).cmp(&b.task().map(|task| &task.id)));
            match store.write_each(&plan.decisions, Decision::write).await {
                Ok(written) => {
                    retry.reset();
                    world.note(plan.blocked);
                    world.note_limited(plan.limited);
                    world.due.put_back(plan.rest);
                    catch_up(env, &mut updates, &mut world, written.version).await?;
                    written.refused.iter().for_each(|index| world.retry(&plan.decisions[*index]));
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
    let at = world.version;
    let absorb = |update: &Update| {
        world.absorb(update, env.now());
        Ok::<(), Error>(())
    };
    updates.catch_up(at, version, absorb).await?;
    Ok(())
}
