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
    attempts::was_over_before,
    fate::Fate,
    slot::{Seated, Slot, is_live, makes_room},
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
    // What had to go while it was still on hold hands that on.
    let held = slot.last_end_before(task).map(|held| held.since + delay(slot, &held.task, world));
    let after_delay = (*since + delay(slot, task, world)).max(held.unwrap_or(*since));
    let waits = slot.tasks().any(|other| other.id != task.id && is_stopping(other, world.fate(other)));
    let after_stop = if waits { *since + OLD_TASK_TIMEOUT } else { *since };
    let at = after_delay.max(after_stop);
    if at <= now { Start::Now } else { Start::By(at) }
}

/// What replaces a task that ended by itself waits as that task's policy says, wherever that was. What replaces one that had
/// to stop, because the service was changed, its node is drained or others needed the room, does not; what replaces one whose node is lost, does.
/// Something else than what ended is not kept waiting for it: a rollout, or a rollback, tries it at once.
fn delay(slot: &Slot, task: &Task, world: &World) -> Duration {
    let Some(before) = slot.before(task) else { return Duration::ZERO };
    if before.spec_version != task.spec_version && before.spec != task.spec {
        return Duration::ZERO;
    }
    if makes_room(before) {
        return Duration::ZERO;
    }
    let is_over = before.status.state > TaskState::Running;
    let has_to_wait = if is_over { was_over_before(before, task) } else { world.fate(before).is_silent() };
    if has_to_wait && slot.may_restart(before) { slot.delay_after(before) } else { Duration::ZERO }
}

/// Whether a task is on the way out, and somebody will say when it is.
fn is_stopping(task: &Arc<Task>, fate: Fate) -> bool {
    let is_placed = task.node_id.is_some() && task.status.state >= TaskState::Assigned;
    !is_live(task) && is_placed && task.status.state <= TaskState::Running && !fate.is_silent()
}
