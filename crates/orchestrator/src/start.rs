//! When a task that was made to replace another one may start.
//!
//! Such a task is made READY: its node may prepare it, but not start it. It starts when its delay is over and the tasks
//! before it have stopped. Both are told by the slot's tasks themselves, so a new leader goes on where the old one was.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Task, TaskState};

use crate::{
    fate::Fate,
    policy::Restart,
    slot::{Seated, Slot, is_live},
    times::time,
    world::World,
};

/// How long a task waits for those before it to stop, from when it was made. As upstream.
const OLD_TASK_TIMEOUT: Duration = Duration::from_secs(60);

/// When a task may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Now,
    /// Then at the latest; sooner if what it waits for happens.
    By(SystemTime),
}

/// When a task may start that is not wanted to run yet.
pub(crate) fn start_of(slot: &Slot, seated: &Seated, world: &World, now: SystemTime) -> Start {
    let Seated { task, since } = seated;
    let after_delay = *since + delay(slot, task, world);
    let waits = slot.tasks().any(|other| other.id != task.id && is_stopping(other, world.fate(other)));
    let after_stop = if waits { *since + OLD_TASK_TIMEOUT } else { *since };
    let at = after_delay.max(after_stop);
    if at <= now { Start::Now } else { Start::By(at) }
}

/// What replaces a task that has ended waits as that task's policy says. What replaces one that had to stop, because
/// the service was changed or its node is drained, does not.
fn delay(slot: &Slot, task: &Task, world: &World) -> Duration {
    let Some(before) = slot.before(task) else { return Duration::ZERO };
    let fate = world.fate(before);
    let ended_by_itself = match before.status.state {
        TaskState::Shutdown => false,
        // What ends because it was replaced is written after its replacement was made.
        state if state > TaskState::Running => {
            fate != Fate::Drained && time(before.meta.updated_at) <= time(task.meta.created_at)
        }
        _ => fate.is_silent(),
    };
    if ended_by_itself && slot.may_restart(before) { Restart::of(&before.spec).delay } else { Duration::ZERO }
}

/// Whether a task is on the way out, and somebody will say when it is.
fn is_stopping(task: &Arc<Task>, fate: Fate) -> bool {
    let is_placed = task.node_id.is_some() && task.status.state >= TaskState::Assigned;
    !is_live(task) && is_placed && task.status.state <= TaskState::Running && !fate.is_silent()
}
