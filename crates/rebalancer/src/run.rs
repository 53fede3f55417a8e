//! The loop around the decision.

use std::time::{Duration, SystemTime};

use swarmkit_api::{Kind, Service, Version};
use swarmkit_orchestrator::moving::Move;
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, Store, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::{Error, policy::ClusterPolicy, world::World};

/// After which time a service is looked at again whose move no longer applied when it was to be written. Mostly what has
/// changed is heard of sooner.
const REFUSED: Duration = Duration::from_secs(1);

/// Rebalances until told to stop.
///
/// As long as nobody asks for it, it looks at the cluster and at services, and at nothing else.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! { biased; // nothing is decided after the stop
        () = stop.cancelled() => Ok(()),
        end = rebalance(&env, &store) => end,
    }
}

async fn rebalance(env: &Env, store: &Store) -> Result<(), Error> {
    loop {
        until_asked_for(store).await?;
        while_asked_for(env, store).await?;
    }
}

/// Waits until there is a service that shall be moved.
async fn until_asked_for(store: &Store) -> Result<(), Error> {
    let mut updates = store.watch([Kind::Cluster, Kind::Service]);
    let mut cluster = ClusterPolicy::default();
    loop {
        let update = updates.next().await?;
        let before = std::mem::replace(&mut cluster, ClusterPolicy::of(update.view().cluster().map(AsRef::as_ref)));
        let asks = |service: &Service| cluster.limit_of(service).is_some();
        let is_asked_for = match &update {
            Update::Delta(delta) if before == cluster => delta
                .changes
                .iter()
                .any(|change| matches!(change, Change::Service(Edit { after: Some(service), .. }) if asks(service))),
            Update::Snapshot(view) | Update::Delta(swarmkit_store::Delta { view, .. }) => {
                view.all::<Service>().any(|service| asks(service))
            }
        };
        if is_asked_for {
            return Ok(());
        }
    }
}

/// Moves tasks as long as there is a service that shall be moved.
async fn while_asked_for(env: &Env, store: &Store) -> Result<(), Error> {
    let mut updates = store.watch([Kind::Cluster, Kind::Node, Kind::Service, Kind::Task]);
    let mut world = World::default();
    let mut retry = store.retries("rebalancer");
    loop {
        let alarm = world.next_alarm();
        tokio::select! { biased; // what has changed may make what the time says moot
            update = updates.next() => world.absorb(&update?, env.now()),
            () = sleep_until(env, alarm), if alarm.is_some() => {}
        }
        catch_up(env, &mut updates, &mut world, Version::default()).await?;
        while let Some(wish) = world.next_move(env.now()) {
            match store.write_each(std::slice::from_ref(&wish), |wish: &Move, tx| wish.write(tx, env)).await {
                Ok(written) => {
                    retry.reset();
                    if written.refused.is_empty() {
                        let (service, task) = (&wish.service.id, &wish.task.id);
                        tracing::info!(%service, %task, reason = wish.message, "a task is moved");
                    } else {
                        world.due.remove(&wish.service.id);
                        world.set_alarm(env.now() + REFUSED, Some(wish.service.id.clone()));
                    }
                    catch_up(env, &mut updates, &mut world, written.version).await?;
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(%error, "a move could not be committed; deciding again");
                    env.sleep(retry.next_delay()).await;
                    catch_up(env, &mut updates, &mut world, Version::default()).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if world.books.is_empty() {
            return Ok(());
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

/// Waits until the clock shows a time. Without one, for ever.
async fn sleep_until(env: &Env, at: Option<SystemTime>) {
    let Some(at) = at else { return std::future::pending().await };
    env.sleep(at.duration_since(env.now()).unwrap_or_default()).await;
}
