//! One volume, for as long as it is here or on its way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use swarmkit_api::VolumeId;
use swarmkit_executor::{ExecError, NodeVolumes, VolumeRequest};
use swarmkit_runtime::{Backoff, Env};
use tokio::sync::watch;

use super::{Failure, Standing, Volumes, Wanted};
use crate::payloads::Payloads;

/// The first pause before something is tried again, and the longest, as upstream.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(600));

/// Brings one volume to where it is wanted. There is never more than one for a volume.
pub(super) struct Tending {
    id: VolumeId,
    volumes: Volumes,
    plugins: Arc<dyn NodeVolumes>,
    env: Env,
    payloads: Payloads,
    wanted: watch::Receiver<Wanted>,
    retry: Backoff,
}

impl Tending {
    pub(super) fn new(
        id: VolumeId,
        volumes: Volumes,
        plugins: Arc<dyn NodeVolumes>,
        env: &Env,
        payloads: &Payloads,
        wanted: watch::Receiver<Wanted>,
    ) -> Self {
        let retry = Backoff::new(RETRY.0, RETRY.1, env.rng(&format!("agent/volume/{id}")));
        Self { id, volumes, plugins, env: env.clone(), payloads: payloads.clone(), wanted, retry }
    }

    /// Works until the volume is gone. What was begun with a plugin is never cut short by a new wish: a call that is given up
    /// may go on there.
    pub(super) async fn run(mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let done = if wanted.here { self.bring(&wanted).await } else { self.take_away(&wanted).await };
            match done {
                Ok(Done::Here) => {
                    self.retry.reset();
                    if self.wanted.changed().await.is_err() {
                        return;
                    }
                }
                Ok(Done::Gone) => {
                    self.retry.reset();
                    if self.forget() {
                        return;
                    }
                }
                Ok(Done::Overtaken) => {}
                Err(error) => {
                    tracing::warn!(volume = %self.id, %error, "trying again later");
                    self.pause().await;
                }
            }
        }
    }

    async fn bring(&mut self, wanted: &Wanted) -> Result<Done, ExecError> {
        self.stands(|standing| {
            if !matches!(standing, Standing::Here(_)) {
                let failure = if let Standing::Coming(failure) = standing { failure.take() } else { None };
                *standing = Standing::Coming(failure);
            }
        });
        let secrets = self.payloads.texts(&wanted.volume.secrets);
        let request = VolumeRequest { volume: wanted.volume.clone(), secrets };
        match self.plugins.publish(request).await {
            Ok(path) => {
                tracing::info!(volume = %self.id, path = %path.display(), "the volume is here");
                self.stands(|standing| *standing = Standing::Here(path));
                Ok(Done::Here)
            }
            Err(error) => {
                let failure = Failure { for_good: !error.is_temporary(), text: error.to_string() };
                self.stands(|standing| {
                    // A volume that was here is so for those who have it, whatever its plugin says of it now.
                    if !matches!(standing, Standing::Here(_)) {
                        *standing = Standing::Coming(Some(failure));
                    }
                });
                Err(error)
            }
        }
    }

    /// First its last user has to end: a volume that is unmounted below a task may lose what the task writes.
    async fn take_away(&mut self, wanted: &Wanted) -> Result<Done, ExecError> {
        self.stands(|standing| *standing = Standing::Going);
        tokio::select! { biased; // a volume that is wanted again is not taken away
            changed = self.wanted.changed() => {
                if changed.is_ok() {
                    return Ok(Done::Overtaken);
                }
            }
            () = unused(&self.volumes, &self.id) => {}
        }
        let request = VolumeRequest { volume: wanted.volume.clone(), secrets: BTreeMap::new() };
        self.plugins.unpublish(request).await?;
        tracing::info!(volume = %self.id, "the volume is not here any more");
        Ok(Done::Gone)
    }

    /// Ends the work on a volume that is gone, unless it is wanted again.
    fn forget(&self) -> bool {
        let mut held = self.volumes.0.held.lock();
        if self.wanted.has_changed().unwrap_or(false) && self.wanted.borrow().here {
            return false;
        }
        held.remove(&self.id);
        drop(held);
        self.volumes.left(self.id.clone());
        true
    }

    fn stands(&self, change: impl FnOnce(&mut Standing)) {
        if let Some(held) = self.volumes.0.held.lock().get_mut(&self.id) {
            change(&mut held.standing);
        }
    }

    /// Waits before the next attempt, unless something else is wanted meanwhile.
    async fn pause(&mut self) {
        let delay = self.retry.next_delay();
        tokio::select! { biased; // a new wish needs no pause
            changed = self.wanted.changed() => if changed.is_ok() { self.retry.reset() },
            () = self.env.sleep(delay) => {}
        }
    }
}

/// What came of an attempt.
enum Done {
    Here,
    Gone,
    /// Something else is wanted now.
    Overtaken,
}

/// Waits until no task may have the volume open.
async fn unused(volumes: &Volumes, id: &VolumeId) {
    loop {
        let freed = volumes.0.freed.notified();
        tokio::pin!(freed);
        // From here on nothing is missed.
        freed.as_mut().enable();
        if !volumes.0.users.lock().contains_key(id) {
            return;
        }
        freed.await;
    }
}
