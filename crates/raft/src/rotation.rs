//! Changing the key of the log and the snapshots of a member that runs.
//!
//! [`Raft::rotate_key`](crate::Raft::rotate_key) seals everything anew. What must happen around it, so that a crash at any
//! moment leaves keys that open the disk, is the work of a [`KeyRotation`]: the new key is kept as pending before anything
//! is sealed with it, and the old one is forgotten after nothing is sealed with it any more.

use std::{fmt, io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use swarmkit_runtime::{Env, Spawner};
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;

use crate::{
    disk::Disk,
    error::RaftError,
    log::Log,
    raft::Raft,
    seal::{LogKey, LogKeys, Sealer},
    snapshot::{Shelf, UNFINISHED},
};

/// How long to wait after keys could not be kept, or files not be written.
const RETRY: Duration = Duration::from_secs(1);

/// Everything of a member that is sealed.
#[derive(Clone)]
pub(crate) struct Vault(Arc<Contents>);

struct Contents {
    disk: Arc<dyn Disk>,
    env: Env,
    log: Log,
    shelf: Shelf,
    spawner: Spawner,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Vault {
    pub(crate) fn new(disk: Arc<dyn Disk>, env: Env, log: &Log, shelf: &Shelf, spawner: Spawner) -> Self {
        let (log, shelf) = (log.clone(), shelf.clone());
        Self(Arc::new(Contents { disk, env, log, shelf, spawner, changing: Mutex::default() }))
    }

    async fn reseal(self, key: LogKey) -> Result<(), RaftError> {
        let _one = self.0.changing.lock().await;
        let sealer = Sealer::new(&key, self.0.env.clone());
        self.0.shelf.reseal(&sealer).await?;
        self.0.log.reseal(&*self.0.disk, &sealer, UNFINISHED).await?;
        Ok(())
    }
}

impl Raft {
    /// Seals the log and the snapshots with another key, while the member goes on. Does nothing if they are already.
    ///
    /// Before this is called, `key` must be kept where the next start finds it as [`LogKeys::pending`]. When it returns,
    /// every other key may be forgotten. If the member stops in between, its next start needs both keys, and the change
    /// goes on when this is called again. Changes that are asked for at the same time happen one after the other.
    ///
    /// To give up waiting does not stop the change.
    ///
    /// # Errors
    ///
    /// The disk failed, and the change can be tried again if the member goes on; or the member has ended.
    pub async fn rotate_key(&self, key: &LogKey) -> Result<(), RaftError> {
        let (vault, key) = (self.vault.clone(), key.clone());
        let stop = self.vault.0.spawner.stop().clone();
        let work = self.vault.0.spawner.spawn("key change", async move {
            tokio::select! { biased; // a member that stops leaves the rest to its next start
                () = stop.cancelled() => Err(RaftError::Stopped),
                sealed = vault.reseal(key) => sealed,
            }
        });
        work.await.ok().flatten().unwrap_or(Err(RaftError::Stopped))
    }
}

/// Where the keys of a log are kept.
///
/// Obligation: when [`KeyKeeper::keep`] has resolved to success, these keys survive a crash, and no others are found.
pub trait KeyKeeper: Send + Sync + 'static {
    /// Keeps exactly these keys.
    fn keep(&self, keys: &LogKeys) -> BoxFuture<'_, io::Result<()>>;
}

/// Asks a [`KeyRotation`] for another key. Clones ask the same one.
#[derive(Clone, Debug, Default)]
pub struct KeyRotator(Arc<Notify>);

impl KeyRotator {
    /// Nobody listens yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a change of the key. During a change this leads to exactly one more, however often it is called.
    pub fn request(&self) {
        self.0.notify_one();
    }
}

/// Changes the key of a member whenever that is asked for. Run it beside the member.
pub struct KeyRotation<K> {
    /// The member.
    pub raft: Raft,
    /// The keys that it was started with.
    pub keys: LogKeys,
    /// Where they are kept.
    pub keeper: K,
    /// Who may ask.
    pub requests: KeyRotator,
    /// Where new keys come from.
    pub env: Env,
}

impl<K: KeyKeeper> KeyRotation<K> {
    /// Finishes a change that an earlier life of the member has begun, and makes those that are asked for, until told to
    /// stop. Keys that cannot be kept, and copies that cannot be written, are tried again every second.
    ///
    /// # Errors
    ///
    /// The log failed, which ends the member too.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), RaftError> {
        let changes = async {
            loop {
                if let Some(pending) = self.keys.pending.take() {
                    self.seal_with(&pending).await?;
                    self.keys.current = pending;
                    self.keep().await;
                    tracing::info!("the key of the log was changed");
                }
                self.requests.0.notified().await;
                self.keys.pending = Some(LogKey::generate(&self.env));
                self.keep().await;
            }
        };
        let ended = tokio::select! { biased; // to stop comes first
            () = stop.cancelled() => Ok(()),
            ended = changes => ended,
        };
        match ended {
            // The member stops, and so will this.
            Err(RaftError::Stopped) => Ok(()),
            ended => ended,
        }
    }

    /// Seals everything anew. A copy that cannot be written, for want of room perhaps, is tried again.
    async fn seal_with(&self, key: &LogKey) -> Result<(), RaftError> {
        loop {
            match self.raft.rotate_key(key).await {
                Err(RaftError::Log(error)) if self.raft.vault.0.log.failure().is_none() => {
                    tracing::error!(%error, "the log cannot be sealed with its new key; trying again");
                    tokio::time::sleep(RETRY).await;
                }
                sealed => return sealed,
            }
        }
    }

    async fn keep(&self) {
        while let Err(error) = self.keeper.keep(&self.keys).await {
            tracing::error!(%error, "the keys of the log cannot be kept; trying again");
            tokio::time::sleep(RETRY).await;
        }
    }
}

impl<K> fmt::Debug for KeyRotation<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRotation").field("raft", &self.raft).finish_non_exhaustive()
    }
}
