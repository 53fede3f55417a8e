//! How the enforcers turn a task out: they say that it was rejected, and its restart policy decides what follows.

use swarmkit_api::{Task, TaskId, TaskState};
use swarmkit_store::{StoreError, Transaction};

/// Whether a task is wanted and has not ended, so that it can be turned out.
pub(crate) fn is_at_work(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete && task.status.state < TaskState::Complete
}

/// Writes that a task was rejected, by whom and why.
pub(crate) fn reject(tx: &mut Transaction, task: &TaskId, message: &str, err: &str) -> Result<(), StoreError> {
    let now = Some(tx.now());
    tx.edit::<Task>(task, |task| {
        task.status.state = TaskState::Rejected;
        task.status.message = message.to_owned();
        task.status.err = err.to_owned();
        task.status.timestamp = now;
        // When a manager has last passed on what an agent said tells nothing about this.
        task.status.applied_at = None;
        task.status.applied_by = None;
    })
    .map(drop)
}
