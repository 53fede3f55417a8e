//! Which secrets have yet to be provided by drivers, and which tasks wait for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Secret, Task, TaskId};

/// A driver is to be asked for the value of a secret for a task.
pub(crate) struct Want {
    pub(crate) secret: Arc<Secret>,
    pub(crate) task: Arc<Task>,
}

/// What has become of that.
pub(crate) struct Provision {
    pub(crate) task: TaskId,
    /// The secret that was asked for.
    pub(crate) secret: String,
    /// The secret as the node is given it, under an id of its own if it is for this task alone. `None`: there is no value.
    pub(crate) provided: Option<Arc<Secret>>,
}

/// See the module's purpose.
#[derive(Default)]
pub(super) struct Awaited {
    /// What has yet to be asked.
    wants: Vec<Want>,
    /// What has yet to be answered, by task and secret.
    open: BTreeMap<TaskId, BTreeSet<String>>,
    /// Tasks that the node is not told of before.
    held: BTreeMap<TaskId, Arc<Task>>,
}

impl Awaited {
    pub(super) fn want(&mut self, secret: Arc<Secret>, task: Arc<Task>) {
        if self.open.entry(task.id.clone()).or_default().insert(secret.id.to_string()) {
            self.wants.push(Want { secret, task });
        }
    }

    /// Those whose tasks are not gone already.
    pub(super) fn take_wants(&mut self) -> Vec<Want> {
        let mut wants = std::mem::take(&mut self.wants);
        wants.retain(|want| self.open.get(&want.task.id).is_some_and(|open| open.contains(want.secret.id.as_ref())));
        wants
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.open.is_empty()
    }

    /// Whether a task has to wait, and is now held. One that its node has taken up never does.
    pub(super) fn hold(&mut self, task: &Arc<Task>, is_taken_up: bool) -> bool {
        if is_taken_up || !self.open.contains_key(&task.id) {
            self.held.remove(&task.id);
            return false;
        }
        self.held.insert(task.id.clone(), Arc::clone(task));
        true
    }

    /// Whether the node has yet to be told of a task.
    pub(super) fn holds(&self, task: &TaskId) -> bool {
        self.held.contains_key(task)
    }

    /// An answer has come. Whether it was waited for.
    pub(super) fn answered(&mut self, task: &TaskId, secret: &str) -> bool {
        let Some(open) = self.open.get_mut(task) else { return false };
        let awaited = open.remove(secret);
        if open.is_empty() {
            self.open.remove(task);
        }
        awaited
    }

    /// The task that was held, if it waits for nothing any more.
    pub(super) fn release(&mut self, task: &TaskId) -> Option<Arc<Task>> {
        if self.open.contains_key(task) { None } else { self.held.remove(task) }
    }

    /// The task needs nothing any more.
    pub(super) fn forget(&mut self, task: &TaskId) {
        self.open.remove(task);
        self.held.remove(task);
    }
}
