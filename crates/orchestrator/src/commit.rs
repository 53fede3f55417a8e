//! Writing a plan, and reading on until it is seen.

use std::time::Duration;

use parking_lot::Mutex;
use swarmkit_api::Version;
use swarmkit_runtime::{Backoff, Env};
use swarmkit_store::{Store, StoreError, Transaction, Update, Watch};

use crate::Error;

/// How long to wait before trying again what the store could not take for the moment.
const RETRY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What became of a plan.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The version that holds the last of the writes. The least one when nothing was written.
    pub(crate) written: Version,
    /// The writes that no longer applied, by their place in the plan.
    pub(crate) refused: Vec<usize>,
}

/// The delays between attempts to write, drawn for one loop.
pub(crate) fn retries(env: &Env, label: &str) -> Backoff {
    Backoff::new(RETRY.0, RETRY.1, env.rng(label))
}

/// Writes in as few transactions as possible. `write` says whether what it was to write still applied.
pub(crate) async fn commit<'p, T: Sync>(
    store: &Store,
    writes: &'p [T],
    write: impl Fn(&T, &mut Transaction) -> Result<bool, StoreError> + Sync + Send,
) -> Result<Outcome, StoreError> {
    let outcome = Mutex::new(Outcome::default());
    let write_one = |index: usize, item: &'p T, tx: &mut Transaction| {
        let before = tx.changes();
        let applied = write(item, tx)?;
        let mut outcome = outcome.lock();
        if tx.changes() > before {
            outcome.written = tx.version().next();
        }
        if !applied {
            outcome.refused.push(index);
        }
        Ok::<(), StoreError>(())
    };
    let write_one = &write_one;
    let edits: Vec<_> =
        writes.iter().enumerate().map(|(index, item)| move |tx: &mut Transaction| write_one(index, item, tx)).collect();
    store.batch(edits).await?;
    Ok(outcome.into_inner())
}

/// Reads all that has arrived, at least up to a version, and gives the version reached: nothing is decided twice on the
/// same facts.
pub(crate) async fn catch_up(
    updates: &mut Watch,
    mut at: Version,
    least: Version,
    mut absorb: impl FnMut(&Update),
) -> Result<Version, Error> {
    while let Some(update) = updates.try_next()? {
        absorb(&update);
        at = update.view().version();
    }
    while at < least {
        let update = updates.next().await?;
        absorb(&update);
        at = update.view().version();
    }
    Ok(at)
}
