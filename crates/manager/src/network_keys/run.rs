//! The loop around the decision, which the leader runs.

use std::time::Duration;

use swarmkit_api::{Cluster, Kind};
use swarmkit_runtime::{Env, PartError};
use swarmkit_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::{Due, Use, due, keep};

/// How often the clock is looked at, at least: it is that of the day, which is set and goes on while a machine sleeps.
const LOOK: Duration = Duration::from_secs(3600);

/// Keeps the cluster's keys for networks, until told to stop.
///
/// # Errors
///
/// When leadership was lost, or the store was closed.
pub(crate) async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), PartError> {
    let mut updates = store.watch(Kind::Cluster);
    let mut retry = store.retries("network keys");
    let mut pause = Duration::ZERO;
    loop {
        tokio::select! { biased; // stopping comes first, and the cluster as it is before what follows from it
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => drop(update?),
            () = env.sleep(pause.min(LOOK)) => {}
        }
        let kept = tokio::select! { biased; // what was not written is written by the next leader
            () = stop.cancelled() => return Ok(()),
            kept = keep_stored(&env, &store) => kept,
        };
        pause = match kept {
            Ok(pause) => {
                retry.reset();
                pause
            }
            Err(error) if error.is_transient() => {
                let pause = retry.next_delay();
                tracing::warn!(%error, ?pause, "the keys of networks cannot be written now");
                pause
            }
            Err(error) => return Err(error.into()),
        };
    }
}

/// Does what is due, and gives how long there is nothing to do. Writes nothing if nothing is due.
async fn keep_stored(env: &Env, store: &Store) -> Result<Duration, StoreError> {
    let view = store.view();
    let Some(cluster) = view.cluster() else { return Ok(LOOK) };
    if let Due::Nothing(pause) = due(cluster, env.now()) {
        return Ok(pause);
    }
    let mut pause = Duration::ZERO;
    // Decided on the newest state, which may have changed since.
    store
        .update(|tx| tx.edit::<Cluster>(&cluster.id, |cluster| pause = keep(cluster, &Use::ALL, env)).map(drop))
        .await?;
    tracing::info!("the keys of networks were renewed");
    Ok(pause)
}
