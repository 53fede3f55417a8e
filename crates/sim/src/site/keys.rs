//! Where the keys of a machine's disk are kept.

use std::{io, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use swarmkit_raft::{KeyKeeper, LogKeys};
use tokio_util::sync::CancellationToken;

use super::Site;

/// Keeps the keys of a site, in its own time; a crash comes before or after.
pub(super) struct Keeper {
    pub(super) site: Arc<Site>,
    pub(super) life: CancellationToken,
}

impl KeyKeeper for Keeper {
    fn keep(&self, keys: &LogKeys) -> BoxFuture<'_, io::Result<()>> {
        /// How long it takes, before and after the moment at which it is done.
        const TAKES: Duration = Duration::from_millis(5);
        let keys = keys.clone();
        Box::pin(async move {
            tokio::time::sleep(TAKES).await;
            if self.life.is_cancelled() {
                return Err(io::Error::other("the machine has no power"));
            }
            self.site.note(format_args!("keeps {} keys", 1 + usize::from(keys.pending.is_some())));
            self.site.state.lock().keys = keys;
            tokio::time::sleep(TAKES).await;
            Ok(())
        })
    }
}
