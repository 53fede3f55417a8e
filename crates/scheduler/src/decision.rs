//! What is written about one task, or one volume.

use std::sync::Arc;

use swarmkit_api::{Node, Task, TaskState, TaskStatus, wire::GenericResource};
use swarmkit_store::{StoreError, Transaction};

use crate::{
    books::is_active,
    preemption::{Room, release},
    volumes::{Chosen, Idle, attachments, publish},
    world::looks_the_same,
};

/// What to write about one task.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    /// It goes to this node, or, if it was made for the node, may run there.
    Assign {
        task: Arc<Task>,
        node: Arc<Node>,
        given: Vec<GenericResource>,
        volumes: Vec<Chosen>,
        message: &'static str,
    },
    /// It goes on waiting, for this reason.
    Explain { task: Arc<Task>, err: Arc<str> },
    /// Tasks that are less important make room for it.
    MakeRoom { task: Arc<Task>, room: Room },
    /// The room that it claimed is kept no more, and it waits for this reason.
    Release { task: Arc<Task>, err: Arc<str> },
    /// It was asked to stop before it had a node, so it is stopped.
    Stop { task: Arc<Task> },
    /// Nobody has a volume any more on a node where it is published.
    Free { idle: Idle },
}

// === impl Decision ===

impl Decision {
    /// The task that it is about.
    pub(crate) fn task(&self) -> Option<&Arc<Task>> {
        match self {
            Self::Assign { task, .. }
            | Self::Explain { task, .. }
            | Self::MakeRoom { task, .. }
            | Self::Release { task, .. }
            | Self::Stop { task } => Some(task),
            Self::Free { .. } => None,
        }
    }

    /// Writes the decision, if what it was based on still holds. Gives whether it did.
    pub(crate) fn write(&self, tx: &mut Transaction) -> Result<bool, StoreError> {
        let now = Some(tx.now());
        if !self.task().is_none_or(|task| still_waits(tx, task)) {
            return Ok(false);
        }
        match self {
            Self::Assign { task, node, given, volumes, message } => {
                if !tx
                    .get::<Node>(&node.id)
                    .is_some_and(|stored| Arc::ptr_eq(stored, node) || looks_the_same(stored, node))
                {
                    return Ok(false);
                }
                if !publish(tx, &node.id, volumes)? {
                    return Ok(false);
                }
                tx.edit::<Task>(&task.id, |task| {
                    task.node_id = Some(node.id.clone());
                    task.assigned_generic_resources.clone_from(given);
                    task.volumes = attachments(volumes);
                    task.preemption = None;
                    task.status = status(TaskState::Assigned, message, now);
                })?;
            }
            Self::Explain { task, err } => {
                if tx.get::<Task>(&task.id).is_some_and(|stored| stored.status.err == **err) {
                    return Ok(true);
                }
                tx.edit::<Task>(&task.id, |task| {
                    task.status.err = err.to_string();
                    task.status.timestamp = now;
                })?;
            }
            Self::MakeRoom { task, room } => return room.write(tx, task),
            Self::Release { task, err } => release(tx, &task.id, err)?,
            Self::Stop { task } => {
                tx.edit::<Task>(&task.id, |task| {
                    task.status = status(TaskState::Shutdown, "stopped before it was assigned to a node", now);
                })?;
            }
            Self::Free { idle } => idle.write(tx)?,
        }
        Ok(true)
    }
}

/// Whether a task still is what a decision about it was based on.
fn still_waits(tx: &Transaction, task: &Task) -> bool {
    tx.get::<Task>(&task.id).is_some_and(|stored| {
        stored.status.state == TaskState::Pending
            && stored.node_id == task.node_id
            && stored.spec_version == task.spec_version
            && is_active(stored) == is_active(task)
    })
}

fn status(state: TaskState, message: &str, now: Option<prost_types::Timestamp>) -> TaskStatus {
    TaskStatus { state, message: message.to_owned(), timestamp: now, ..Default::default() }
}
