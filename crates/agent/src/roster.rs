//! The tasks that this node has, for whoever wants to read their logs or to measure them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::{TaskId, wire};
use tokio::sync::watch;

use crate::controller::ControllerCell;

/// See the module's purpose. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Roster {
    tasks: Arc<Mutex<BTreeMap<TaskId, ControllerCell>>>,
    /// How often a task was added. Readers that follow wait for it; each minds its own, so their order does not matter.
    additions: Arc<watch::Sender<u64>>,
}

impl Roster {
    pub(crate) fn add(&self, task: TaskId, controller: ControllerCell) {
        self.tasks.lock().insert(task, controller);
        self.additions.send_modify(|additions| *additions += 1);
    }

    pub(crate) fn remove(&self, task: &TaskId) {
        self.tasks.lock().remove(task);
    }

    /// A task of this node.
    pub(crate) fn find(&self, task: &TaskId) -> Option<ControllerCell> {
        self.tasks.lock().get(task).cloned()
    }

    /// Told whenever a task was added.
    pub(crate) fn additions(&self) -> watch::Receiver<u64> {
        self.additions.subscribe()
    }

    /// All tasks, by their id.
    pub(crate) fn all(&self) -> Vec<ControllerCell> {
        self.tasks.lock().values().cloned().collect()
    }

    /// The tasks that a selector selects: by their own id, their service's or their node's.
    pub(crate) fn select(&self, selector: &wire::LogSelector) -> Vec<(TaskId, ControllerCell)> {
        let tasks = self.tasks.lock();
        tasks
            .iter()
            .filter(|(_, controller)| selects(selector, controller))
            .map(|(id, c)| (id.clone(), c.clone()))
            .collect()
    }
}

fn selects(selector: &wire::LogSelector, controller: &ControllerCell) -> bool {
    let task = controller.task();
    let names = |ids: &[String], id: Option<&str>| id.is_some_and(|id| ids.iter().any(|named| named == id));
    names(&selector.task_ids, Some(task.id.as_str()))
        || names(&selector.service_ids, task.service_id.as_ref().map(AsRef::as_ref))
        || names(&selector.node_ids, task.node_id.as_ref().map(AsRef::as_ref))
}
