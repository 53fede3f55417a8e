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
mod tests {
    use std::time::Duration;

    use swarmkit_api::wire::ContainerStatus;

    use super::*;

    fn at(state: TaskState) -> TaskStatus {
        TaskStatus { state, message: "before".into(), ..TaskStatus::default() }
    }

    fn exit(code: i32) -> RuntimeStatus {
        let container = ContainerStatus { container_id: "c1".into(), pid: 7, exit_code: code };
        RuntimeStatus { container: Some(container), ports: None }
    }

    /// The states that a task goes through when every call succeeds.
    fn walk(from: TaskState, desired: TaskState) -> Vec<(TaskState, String)> {
        let mut status = at(from);
        let mut path = Vec::new();
        loop {
            status = match Step::of(status.state, desired) {
                Step::Rest => return path,
                Step::Advance(to) => reached(&status, to),
                Step::Call(operation) => match operation.conclude(&status, Ok(()), RuntimeStatus::default()) {
                    Verdict::Settled(status) => status,
                    Verdict::Retry(status) => panic!("a success is not retried: {status:?}"),
                },
            };
            path.push((status.state, status.message.clone()));
        }
    }

    #[test]
    fn a_task_that_shall_run_goes_through_every_state_until_it_ends() {
        let path = walk(TaskState::Assigned, TaskState::Running);
        let states: Vec<_> = path.iter().map(|(state, message)| (*state, message.as_str())).collect();
        assert_eq!(
            states,
            [
                (TaskState::Accepted, "accepted"),
                (TaskState::Preparing, "preparing"),
                (TaskState::Ready, "prepared"),
                (TaskState::Starting, "starting"),
                (TaskState::Running, "started"),
                (TaskState::Complete, "finished"),
            ]
        );
    }

    #[test]
    fn a_task_waits_at_the_state_that_it_shall_reach() {
        assert_eq!(walk(TaskState::Assigned, TaskState::Accepted).last().unwrap().0, TaskState::Accepted);
        assert_eq!(walk(TaskState::Assigned, TaskState::Ready).last().unwrap().0, TaskState::Ready);
        assert_eq!(Step::of(TaskState::Ready, TaskState::Ready), Step::Rest);
    }

    #[test]
    fn what_was_begun_is_finished_even_if_it_was_all_that_was_asked_for() {
        assert_eq!(Step::of(TaskState::Preparing, TaskState::Preparing), Step::Call(Operation::Prepare));
        assert_eq!(Step::of(TaskState::Running, TaskState::Running), Step::Call(Operation::Wait));
    }

    #[test]
    fn a_task_above_its_desired_state_is_left_alone() {
        assert_eq!(Step::of(TaskState::Running, TaskState::Ready), Step::Rest);
        assert_eq!(Step::of(TaskState::Complete, TaskState::Running), Step::Rest);
    }

    #[test]
    fn shutdown_comes_from_any_state_and_removal_is_no_more_than_that() {
        for desired in [TaskState::Shutdown, TaskState::Remove] {
            for state in [TaskState::New, TaskState::Ready, TaskState::Running] {
                assert_eq!(walk(state, desired), [(TaskState::Shutdown, "shutdown".to_owned())]);
            }
            assert_eq!(Step::of(TaskState::Failed, desired), Step::Rest);
        }
    }

    #[test]
    fn an_exit_code_ends_as_failed_with_the_code_and_the_message_of_before() {
        let end = Operation::Wait.conclude(&at(TaskState::Running), Err(ExecError::exited(3)), exit(0));
        let Verdict::Settled(status) = end else { panic!("{end:?}") };
        assert_eq!(status.state, TaskState::Failed);
        assert_eq!(status.message, "before");
        assert_eq!(status.err, "task: non-zero exit (3)");
        assert_eq!(status.container.unwrap(), ContainerStatus { container_id: "c1".into(), pid: 7, exit_code: 3 });
    }

    #[test]
    fn a_failure_before_the_start_is_a_rejection_and_tells_nothing_of_a_container() {
        let end = Operation::Prepare.conclude(&at(TaskState::Preparing), Err(ExecError::failed("no image")), exit(0));
        let Verdict::Settled(status) = end else { panic!("{end:?}") };
        assert_eq!((status.state, status.err.as_str(), status.container), (TaskState::Rejected, "no image", None));
    }

    #[test]
    fn a_failed_start_and_a_failed_shutdown_of_a_running_task_are_failures() {
        for (operation, state) in [(Operation::Start, TaskState::Starting), (Operation::Shutdown, TaskState::Running)] {
            let end = operation.conclude(&at(state), Err(ExecError::failed("broken")), RuntimeStatus::default());
            let Verdict::Settled(status) = end else { panic!("{end:?}") };
            assert_eq!(status.state, TaskState::Failed);
        }
    }

    #[test]
    fn a_temporary_error_keeps_the_state_and_is_shown() {
        let before = at(TaskState::Preparing);
        let end = Operation::Prepare.conclude(&before, Err(ExecError::temporary("no space")), RuntimeStatus::default());
        assert_eq!(end, Verdict::Retry(TaskStatus { err: "no space".into(), ..before }));
    }

    #[test]
    fn success_clears_the_error_and_keeps_what_is_known_when_nothing_new_is() {
        let known = TaskStatus { err: "no space".into(), container: exit(0).container, ..at(TaskState::Starting) };
        let Verdict::Settled(status) = Operation::Start.conclude(&known, Ok(()), RuntimeStatus::default()) else {
            panic!("a success is not retried");
        };
        assert_eq!((status.err.as_str(), status.container), ("", exit(0).container));
    }

    #[test]
    fn a_state_never_goes_back() {
        let running = at(TaskState::Running);
        assert_eq!(reached(&running, Operation::Prepare.reaches()), running);
        assert_eq!(failed(&at(TaskState::Complete), &ExecError::Closed).state, TaskState::Complete);
    }

    #[test]
    fn without_a_controller_a_task_is_rejected_failed_or_left_by_how_far_it_was() {
        let error = ExecError::rejected("no such runtime");
        for (before, after) in [
            (TaskState::Assigned, TaskState::Rejected),
            (TaskState::Ready, TaskState::Rejected),
            (TaskState::Starting, TaskState::Failed),
            (TaskState::Running, TaskState::Failed),
            (TaskState::Shutdown, TaskState::Shutdown),
        ] {
            let status = unresolved(&at(before), &error);
            assert_eq!((status.state, status.message.as_str()), (after, "resolving controller failed"));
            assert_eq!(status.err, "no such runtime");
        }
    }

    #[test]
    fn the_stamp_is_new_only_with_news_and_never_older() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
        let stamped_at = |status: &TaskStatus| SystemTime::try_from(status.timestamp.unwrap()).unwrap();
        let first = stamped(&TaskStatus::default(), at(TaskState::Accepted), noon);
        assert_eq!(stamped_at(&first), noon);
        assert_eq!(stamped(&first, first.clone(), noon + Duration::from_secs(9)), first);
        let news = TaskStatus { state: TaskState::Preparing, ..first.clone() };
        assert_eq!(stamped_at(&stamped(&first, news.clone(), noon - Duration::from_secs(9))), noon);
        assert_eq!(stamped_at(&stamped(&first, news, noon + Duration::from_secs(9))), noon + Duration::from_secs(9));
    }
}
