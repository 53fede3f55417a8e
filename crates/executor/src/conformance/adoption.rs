//! What a program finds that was started again.

use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, within},
};
use crate::Executor;

pub(super) async fn a_running_task_is_adopted<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Runs).await;
    let (task, pid) = (trial.task.clone(), trial.pid().await);
    drop((trial, executor));

    let executor = bench.open().await;
    within("reconcile", executor.reconcile(std::slice::from_ref(&task.id))).await.expect("reconcile succeeds");
    let trial = bench.adopt(&executor, &task).await;
    trial.prepare().await;
    trial.start().await;
    assert_eq!(trial.pid().await, pid, "the task that runs is the one that was started");
    trial.expect_running("an adopted task runs on").await;
    trial.shutdown().await;
    drop(trial.wait().await);
    trial.finish().await;
}

pub(super) async fn an_end_that_nobody_watched_is_reported<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    for (act, code) in [(Act::Exits(5), 5), (Act::ExitsAfter(300, 6), 6)] {
        let executor = bench.open().await;
        let trial = bench.started(&executor, act).await;
        let task = trial.task.clone();
        drop((trial, executor));

        let executor = bench.open().await;
        let trial = bench.adopt(&executor, &task).await;
        trial.start().await;
        let error = trial.wait().await.expect_err("it did not end well");
        assert_eq!(error.exit_code(), Some(code), "the exit code is kept while no program looks: {error}");
        trial.finish().await;
    }
}

pub(super) async fn a_task_that_was_prepared_can_be_started<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Exits(0)).await;
    trial.prepare().await;
    let task = trial.task.clone();
    drop((trial, executor));

    let executor = bench.open().await;
    let trial = bench.adopt(&executor, &task).await;
    trial.start().await;
    trial.wait().await.expect("it ran to its end");
    trial.finish().await;
}

pub(super) async fn what_nobody_knows_any_more_is_removed<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let kept = bench.started(&executor, Act::Runs).await.task;
    let forgotten = bench.started(&executor, Act::Runs).await.task;
    drop(executor);

    let executor = bench.open().await;
    for _ in 0..2 {
        within("reconcile", executor.reconcile(std::slice::from_ref(&kept.id))).await.expect("reconcile succeeds");
    }
    let trial = bench.adopt(&executor, &forgotten).await;
    trial.wait().await.expect_err("what was forgotten does not run");
    trial.finish().await;
    let trial = bench.adopt(&executor, &kept).await;
    trial.expect_running("what is known runs on").await;
    trial.finish().await;
}

pub(super) async fn a_removal_outlives_the_program<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Runs).await;
    let task = trial.task.clone();
    trial.remove().await;
    drop((trial, executor));

    let executor = bench.open().await;
    let trial = bench.adopt(&executor, &task).await;
    trial.wait().await.expect_err("what was removed does not come back");
    assert_eq!(trial.container().await, None, "nothing of it is left");
    trial.finish().await;
}
