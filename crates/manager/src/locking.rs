//! Keeping this manager's key file locked as the cluster says, and changing the key of the log.

use std::{future::Future, io, pin::Pin, sync::Arc, time::Duration};

use swarmkit_api::Kind;
use swarmkit_ca::{Error as CaError, KeyStore, LockChange, ManagerLock};
use swarmkit_raft::{KeyKeeper, KeyRotator, LogKeys};
use swarmkit_runtime::{Env, Spawner};
use swarmkit_store::{Store, WatchEnded};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// How long to wait after the key file could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// What follows from a cluster that locks its managers.
pub(crate) struct Locking {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) keys: KeyStore,
    /// Asked for another key of the log when the present one had been on the disk in clear.
    pub(crate) rotator: KeyRotator,
    /// Told when the file has become locked: the private key had been on the disk in clear, too.
    pub(crate) locked: Arc<Notify>,
}

impl Locking {
    /// Follows the cluster until told to stop. A file that cannot be written is tried again every second; a lock that
    /// makes no sense is told, and the next one is waited for.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), WatchEnded> {
        self.finish_last_time().await;
        let mut updates = self.store.watch(Kind::Cluster);
        let (mut wanted, mut applied) = (None, None);
        loop {
            tokio::select! { biased; // stopping comes first, and what the cluster says now before what it said
                () = stop.cancelled() => return Ok(()),
                update = updates.next() => {
                    if let Some(cluster) = update?.view().cluster() {
                        wanted = told(ManagerLock::of(cluster)).or(wanted);
                    }
                }
                () = self.env.sleep(RETRY), if wanted.is_some() => {}
            }
            // Most changes of the cluster are about something else, and to read the file takes a while.
            let Some(lock) = wanted.take_if(|lock| applied.as_ref() != Some(&lock.key)) else {
                wanted = None;
                continue;
            };
            match self.apply(lock.clone()).await {
                Ok(()) => applied = Some(lock.key),
                Err(error) => {
                    tracing::error!(%error, "the key file does not follow the lock of the cluster");
                    wanted = matches!(error, CaError::Io { .. }).then_some(lock);
                }
            }
        }
    }

    /// A change of the log's key that was to follow when this node was stopped follows now.
    async fn finish_last_time(&self) {
        let keys = self.keys.clone();
        let kept = Spawner::blocking(move || keys.data_keys()).await;
        if kept.is_ok_and(|kept| kept.is_ok_and(|kept| kept.needs_rotation)) {
            self.rotator.request();
        }
    }

    async fn apply(&self, lock: ManagerLock) -> Result<(), CaError> {
        let keys = self.keys.clone();
        let version = lock.version;
        let changed = Spawner::blocking(move || keys.set_lock(&lock)).await;
        match changed.unwrap_or_else(|panicked| Err(CaError::Crypto { reason: panicked.to_string() }))? {
            LockChange::None => return Ok(()),
            LockChange::Lock => {
                tracing::info!(%version, "the keys of this manager are locked from now on");
                self.rotator.request();
                self.locked.notify_one();
            }
            LockChange::Relock => tracing::info!(%version, "the keys of this manager are locked with another key"),
            LockChange::Unlock => tracing::info!(%version, "the keys of this manager are not locked any more"),
        }
        Ok(())
    }
}

fn told(lock: Result<ManagerLock, CaError>) -> Option<ManagerLock> {
    lock.inspect_err(|error| tracing::error!(%error, "the unlock key of the cluster cannot be used")).ok()
}

/// Keeps the keys of the log in the headers of the key file.
pub(crate) struct KeyFileKeeper(pub(crate) KeyStore);

impl KeyKeeper for KeyFileKeeper {
    fn keep(&self, keys: &LogKeys) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        let (store, keys) = (self.0.clone(), keys.clone());
        Box::pin(async move {
            let kept = Spawner::blocking(move || {
                store.update_data_keys(|kept| {
                    // A change that was asked for begins when its key is there. What is asked for later, stays.
                    kept.needs_rotation &= keys.pending.is_none();
                    kept.current = Some((*keys.current.as_bytes()).into());
                    kept.pending = keys.pending.map(|key| (*key.as_bytes()).into());
                })
            });
            kept.await.map_err(io::Error::other)?.map_err(io::Error::other)
        })
    }
}
