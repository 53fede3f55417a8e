//! From a controller to an exit code.

use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, drop_after, within},
};
use crate::{Controller as _, ExecError, Executor, LogOptions, RuntimeStatus, Workload};

/// How many tasks run at once in the check for that.
const CROWD: usize = 20;

/// In how many places each operation is cut off.
const CUTS: usize = 6;

pub(super) async fn a_description_says_what_the_node_can_run<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let description = within("describe", executor.describe()).await.expect("the node can be described");
    assert!(!description.hostname.is_empty(), "a node has a host name");
    assert!(description.platform.is_some(), "a node has a platform");
    let workload = Workload::of(&bench.task(Act::Runs).spec).expect("the suite's tasks are processes or containers");
    assert!(workload.runs_on(&description), "a node that runs {} tasks says so", workload.name());
}

pub(super) async fn a_task_that_ends_well_is_success<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Exits(0)).await;
    trial.wait().await.expect("exit code 0 is success");
    trial.finish().await;
}

pub(super) async fn an_exit_code_is_reported_also_long_after_and_again<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Exits(3)).await;
    for _ in 0..2 {
        let error = trial.wait().await.expect_err("exit code 3 is an error");
        assert_eq!(error.exit_code(), Some(3), "the exit code is that of the task: {error}");
    }
    let status = within("status", trial.controller.status()).await.expect("the status of an ended task is known");
    if let Some(container) = status.container {
        assert_eq!(container.exit_code, 3, "the status has the exit code too");
    }
    trial.finish().await;
}

pub(super) async fn every_step_may_be_repeated<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Runs).await;
    trial.prepare().await;
    trial.prepare().await;
    trial.start().await;
    let pid = trial.pid().await;
    trial.start().await;
    trial.prepare().await;
    assert_eq!(trial.pid().await, pid, "starting again starts nothing");
    trial.expect_running("nothing stopped it").await;
    trial.shutdown().await;
    trial.shutdown().await;
    trial.terminate().await;
    trial.remove().await;
    trial.finish().await;
}

pub(super) async fn every_step_may_be_dropped_half_way<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    for polls in 0..CUTS {
        let trial = bench.controller(&executor, Act::Runs).await;
        drop_after(polls, trial.controller.prepare()).await;
        trial.prepare().await;
        drop_after(polls, trial.controller.start()).await;
        trial.start().await;
        let pid = trial.pid().await;
        drop_after(polls, trial.controller.wait()).await;
        trial.expect_running("dropping a wait stops nothing").await;
        assert_eq!(trial.pid().await, pid, "it is still the one that was started");
        drop_after(polls, trial.controller.shutdown()).await;
        trial.shutdown().await;
        drop(trial.wait().await);
        drop_after(polls, trial.controller.remove()).await;
        trial.finish().await;
    }
}

pub(super) async fn a_task_is_started_once_in_its_life<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Exits(4)).await;
    drop(trial.wait().await);
    trial.start().await;
    let error = trial.wait().await.expect_err("it is the first run that is reported");
    assert_eq!(error.exit_code(), Some(4), "a task that has ended is not started again");
    trial.finish().await;

    let trial = bench.started(&executor, Act::Runs).await;
    trial.shutdown().await;
    drop(trial.wait().await);
    trial.start().await;
    let again = within("wait for a task that was stopped and is not started again", trial.controller.wait()).await;
    again.expect_err("what was stopped did not end well");
    trial.finish().await;
}

pub(super) async fn what_cannot_run_is_refused_before_or_at_its_start<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Impossible).await;
    let error = match within("prepare", trial.controller.prepare()).await {
        Ok(()) => within("start", trial.controller.start()).await.expect_err("it cannot be started"),
        Err(error) => error,
    };
    assert!(
        matches!(error, ExecError::Rejected(_) | ExecError::Failed(_)),
        "trying again does not help, and it did not run: {error:?}"
    );
    trial.finish().await;
}

pub(super) async fn a_task_is_up_when_it_is_well<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Well).await;
    trial.prepare().await;
    trial.start().await;
    trial.expect_running("it is well").await;
    trial.finish().await;

    let trial = bench.controller(&executor, Act::Unwell).await;
    trial.prepare().await;
    let error = within("start", trial.controller.start()).await.expect_err("it never was well");
    assert!(matches!(error, ExecError::Failed(_)), "what is unhealthy has failed: {error:?}");
    trial.wait().await.expect_err("a task that is unhealthy does not run on");
    trial.finish().await;
}

pub(super) async fn an_unchanged_definition_is_accepted_in_every_state<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Runs).await;
    trial.update("before it is prepared").await;
    trial.prepare().await;
    trial.update("before it is started").await;
    trial.start().await;
    let pid = trial.pid().await;
    trial.update("while it runs").await;
    trial.expect_running("an update that changes nothing stops nothing").await;
    assert_eq!(trial.pid().await, pid, "an update that changes nothing restarts nothing");
    trial.shutdown().await;
    drop(trial.wait().await);
    trial.update("after its end").await;
    trial.remove().await;
    trial.update("when nothing is left of it").await;
    trial.finish().await;
}

pub(super) async fn a_status_tells_of_nothing_before_the_start_and_of_the_end_after_it<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::ExitsAfter(300, 9)).await;
    assert_eq!(trial.container().await, None, "nothing is known of what was not prepared");
    trial.prepare().await;
    assert_eq!(trial.container().await, None, "nothing is known of what was not started");
    trial.start().await;
    let known = trial.container().await.is_some();
    drop(trial.wait().await);
    let ended = trial.container().await;
    let code = ended.as_ref().map(|container| container.exit_code);
    assert_eq!(code, known.then_some(9), "the status of an ended task has its exit code: {ended:?}");
    assert_eq!(ended.map_or(0, |container| container.pid), 0, "what has ended has no process");
    trial.remove().await;
    assert_eq!(trial.container().await, None, "nothing is known of what was removed");
    trial.finish().await;
}

pub(super) async fn many_tasks_run_side_by_side<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let run = |n: usize| {
        let executor = &executor;
        async move {
            let code = u8::try_from(n % 7).expect("less than 7");
            let trial = bench.started(executor, Act::Exits(code)).await;
            let ended = trial.wait().await;
            let reported = ended.as_ref().map_or_else(ExecError::exit_code, |()| Some(0));
            assert_eq!(reported, Some(i32::from(code)), "each task has an end of its own: {ended:?}");
            trial.finish().await;
        }
    };
    futures_util::future::join_all((0..CROWD).map(run)).await;
}

pub(super) async fn a_closed_controller_refuses_and_leaves_the_task_alone<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Runs).await;
    within("close", trial.controller.close()).await.expect("close succeeds");
    let closed = |result| matches!(result, Err(ExecError::Closed));
    assert!(closed(within("close", trial.controller.close()).await), "a second close says so");
    assert!(closed(within("prepare", trial.controller.prepare()).await), "prepare says that it was closed");
    assert!(closed(within("start", trial.controller.start()).await), "start says that it was closed");
    assert!(closed(trial.wait().await), "wait says that it was closed");
    assert!(closed(within("shutdown", trial.controller.shutdown()).await), "shutdown says that it was closed");
    assert!(closed(within("terminate", trial.controller.terminate()).await), "terminate says that it was closed");
    assert!(closed(within("remove", trial.controller.remove()).await), "remove says that it was closed");
    // Those that a controller need not have may answer as if they were not there.
    let update = within("update", trial.controller.update(trial.task.clone())).await;
    assert!(matches!(update, Ok(()) | Err(ExecError::Closed)), "update says that it was closed: {update:?}");
    let status = within("status", trial.controller.status()).await;
    let tells_nothing = status.as_ref().is_ok_and(|status| *status == RuntimeStatus::default());
    assert!(tells_nothing || matches!(status, Err(ExecError::Closed)), "status says that it was closed: {status:?}");
    let logs = within("logs", trial.controller.logs(LogOptions::default())).await.map(drop);
    assert!(
        matches!(logs, Err(ExecError::Closed | ExecError::Unsupported(_))),
        "logs says that it was closed: {logs:?}"
    );
    let usage = within("usage", trial.controller.usage()).await;
    assert!(
        matches!(usage, Err(ExecError::Closed | ExecError::Unsupported(_))),
        "usage says that it was closed: {usage:?}"
    );
    let next = bench.adopt(&executor, &trial.task).await;
    next.start().await;
    next.expect_running("closing a controller stops nothing").await;
    next.finish().await;
}
