//! The loop that keeps services as they were asked for: makes, replaces, starts, updates and gives up tasks.

use std::time::{Duration, SystemTime};

use swarmkit_api::{Kind, ServiceId, Version};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, slot::SlotKey, world::World};

/// How long is slept at most while something waits for its time: clocks may be set meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// Orchestrates services and jobs until told to stop.
///
/// Works at once when something changes or its time has come. While a decision is being committed further changes queue
/// up, and the next decision takes them all together.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! { biased; // nothing is decided after the stop
        () = stop.cancelled() => Ok(()),
        end = orchestrate(&env, &store) => end,
    }
}

async fn orchestrate(env: &Env, store: &Store) -> Result<(), Error> {
    let mut updates = store.watch([Kind::Cluster, Kind::Node, Kind::Service, Kind::Task]);
    let mut world = World::default();
    let mut retry = store.retries("services");
    loop {
        let alarm = world.next_alarm();
        tokio::select! { biased; // what has changed may make what the time says moot
            update = updates.next() => world.absorb(&update?, env.now()),
            () = sleep_until(env, alarm), if alarm.is_some() => {}
        }
        catch_up(env, &mut updates, &mut world, Version::default()).await?;
        while !world.due.is_empty() {
            let due = world.take_due();
            let plan = world.plan(&due, env.now());
            let log_driver = world.log_driver.clone();
            match store.write_each(&plan.steps, |step, tx| step.write(tx, env, log_driver.as_ref())).await {
                Ok(written) => {
                    retry.reset();
                    plan.alarms.into_iter().for_each(|(at, service, slot)| world.set_alarm(at, service, slot));
                    catch_up(env, &mut updates, &mut world, written.version).await?;
                    let refused = written.refused.into_iter().map(|index| &plan.steps[index]);
                    refused.for_each(|step| retry_step(&mut world, &step.service, step.slot.as_ref()));
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "decisions about services could not be committed; deciding again");
                    for (service, again) in due {
                        let due = world.due.entry(service).or_default();
                        due.whole |= again.whole;
                        due.slots.extend(again.slots);
                    }
                    env.sleep(retry.next_delay()).await;
                    catch_up(env, &mut updates, &mut world, Version::default()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Absorbs all that has arrived, at least up to a version, and what the time has made due.
async fn catch_up(env: &Env, updates: &mut Watch, world: &mut World, least: Version) -> Result<(), Error> {
    let at = world.version();
    let absorb = |update: &Update| {
        world.absorb(update, env.now());
        Ok::<(), Error>(())
    };
    updates.catch_up(at, least, absorb).await?;
    world.ring(env.now());
    Ok(())
}

fn retry_step(world: &mut World, service: &ServiceId, slot: Option<&SlotKey>) {
    if world.services.contains_key(service) {
        world.due.entry(service.clone()).or_default().slots.extend(slot.cloned());
    }
}

/// Waits until the clock shows a time, or may have been set. Without one, for ever.
async fn sleep_until(env: &Env, at: Option<SystemTime>) {
    let Some(at) = at else { return std::future::pending().await };
    env.sleep(at.duration_since(env.now()).unwrap_or_default().min(CLOCK_CHECK)).await;
}
