//! What to do next with a task: the state machine of one task, without the doing.

use std::time::SystemTime;

use swarmkit_api::{TaskState, TaskStatus};
use swarmkit_executor::{ExecError, RuntimeStatus};

/// The next thing to do with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing, until somebody wants something else of it.
    Rest,
    /// Go to a state, for which nothing has to be called.
    Advance(Reached),
    /// Call the controller.
    Call(Operation),
}

/// A call of the controller that brings a task forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Prepare,
    Start,
    Wait,
    Shutdown,
}

/// A state, and what people are told when it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) state: TaskState,
    pub(crate) message: &'static str,
}

/// What a finished call means for the task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The task has this status now.
    Settled(TaskStatus),
    /// The task has this status now, and the call is to be tried again later.
    Retry(TaskStatus),
}

// === impl Step ===

impl Step {
    /// The next step of a task that is in `state` and shall reach `desired`.
    ///
    /// An agent brings no task beyond SHUTDOWN, even if it shall be removed: what is behind is for managers to say.
    pub(crate) fn of(state: TaskState, desired: TaskState) -> Self {
        if desired >= TaskState::Shutdown {
            return if state >= TaskState::Complete { Self::Rest } else { Self::Call(Operation::Shutdown) };
        }
        if state > desired {
            return Self::Rest;
        }
        // These three finish what was begun, also when the state that was asked for is reached already.
        match state {
            TaskState::Preparing => return Self::Call(Operation::Prepare),
            TaskState::Starting => return Self::Call(Operation::Start),
            TaskState::Running => return Self::Call(Operation::Wait),
            _ => {}
        }
        if state >= desired {
            return Self::Rest;
        }
        match state {
            TaskState::New | TaskState::Pending | TaskState::Assigned => Self::advance(TaskState::Accepted, "accepted"),
            TaskState::Accepted => Self::advance(TaskState::Preparing, "preparing"),
            TaskState::Ready => Self::advance(TaskState::Starting, "starting"),
            TaskState::Preparing
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Complete
            | TaskState::Shutdown
            | TaskState::Failed
            | TaskState::Rejected
            | TaskState::Remove
            | TaskState::Orphaned => Self::Rest,
        }
    }

    fn advance(state: TaskState, message: &'static str) -> Self {
        Self::Advance(Reached { state, message })
    }
}

// === impl Operation ===

impl Operation {
    /// Where the operation leads when it succeeds.
    pub(crate) fn reaches(self) -> Reached {
        let (state, message) = match self {
            Self::Prepare => (TaskState::Ready, "prepared"),
            Self::Start => (TaskState::Running, "started"),
            Self::Wait => (TaskState::Complete, "finished"),
            Self::Shutdown => (TaskState::Shutdown, "shutdown"),
        };
        Reached { state, message }
    }

    /// What the end of a call means. `known` is what the executor says of the task after the call.
    pub(crate) fn conclude(self, before: &TaskStatus, end: Result<(), ExecError>, known: RuntimeStatus) -> Verdict {
        match end {
            Ok(()) => Verdict::Settled(with_runtime(reached(before, self.reaches()), known, None)),
            Err(error) if error.is_temporary() => {
                Verdict::Retry(TaskStatus { err: error.to_string(), ..before.clone() })
            }
            Err(error) => Verdict::Settled(with_runtime(failed(before, &error), known, error.exit_code())),
        }
    }
}

/// A status that has gone forward. States never go back: a state that is not above the present one changes nothing.
pub(crate) fn reached(before: &TaskStatus, reached: Reached) -> TaskStatus {
    if reached.state <= before.state {
        return before.clone();
    }
    TaskStatus { state: reached.state, message: reached.message.into(), err: String::new(), ..before.clone() }
}

/// The status of a task that cannot go on: REJECTED if it was never started, FAILED if it was. One that has ended
/// already keeps its state. The message stays: it says what was being done.
pub(crate) fn failed(before: &TaskStatus, error: &ExecError) -> TaskStatus {
    let state = match before.state {
        state if state < TaskState::Starting => TaskState::Rejected,
        state if state <= TaskState::Running => TaskState::Failed,
        ended => ended,
    };
    TaskStatus { state, err: error.to_string(), ..before.clone() }
}

/// The status of a task for which no controller could be made.
pub(crate) fn unresolved(before: &TaskStatus, error: &ExecError) -> TaskStatus {
    TaskStatus { message: "resolving controller failed".into(), ..failed(before, error) }
}

/// Adds what the executor knows. Of a task that was never started nothing is known.
fn with_runtime(status: TaskStatus, known: RuntimeStatus, exit_code: Option<i32>) -> TaskStatus {
    if status.state < TaskState::Starting || status.state == TaskState::Rejected {
        return status;
    }
    let mut container = known.container.or_else(|| status.container.clone());
    if let Some(exit_code) = exit_code {
        container.get_or_insert_default().exit_code = exit_code;
    }
    let port_status = known.ports.or_else(|| status.port_status.clone());
    TaskStatus { container, port_status, ..status }
}

/// Stamps a status if it says anything new. The stamp never goes back, whatever the clock does.
pub(crate) fn stamped(before: &TaskStatus, status: TaskStatus, now: SystemTime) -> TaskStatus {
    if status == *before {
        return status;
    }
    let now = prost_types::Timestamp::from(now);
    let later = |earlier: &prost_types::Timestamp| (earlier.seconds, earlier.nanos) > (now.seconds, now.nanos);
    let timestamp = before.timestamp.filter(later).unwrap_or(now);
    TaskStatus { timestamp: Some(timestamp), ..status }
}

#[cfg(test)]
mod tests;
