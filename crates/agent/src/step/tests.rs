//! The steps of a task, case by case and all of them.

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

/// One step that was taken: from where, to what end, and what its status says then: state, message, error, exit code.
type Case = (TaskState, TaskState, Result<(), ExecError>, (TaskState, &'static str, &'static str, Option<i32>));

#[test]
fn every_end_of_a_step_leads_to_its_state_message_error_and_exit_code() {
    use TaskState::{
        Accepted, Assigned, Complete, Failed, New, Pending, Preparing, Ready, Rejected, Remove, Running, Shutdown,
        Starting,
    };
    let failed = |text: &'static str| Err(ExecError::failed(text));
    let cases: Vec<Case> = vec![
        (New, Running, Ok(()), (Accepted, "accepted", "", None)),
        (Pending, Running, Ok(()), (Accepted, "accepted", "", None)),
        (Assigned, Running, Ok(()), (Accepted, "accepted", "", None)),
        (Accepted, Running, Ok(()), (Preparing, "preparing", "", None)),
        (Preparing, Running, Ok(()), (Ready, "prepared", "", None)),
        (Ready, Running, Ok(()), (Starting, "starting", "", Some(0))),
        (Starting, Running, Ok(()), (Running, "started", "", Some(0))),
        (Running, Running, Ok(()), (Complete, "finished", "", Some(0))),
        (Preparing, Running, failed("no image"), (Rejected, "before", "no image", None)),
        (Starting, Running, failed("no program"), (Failed, "before", "no program", Some(0))),
        (Running, Running, Err(ExecError::exited(1)), (Failed, "before", "task: non-zero exit (1)", Some(1))),
        (Running, Running, Err(ExecError::temporary("away")), (Running, "before", "away", None)),
        (New, Shutdown, Ok(()), (Shutdown, "shutdown", "", Some(0))),
        (New, Remove, Ok(()), (Shutdown, "shutdown", "", Some(0))),
        (Running, Remove, Ok(()), (Shutdown, "shutdown", "", Some(0))),
        (Running, Shutdown, failed("will not stop"), (Failed, "before", "will not stop", Some(0))),
        (Ready, Shutdown, failed("will not stop"), (Rejected, "before", "will not stop", None)),
        (Running, Shutdown, Err(ExecError::temporary("away")), (Running, "before", "away", None)),
    ];
    for (from, desired, end, (state, message, err, code)) in cases {
        let case = format!("{from:?} -> {desired:?}, {end:?}");
        let status = match Step::of(from, desired) {
            Step::Rest => panic!("{case}: nothing is done"),
            // What is known is asked for after calls only.
            Step::Advance(to) => with_runtime(reached(&at(from), to), exit(0), None),
            Step::Call(operation) => match operation.conclude(&at(from), end, exit(0)) {
                Verdict::Settled(status) | Verdict::Retry(status) => status,
            },
        };
        assert_eq!((status.state, status.message.as_str(), status.err.as_str()), (state, message, err), "{case}");
        assert_eq!(status.container.map(|container| container.exit_code), code, "{case}");
    }
}

/// Everything that a call can come to.
fn ends() -> [Result<(), ExecError>; 7] {
    [
        Ok(()),
        Err(ExecError::temporary("busy")),
        Err(ExecError::rejected("never")),
        Err(ExecError::exited(3)),
        Err(ExecError::failed("broken")),
        Err(ExecError::Unsupported("that")),
        Err(ExecError::Closed),
    ]
}

/// From every state to every desired one, with every end of every call, by clocks that stand, go on and go back. Since a
/// step knows of nothing but the status before it, this holds for any sequence of them.
#[test]
fn no_step_takes_a_state_or_a_stamp_back_and_the_stamp_stays_where_nothing_is_new() {
    use TaskState::*;
    let states = [
        New, Pending, Assigned, Accepted, Preparing, Ready, Starting, Running, Complete, Shutdown, Failed, Rejected,
        Remove, Orphaned,
    ];
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(43_200);
    let hour = Duration::from_secs(3600);
    let operations = [Operation::Prepare, Operation::Start, Operation::Wait, Operation::Shutdown];
    let mut steps = 0;
    for state in states {
        let before = TaskStatus { timestamp: Some(noon.into()), ..at(state) };
        let error = ExecError::failed("broken");
        let mut after = vec![failed(&before, &error), unresolved(&before, &error)];
        for desired in states {
            match Step::of(state, desired) {
                Step::Rest => {}
                Step::Advance(to) => {
                    assert!(to.state > state, "{state:?} -> {desired:?}: {to:?}");
                    after.push(reached(&before, to));
                }
                Step::Call(operation) => assert!(operation.reaches().state > state, "{state:?} -> {desired:?}"),
            }
        }
        // Also those that would not be chosen here.
        for operation in operations {
            for end in ends() {
                match operation.conclude(&before, end, exit(0)) {
                    Verdict::Settled(status) => after.push(status),
                    Verdict::Retry(status) => {
                        assert_eq!(status.state, state, "what is tried again stays where it is");
                        after.push(status);
                    }
                }
            }
        }
        for status in after {
            assert!(status.state >= state, "{state:?} went back: {status:?}");
            for now in [noon - hour, noon, noon + hour] {
                let stamped = stamped(&before, status.clone(), now);
                let stamp = SystemTime::try_from(stamped.timestamp.unwrap()).unwrap();
                let expected = if status == before { noon } else { now.max(noon) };
                assert_eq!(stamp, expected, "{before:?} {status:?}");
                steps += 1;
            }
        }
    }
    assert!(steps > 1000, "all of them: {steps}");
}

#[test]
fn a_controller_that_tells_nothing_leaves_a_status_without_a_container_or_ports() {
    let started = Operation::Start.conclude(&at(TaskState::Starting), Ok(()), RuntimeStatus::default());
    let Verdict::Settled(status) = started else { panic!("{started:?}") };
    assert_eq!((status.container, status.port_status), (None, None));
}

#[test]
fn an_error_that_may_pass_is_found_below_others() {
    let wrapped = ExecError::failed(ExecError::rejected(ExecError::temporary("no space")));
    let before = at(TaskState::Running);
    let verdict = Operation::Shutdown.conclude(&before, Err(wrapped), RuntimeStatus::default());
    assert!(matches!(verdict, Verdict::Retry(TaskStatus { state: TaskState::Running, .. })), "{verdict:?}");
    let end = Operation::Wait.conclude(&before, Err(ExecError::failed(ExecError::exited(5))), exit(0));
    let Verdict::Settled(status) = end else { panic!("{end:?}") };
    assert_eq!((status.state, status.container.unwrap().exit_code), (TaskState::Failed, 5));
}
