//! The loop around the decision.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use swarmkit_api::{Kind, Volume, VolumeId};
use swarmkit_store::{Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Error, VolumePlugins, act::act, desk::Desk, work::Work};

/// Makes, attaches, detaches and deletes volumes until told to stop.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(store: Store, plugins: Arc<dyn VolumePlugins>, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! { biased; // no plugin is asked after the stop
        () = stop.cancelled() => Ok(()),
        end = manage(&store, plugins.as_ref()) => end,
    }
}

async fn manage(store: &Store, plugins: &dyn VolumePlugins) -> Result<(), Error> {
    let mut updates = store.watch([Kind::Volume, Kind::Node]);
    let mut desk = Desk::default();
    let mut calls = FuturesUnordered::new();
    loop {
        let now = Instant::now();
        while let Some(volume) = desk.take(now) {
            calls.push(serve(store, plugins, volume));
        }
        let next = desk.next_time(now);
        tokio::select! { biased; // what has changed may make other work moot
            update = updates.next() => desk.absorb(&update?, Instant::now()),
            Some((volume, success)) = calls.next(), if !calls.is_empty() => desk.done(&volume, success?, Instant::now()),
            () = tokio::time::sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}

/// Does what is to be done about a volume now. Gives whether there is nothing left to be tried again.
async fn serve(store: &Store, plugins: &dyn VolumePlugins, id: VolumeId) -> (VolumeId, Result<bool, StoreError>) {
    let view = store.view();
    let Some(volume) = view.get::<Volume>(&id) else { return (id, Ok(true)) };
    let Some(work) = Work::on(volume, &view) else { return (id, Ok(true)) };
    let outcome = act(work, volume, &view, plugins).await;
    let written = store.update(|tx| outcome.write(&id, tx)).await;
    let success = match written {
        Ok(_) => Ok(outcome.is_success()),
        Err(error) if error.is_transient() => {
            tracing::warn!(volume = %id, %error, "what a storage plugin did could not be committed; it is asked again");
            Ok(false)
        }
        Err(error) => Err(error),
    };
    (id, success)
}
