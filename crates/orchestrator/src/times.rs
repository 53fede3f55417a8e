//! Times and periods as the wire has them.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use swarmkit_api::Task;

/// A time of the wire. `None` when it is absent or no time at all.
pub(crate) fn time(at: Option<Timestamp>) -> Option<SystemTime> {
    at.and_then(|at| SystemTime::try_from(at).ok())
}

/// A period of the wire. `None` when it is absent or negative.
pub(crate) fn period(period: Option<prost_types::Duration>) -> Option<Duration> {
    period.and_then(|period| Duration::try_from(period).ok())
}

/// When the state of a task was observed: by the clock of a manager, if one has said so.
pub(crate) fn observed_at(task: &Task) -> Option<SystemTime> {
    time(task.status.applied_at).or_else(|| time(task.status.timestamp))
}
