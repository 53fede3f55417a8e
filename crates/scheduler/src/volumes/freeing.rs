//! Letting go of volumes that nobody on a node has any more.
//!
//! What may have lost its last user is looked at when that happens: a task has left, a volume has just been published of
//! which the task has left meanwhile, or the node was removed from the cluster. No pass goes over all volumes.

use swarmkit_api::{Node, NodeId, Task, Volume, VolumeId, wire::volume_publish_status::State};
use swarmkit_store::{StoreError, TaskBy, Transaction};

use super::Volumes;
use crate::world::is_placed;

/// A volume on a node that may have no users there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Idle {
    pub(crate) volume: VolumeId,
    pub(crate) node: NodeId,
}

/// Where a volume is published, or about to be or not to be.
pub(super) fn entries(volume: &Volume) -> impl Iterator<Item = Idle> {
    volume.publish_status.iter().map(|entry| Idle::of(volume, &NodeId::from(entry.node_id.as_str())))
}

impl Volumes {
    /// What has something to do with a node. Looks at all volumes: only for nodes that are removed from the cluster.
    pub(super) fn entries_of(&self, node: &NodeId) -> impl Iterator<Item = Idle> {
        self.all().flat_map(|volume| entries(volume)).filter(move |idle| idle.node == *node)
    }
}

impl Idle {
    pub(crate) fn of(volume: &Volume, node: &NodeId) -> Self {
        Self { volume: volume.id.clone(), node: node.clone() }
    }

    /// What a task has where it is, and would leave behind.
    pub(super) fn after(task: &Task) -> impl Iterator<Item = Self> {
        let given = task.volumes.iter().map(|given| VolumeId::from(given.id.as_str()));
        task.node_id.iter().flat_map(move |node| given.clone().map(|volume| Self { volume, node: node.clone() }))
    }

    /// Whether it is published there for nobody, and there is something to be done about it.
    /// `is_there` says whether the node is.
    pub(crate) fn holds(&self, volumes: &Volumes, is_there: bool) -> bool {
        let volume = volumes.get(&self.volume).filter(|_| volumes.is_unused(&self.volume, &self.node));
        volume.is_some_and(|volume| self.next(volume, is_there).is_some())
    }

    /// Asks for it to be taken from the node, if still nobody there has it.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        let has_it = |task: &Task| task.node_id.as_ref() == Some(&self.node) && is_placed(task);
        if tx.find(TaskBy::Volume(&self.volume)).any(|task| has_it(task)) {
            return Ok(());
        }
        let is_there = tx.get::<Node>(&self.node).is_some();
        if let Some((entry, next)) = tx.get::<Volume>(&self.volume).and_then(|volume| self.next(volume, is_there)) {
            tx.edit::<Volume>(&self.volume, |volume| volume.publish_status[entry].set_state(next))?;
        }
        Ok(())
    }

    /// Which of the volume's entries has to change, and to what. The node lets go of what is published first. Until it is
    /// published its driver may be at it, so that it is looked at again then, as upstream. A node that was removed from the
    /// cluster lets go of nothing any more, and what was started there has no end: so it is the driver's turn.
    fn next(&self, volume: &Volume, is_there: bool) -> Option<(usize, State)> {
        let index = volume.publish_status.iter().position(|entry| entry.node_id == self.node.as_str())?;
        match volume.publish_status[index].state() {
            State::Published if is_there => Some((index, State::PendingNodeUnpublish)),
            State::PendingPublish | State::PendingNodeUnpublish if is_there => None,
            State::PendingPublish | State::Published | State::PendingNodeUnpublish => {
                Some((index, State::PendingUnpublish))
            }
            State::PendingUnpublish => None,
        }
    }
}
