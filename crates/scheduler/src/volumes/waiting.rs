//! Who waits for which volumes, so that a change of one is looked at by those whom it may help.

use std::collections::{BTreeMap, BTreeSet};

use im::OrdSet;
use swarmkit_api::{NodeId, Task, TaskId, Volume, wire::volume_publish_status::State};

use super::{Source, cluster_mounts};
use crate::group::GroupKey;

/// Tasks that wait, by the volumes that they ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Waiting(BTreeMap<Source, BTreeMap<TaskId, Waiter>>);

/// Where a task waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiter {
    /// For any node, with others that need the same.
    Group(GroupKey),
    /// For this node.
    Node(NodeId),
}

impl Waiting {
    pub(crate) fn add(&mut self, task: &Task, waiter: &Waiter) {
        for mount in cluster_mounts(&task.spec) {
            self.0.entry(mount.source).or_default().insert(task.id.clone(), waiter.clone());
        }
    }

    pub(crate) fn remove(&mut self, task: &Task) {
        for mount in cluster_mounts(&task.spec) {
            if let Some(tasks) = self.0.get_mut(&mount.source) {
                tasks.remove(&task.id);
                if tasks.is_empty() {
                    self.0.remove(&mount.source);
                }
            }
        }
    }

    /// Who waits for a volume, each once.
    pub(crate) fn on(&self, volume: &Volume) -> BTreeSet<Waiter> {
        let tasks = Source::of(volume).filter_map(|source| self.0.get(&source));
        tasks.flat_map(BTreeMap::values).cloned().collect()
    }
}

/// Whether two records of a volume are the same to everyone who waits for it. That it is published somewhere is news to
/// nobody; that it is being taken from a node, or has been, is.
pub(crate) fn waits_alike(before: &Volume, after: &Volume) -> bool {
    let leaving = |volume: &Volume| -> OrdSet<String> {
        let entries = volume.publish_status.iter();
        let leaving =
            entries.filter(|entry| matches!(entry.state(), State::PendingNodeUnpublish | State::PendingUnpublish));
        leaving.map(|entry| entry.node_id.clone()).collect()
    };
    before.spec == after.spec
        && before.volume_info == after.volume_info
        && before.pending_delete == after.pending_delete
        && leaving(before) == leaving(after)
}
