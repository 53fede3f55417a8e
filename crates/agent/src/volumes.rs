//! The volumes of the cluster on this node: brought here before the tasks that use them, and taken away after them.
//!
//! Nothing of it is written down. Managers say again what shall be here after every restart, and what they want taken away
//! until they hear that it is; doing either again is no harm.

mod tending;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use parking_lot::Mutex;
use swarmkit_api::{Task, TaskId, TaskState, VolumeId, wire};
use swarmkit_executor::{ExecError, NodeVolumes};
use swarmkit_runtime::{Env, Spawner};
use tokio::sync::{Notify, watch};

use crate::payloads::Payloads;

/// Everything about volumes on this node. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Volumes(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// `None`: this node has no plugins for volumes, and never will.
    plugins: Option<Arc<dyn NodeVolumes>>,
    held: Mutex<BTreeMap<VolumeId, Held>>,
    /// The tasks that may have a volume open. What is in use is not taken away.
    users: Mutex<BTreeMap<VolumeId, BTreeSet<TaskId>>>,
    /// Somebody uses a volume no more.
    freed: Notify,
    /// The volumes of which managers have yet to hear that they are not here any more.
    untold: Mutex<BTreeSet<VolumeId>>,
    news: Notify,
}

/// A volume that is here, or on its way here or away.
struct Held {
    wanted: watch::Sender<Wanted>,
    standing: Standing,
}

/// What managers want of a volume.
#[derive(Clone, Debug)]
struct Wanted {
    volume: Arc<wire::VolumeAssignment>,
    here: bool,
}

/// How far it is.
enum Standing {
    /// Not here yet, and why, if it was tried.
    Coming(Option<Failure>),
    Here(PathBuf),
    Going,
}

/// Why the last attempt failed.
#[derive(Clone, Debug)]
struct Failure {
    for_good: bool,
    text: String,
}

// === impl Volumes ===

impl Volumes {
    /// With the plugins of this node.
    pub(crate) fn with(plugins: Option<Arc<dyn NodeVolumes>>) -> Self {
        Self(Arc::new(Shared { plugins, ..Shared::default() }))
    }

    /// What the plugins call this node.
    pub(crate) async fn describe(&self) -> Vec<wire::NodeCsiInfo> {
        match &self.0.plugins {
            Some(plugins) => plugins.describe().await,
            None => Vec::new(),
        }
    }

    /// Managers say that a volume shall be here, or shall not. Works on it beside everything else.
    pub(crate) fn assign(
        &self,
        volume: wire::VolumeAssignment,
        here: bool,
        env: &Env,
        payloads: &Payloads,
        spawner: &Spawner,
    ) {
        let id = VolumeId::from(volume.id.as_str());
        let Some(plugins) = &self.0.plugins else {
            match here {
                true => tracing::warn!(volume = %id, "this node has no plugin for cluster volumes"),
                false => self.left(id),
            }
            return;
        };
        let wanted = Wanted { volume: Arc::new(volume), here };
        let mut held = self.0.held.lock();
        if let Some(held) = held.get_mut(&id) {
            held.wanted.send_if_modified(|known| {
                let is_new = known.here != wanted.here || known.volume != wanted.volume;
                *known = wanted;
                is_new
            });
            return;
        }
        let sender = watch::Sender::new(wanted);
        let tending =
            tending::Tending::new(id.clone(), self.clone(), plugins.clone(), env, payloads, sender.subscribe());
        held.insert(id, Held { wanted: sender, standing: Standing::Coming(None) });
        let stop = spawner.stop().clone();
        drop(spawner.spawn("volume", async move {
            stop.run_until_cancelled(tending.run()).await;
        }));
    }

    /// Where a volume is.
    ///
    /// # Errors
    ///
    /// [`ExecError::Temporary`] while it is not here; [`ExecError::Rejected`] when it never will be.
    pub(crate) fn path(&self, id: &str) -> Result<PathBuf, ExecError> {
        if self.0.plugins.is_none() {
            return Err(ExecError::rejected(format!(
                "volume {id} cannot be published: this node has no plugin for cluster volumes"
            )));
        }
        let why = match self.0.held.lock().get(&VolumeId::from(id)).map(|held| &held.standing) {
            Some(Standing::Here(path)) => return Ok(path.clone()),
            Some(Standing::Going) => return Err(ExecError::temporary("volume being removed")),
            Some(Standing::Coming(Some(failure))) if failure.for_good => {
                return Err(ExecError::rejected(&*failure.text));
            }
            Some(Standing::Coming(Some(failure))) => format!(": {}", failure.text),
            Some(Standing::Coming(None)) | None => String::new(),
        };
        Err(ExecError::temporary(format!("dependency not ready: published path is unavailable{why}")))
    }

    /// A task has this state. From the time when it is here until it has ended, its volumes are in use.
    pub(crate) fn observe(&self, task: &Task, state: TaskState) {
        if self.0.plugins.is_none() || task.volumes.is_empty() {
            return;
        }
        let mut users = self.0.users.lock();
        for volume in &task.volumes {
            let volume = VolumeId::from(volume.id.as_str());
            if state <= TaskState::Running {
                users.entry(volume).or_default().insert(task.id.clone());
            } else if let Some(tasks) = users.get_mut(&volume) {
                tasks.remove(&task.id);
                if tasks.is_empty() {
                    users.remove(&volume);
                }
            }
        }
        drop(users);
        self.0.freed.notify_waiters();
    }

    /// All that have to be told, as soon as there are any. They stay until they are [told](Self::told).
    pub(crate) async fn wait_untold(&self) -> BTreeSet<VolumeId> {
        loop {
            let untold = self.0.untold.lock().clone();
            if !untold.is_empty() {
                return untold;
            }
            self.0.news.notified().await;
        }
    }

    /// Managers know that these are not here any more.
    pub(crate) fn told(&self, volumes: &BTreeSet<VolumeId>) {
        self.0.untold.lock().retain(|volume| !volumes.contains(volume));
    }

    fn left(&self, volume: VolumeId) {
        self.0.untold.lock().insert(volume);
        self.0.news.notify_one();
    }
}

#[cfg(test)]
mod tests;
