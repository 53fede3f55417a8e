//! The loop of those who only tidy up: they look at what has changed, and write or delete what follows from it.

use swarmkit_api::{Kind, Version};
use swarmkit_runtime::Env;
use swarmkit_store::{Store, StoreError, Transaction, Update, Watch};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Somebody who tidies up.
pub(crate) trait Keeper: Default + Send {
    /// Its name, for logs and for the jitter of its retries.
    const NAME: &str;
    /// What it looks at.
    const KINDS: &[Kind];
    /// Whether it looks at what it writes, so that it can wait until it sees it.
    const SEES_ITS_WRITES: bool;
    /// One thing to write.
    type Write: Send + Sync;

    /// Takes over an update, and marks what has to be looked at.
    fn absorb(&mut self, update: &Update);

    /// What follows from what was marked. Nothing is marked afterwards.
    fn plan(&mut self) -> Vec<Self::Write>;

    /// Writes it, if what it was based on still holds. Gives whether it did.
    fn write(write: &Self::Write, tx: &mut Transaction) -> Result<bool, StoreError>;

    /// Marks what a write was about.
    fn again(&mut self, write: &Self::Write);
}

/// Keeps things tidy until told to stop.
pub(crate) async fn keep<K: Keeper>(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    tokio::select! { biased; // nothing is decided after the stop
        () = stop.cancelled() => Ok(()),
        end = tidy::<K>(&env, &store) => end,
    }
}

async fn tidy<K: Keeper>(env: &Env, store: &Store) -> Result<(), Error> {
    let mut updates = store.watch(K::KINDS);
    let mut keeper = K::default();
    let mut retry = store.retries(K::NAME);
    let mut version = Version::default();
    loop {
        keeper.absorb(&updates.next().await?);
        version = catch_up(&mut updates, &mut keeper, version, Version::default()).await?;
        loop {
            let plan = keeper.plan();
            if plan.is_empty() {
                break;
            }
            let least = match store.write_each(&plan, K::write).await {
                Ok(written) => {
                    retry.reset();
                    written.refused.iter().for_each(|index| keeper.again(&plan[*index]));
                    if K::SEES_ITS_WRITES { written.version } else { Version::default() }
                }
                Err(error) if error.is_transient() => {
                    tracing::warn!(loop_name = K::NAME, %error, "writes could not be committed; trying again");
                    plan.iter().for_each(|write| keeper.again(write));
                    env.sleep(retry.next_delay()).await;
                    Version::default()
                }
                Err(error) => return Err(error.into()),
            };
            version = catch_up(&mut updates, &mut keeper, version, least).await?;
        }
    }
}

async fn catch_up<K: Keeper>(
    updates: &mut Watch,
    keeper: &mut K,
    at: Version,
    least: Version,
) -> Result<Version, Error> {
    let absorb = |update: &Update| {
        keeper.absorb(update);
        Ok(())
    };
    updates.catch_up(at, least, absorb).await
}
