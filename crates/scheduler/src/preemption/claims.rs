//! Room that is kept for tasks while others make it.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{NodeId, Task, TaskId};

use super::claim;

/// The tasks for which room is kept, by the node on which it is. Follows from the tasks alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Claims(BTreeMap<NodeId, BTreeMap<TaskId, Arc<Task>>>);

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tasks that wait for room on a node.
    pub(crate) fn on(&self, node: &NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.0.get(node).into_iter().flat_map(BTreeMap::values)
    }

    /// All tasks for which room is kept, and where.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Arc<Task>, &NodeId)> {
        self.0.iter().flat_map(|(node, tasks)| tasks.values().map(move |task| (task, node)))
    }

    /// Keeps room for a task, if it claims any.
    pub(crate) fn add(&mut self, task: &Arc<Task>) {
        if let Some(claim) = claim(task) {
            self.keep(task, &NodeId::from(claim.node_id.as_str()));
        }
    }

    /// Keeps room for a task on a node, whatever it says itself.
    pub(crate) fn keep(&mut self, task: &Arc<Task>, node: &NodeId) {
        self.0.entry(node.clone()).or_default().insert(task.id.clone(), task.clone());
    }

    /// Gives up the room that a task claims. Gives where that was.
    pub(crate) fn remove(&mut self, task: &Task) -> Option<NodeId> {
        let node = NodeId::from(claim(task)?.node_id.as_str());
        let tasks = self.0.get_mut(&node)?;
        let removed = tasks.remove(&task.id);
        if tasks.is_empty() {
            self.0.remove(&node);
        }
        removed.map(|_| node)
    }
}
