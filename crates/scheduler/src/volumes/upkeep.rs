//! How the world takes over what happens to volumes and to those who have them.

use std::sync::Arc;

use swarmkit_api::{NodeId, Task, Volume, VolumeId};

use super::{Idle, Waiter, freeing::entries, waiting::waits_alike};
use crate::world::World;

impl World {
    pub(crate) fn absorb_volume(&mut self, before: Option<&Arc<Volume>>, after: Option<&Arc<Volume>>) {
        let Some(id) = after.or(before).map(|volume| volume.id.clone()) else { return };
        self.books.volumes.set(&id, after);
        if !before.zip(after).is_some_and(|(before, after)| waits_alike(before, after)) {
            before.into_iter().chain(after).for_each(|volume| self.wake(volume));
        }
        self.due.idle.extend(after.into_iter().flat_map(|volume| entries(volume)));
    }

    /// A node was removed from the cluster.
    pub(crate) fn release_node(&mut self, node: &NodeId) {
        self.due.idle.extend(self.books.volumes.entries_of(node));
    }

    /// Looks again at the tasks that wait for a volume.
    fn wake(&mut self, volume: &Volume) {
        for waiter in self.waiting.on(volume) {
            match waiter {
                Waiter::Group(key) => self.unblock(key),
                Waiter::Node(node) => drop(self.due.preassigned.insert(node)),
            }
        }
    }

    /// A task has left its volumes.
    pub(crate) fn release_volumes(&mut self, task: &Task) {
        for given in &task.volumes {
            if let Some(volume) = self.books.volumes.get(&VolumeId::from(given.id.as_str())).cloned() {
                self.wake(&volume);
            }
        }
        self.due.idle.extend(Idle::after(task));
    }
}
