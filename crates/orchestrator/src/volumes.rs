//! The enforcer of volumes: turns tasks out that use a volume which is being drained.
//!
//! A volume that is paused is given to no new tasks, which is the scheduler's affair; those that have it keep it.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{Kind, Task, TaskId, Volume, VolumeId, wire::volume_spec::VolumeAvailability};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, Store, StoreError, TaskBy, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    keeper::{Keeper, keep},
    reject::{is_at_work, reject},
};

const MESSAGE: &str = "task rejected by volume enforcer";
const REASON: &str = "attached to volume which is being drained";

/// Enforces until told to stop.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    keep::<Volumes>(env, store, stop).await
}

#[derive(Default)]
struct Volumes {
    view: Option<View>,
    /// Those that are being drained, and that something happened to.
    drained: BTreeSet<VolumeId>,
}

/// A task that has to leave, and the volume because of which.
struct Eviction {
    volume: VolumeId,
    task: TaskId,
}

impl Keeper for Volumes {
    const NAME: &str = "volumes";
    const KINDS: &[Kind] = &[Kind::Volume];
    const SEES_ITS_WRITES: bool = false;
    type Write = Eviction;

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => view.all::<Volume>().for_each(|volume| self.mark(volume)),
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    if let Change::Volume(Edit { after: Some(volume), .. }) = change {
                        self.mark(volume);
                    }
                }
            }
        }
        self.view = Some(update.view().clone());
    }

    fn plan(&mut self) -> Vec<Eviction> {
        let Some(view) = &self.view else { return Vec::new() };
        let mut evictions = Vec::new();
        for volume in std::mem::take(&mut self.drained) {
            let tasks = view.find(TaskBy::Volume(&volume)).filter(|task| is_at_work(task));
            evictions.extend(tasks.map(|task| Eviction { volume: volume.clone(), task: task.id.clone() }));
        }
        evictions
    }

    fn write(eviction: &Eviction, tx: &mut Transaction) -> Result<bool, StoreError> {
        let has_it = |task: &Arc<Task>| task.volumes.iter().any(|volume| volume.id == eviction.volume.as_str());
        let is_due = tx.get::<Volume>(&eviction.volume).is_some_and(|volume| is_drained(volume))
            && tx.get::<Task>(&eviction.task).is_some_and(|task| is_at_work(task) && has_it(task));
        if is_due {
            reject(tx, &eviction.task, MESSAGE, REASON)?;
        }
        Ok(true)
    }

    fn again(&mut self, eviction: &Eviction) {
        self.drained.insert(eviction.volume.clone());
    }
}

impl Volumes {
    fn mark(&mut self, volume: &Volume) {
        if is_drained(volume) {
            self.drained.insert(volume.id.clone());
        } else {
            self.drained.remove(&volume.id);
        }
    }
}

fn is_drained(volume: &Volume) -> bool {
    volume.spec.availability() == VolumeAvailability::Drain
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{TaskState, wire};
    use swarmkit_testing::{named, store};

    use super::*;

    #[tokio::test]
    async fn a_volume_that_is_in_use_again_by_the_time_of_the_write_loses_nothing() {
        let store = store("node a; service web replicas=1; task web.1 on a");
        let put = async |volume: &'static str, availability: VolumeAvailability| {
            let attachment = wire::VolumeAttachment { id: volume.to_owned(), ..Default::default() };
            let driver = Some(wire::Driver { name: "disks".to_owned(), ..Default::default() });
            let spec = wire::VolumeSpec {
                annotations: Some(named("data")),
                availability: availability.into(),
                driver,
                ..Default::default()
            };
            let mut data = Volume::new(VolumeId::from("data"));
            data.spec = Arc::new(spec);
            let eviction = Eviction { volume: VolumeId::from("data"), task: TaskId::from("web.1") };
            let written = store.update(|tx| {
                if tx.get::<Volume>(&data.id).is_some() {
                    tx.delete::<Volume>(&data.id)?;
                }
                tx.create(data)?;
                tx.edit(&eviction.task, |task: &mut Task| task.volumes = vec![attachment])?;
                Volumes::write(&eviction, tx)
            });
            assert!(written.await.unwrap().value);
            store.view().get::<Task>(&TaskId::from("web.1")).unwrap().status.state
        };
        assert_eq!(put("data", VolumeAvailability::Active).await, TaskState::Running);
        assert_eq!(put("other", VolumeAvailability::Drain).await, TaskState::Running, "nor does one that uses another");
        assert_eq!(put("data", VolumeAvailability::Drain).await, TaskState::Rejected);
    }
}
