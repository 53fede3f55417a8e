//! Times as objects have them.

use std::time::SystemTime;

use prost_types::Timestamp;
use swarmkit_api::Task;

/// A time of the wire, but none that is yet to come: clocks of two leaders differ a little.
fn past(at: Option<Timestamp>, now: SystemTime) -> Option<SystemTime> {
    at.and_then(|at| SystemTime::try_from(at).ok()).map(|at| at.min(now))
}

/// When a task was made.
pub(crate) fn made_at(task: &Task, now: SystemTime) -> SystemTime {
    past(task.meta.created_at, now).unwrap_or(now)
}

/// When the state of a task was observed.
pub(crate) fn observed_at(task: &Task, now: SystemTime) -> SystemTime {
    past(task.status.applied_at.or(task.status.timestamp), now).unwrap_or(now)
}
