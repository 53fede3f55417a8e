//! Cluster volumes, as far as a node without plugins for them goes: none is ever published here, so each one that shall
//! not be is already not.

use std::{collections::BTreeSet, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::VolumeId;
use tokio::sync::Notify;

/// The volumes of which managers have yet to hear that they are not published here. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Unpublished(Arc<Shared>);

#[derive(Default)]
struct Shared {
    untold: Mutex<BTreeSet<VolumeId>>,
    news: Notify,
}

impl Unpublished {
    /// A volume shall not be published on this node.
    pub(crate) fn put(&self, volume: VolumeId) {
        self.0.untold.lock().insert(volume);
        self.0.news.notify_one();
    }

    /// All that have to be told, as soon as there are any. They stay until they are [told](Self::told).
    pub(crate) async fn wait(&self) -> BTreeSet<VolumeId> {
        loop {
            let untold = self.0.untold.lock().clone();
            if !untold.is_empty() {
                return untold;
            }
            self.0.news.notified().await;
        }
    }

    /// Managers know of these.
    pub(crate) fn told(&self, volumes: &BTreeSet<VolumeId>) {
        self.0.untold.lock().retain(|volume| !volumes.contains(volume));
    }
}
