//! Letting go of volumes that nobody on a node has any more.
//!
//! What may have lost its last user is looked at when that happens: a task has left, or a volume has just been published
//! of which the task has left meanwhile. No pass goes over all volumes.

use swarmkit_api::{NodeId, Task, Volume, VolumeId, wire::volume_publish_status::State};
use swarmkit_store::{StoreError, TaskBy, Transaction};

use super::Volumes;
use crate::world::is_placed;

/// A volume on a node that may have no users there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Idle {
    pub(crate) volume: VolumeId,
    pub(crate) node: NodeId,
}

/// Where a volume is published.
pub(crate) fn published(volume: &Volume) -> impl Iterator<Item = Idle> {
    let entries = volume.publish_status.iter().filter(|entry| entry.state() == State::Published);
    entries.map(|entry| Idle { volume: volume.id.clone(), node: NodeId::from(entry.node_id.as_str()) })
}

impl Idle {
    pub(crate) fn of(volume: &Volume, node: &NodeId) -> Self {
        Self { volume: volume.id.clone(), node: node.clone() }
    }

    /// What a task has where it is, and would leave behind.
    pub(crate) fn after(task: &Task) -> impl Iterator<Item = Self> {
        let node = task.node_id.iter();
        node.flat_map(|node| {
            task.volumes.iter().map(|given| Self { volume: given.id.as_str().into(), node: node.clone() })
        })
    }

    /// Whether it is published there for nobody. What is yet to be published is left alone: its driver may be at it. It
    /// is looked at again when it is published.
    pub(crate) fn holds(&self, volumes: &Volumes) -> bool {
        volumes.is_unused(&self.volume, &self.node)
            && volumes.get(&self.volume).is_some_and(|volume| self.entry(volume).is_some())
    }

    /// Asks the node to let go of it, if still nobody there has it.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        let has_it = |task: &Task| task.node_id.as_ref() == Some(&self.node) && is_placed(task);
        if tx.find(TaskBy::Volume(&self.volume)).any(|task| has_it(task)) {
            return Ok(());
        }
        let Some(entry) = tx.get::<Volume>(&self.volume).and_then(|volume| self.entry(volume)) else { return Ok(()) };
        tx.edit::<Volume>(&self.volume, |volume| volume.publish_status[entry].set_state(State::PendingNodeUnpublish))?;
        Ok(())
    }

    /// Where in the volume's record it says that it is published there.
    fn entry(&self, volume: &Volume) -> Option<usize> {
        let mut entries = volume.publish_status.iter();
        entries.position(|entry| entry.node_id == self.node.as_str() && entry.state() == State::Published)
    }
}
