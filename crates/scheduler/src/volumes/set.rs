//! Who has which volume where: the one table of reservations.

use std::sync::Arc;

use im::{OrdMap, OrdSet};
use swarmkit_api::{NodeId, Task, Volume, VolumeId};

use super::{Source, mount::only_reads};

/// The cluster's volumes and their users.
///
/// A pure function of the volumes and of the tasks that were [added](Self::add): it comes out the same whether it was
/// kept up change by change or built anew. A copy costs nothing to take, so that a plan reserves on one of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Volumes {
    all: OrdMap<VolumeId, Arc<Volume>>,
    /// Those that tasks can be given, by what mounts call them.
    by_source: OrdSet<(Source, VolumeId)>,
    /// Also of volumes that are not there (any more).
    users: OrdMap<VolumeId, Users>,
}

/// Who has one volume. A task that mounts it twice counts twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Users {
    readers: u32,
    writers: u32,
    nodes: OrdMap<NodeId, u32>,
}

// === impl Volumes ===

impl Volumes {
    /// Takes over a volume's record; `None` when it was deleted.
    pub(crate) fn set(&mut self, id: &VolumeId, volume: Option<&Arc<Volume>>) {
        let before = match volume {
            Some(volume) => self.all.insert(id.clone(), volume.clone()),
            None => self.all.remove(id),
        };
        for source in before.iter().filter(|volume| can_be_given(volume)).flat_map(|volume| Source::of(volume)) {
            self.by_source.remove(&(source, id.clone()));
        }
        for source in volume.into_iter().filter(|volume| can_be_given(volume)).flat_map(|volume| Source::of(volume)) {
            self.by_source.insert((source, id.clone()));
        }
    }

    pub(crate) fn get(&self, id: &VolumeId) -> Option<&Arc<Volume>> {
        self.all.get(id)
    }

    /// The volumes that a mount can mean and that tasks can be given at all, in order of their ids.
    pub(crate) fn named(&self, source: &Source) -> impl Iterator<Item = &Arc<Volume>> {
        let first = (source.clone(), VolumeId::from(""));
        let ids = self.by_source.range(first..).take_while(move |(found, _)| found == source);
        ids.filter_map(|(_, id)| self.all.get(id))
    }

    /// Reserves the volumes that a task was given, where it is.
    pub(crate) fn add(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        for given in &task.volumes {
            self.reserve(&VolumeId::from(given.id.as_str()), node, only_reads(&task.spec, given));
        }
    }

    /// Takes back what [`Volumes::add`] reserved for the same record of the task.
    pub(crate) fn remove(&mut self, task: &Task) {
        let Some(node) = &task.node_id else { return };
        for given in &task.volumes {
            let id = VolumeId::from(given.id.as_str());
            let Some(mut users) = self.users.get(&id).cloned() else { continue };
            users.leave(node, only_reads(&task.spec, given));
            if users == Users::default() {
                self.users.remove(&id);
            } else {
                self.users.insert(id, users);
            }
        }
    }

    /// Reserves a volume for one mount.
    pub(super) fn reserve(&mut self, id: &VolumeId, node: &NodeId, read_only: bool) {
        let mut users = self.users.get(id).cloned().unwrap_or_default();
        users.join(node, read_only);
        self.users.insert(id.clone(), users);
    }

    pub(super) fn users(&self, id: &VolumeId) -> Option<&Users> {
        self.users.get(id)
    }

    /// Whether no task has the volume on that node.
    pub(crate) fn is_unused(&self, id: &VolumeId, node: &NodeId) -> bool {
        !self.users(id).is_some_and(|users| users.on(node))
    }
}

/// Its driver has made it, and is not asked to delete it. Until then it cannot be told where it can be reached from.
fn can_be_given(volume: &Volume) -> bool {
    volume.volume_info.as_ref().is_some_and(|info| !info.volume_id.is_empty()) && !volume.pending_delete
}

// === impl Users ===

impl Users {
    /// How many mounts there are of it.
    pub(crate) fn count(&self) -> u32 {
        self.readers + self.writers
    }

    /// Whether somebody may write to it.
    pub(crate) fn write(&self) -> bool {
        self.writers > 0
    }

    /// Whether somebody on that node has it.
    pub(crate) fn on(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// Whether somebody has it on another node than that.
    pub(crate) fn elsewhere(&self, node: &NodeId) -> bool {
        self.nodes.len() > usize::from(self.on(node))
    }

    fn join(&mut self, node: &NodeId, read_only: bool) {
        *self.kind(read_only) += 1;
        *self.nodes.entry(node.clone()).or_default() += 1;
    }

    fn leave(&mut self, node: &NodeId, read_only: bool) {
        *self.kind(read_only) -= 1;
        match self.nodes.get(node).copied() {
            Some(2..) => *self.nodes.entry(node.clone()).or_default() -= 1,
            _ => drop(self.nodes.remove(node)),
        }
    }

    fn kind(&mut self, read_only: bool) -> &mut u32 {
        if read_only { &mut self.readers } else { &mut self.writers }
    }
}
