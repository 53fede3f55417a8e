//! Stopping and removing.

use futures_util::StreamExt as _;
use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, drop_after, within},
};
use crate::{Controller as _, Executor, LogOptions};

pub(super) async fn shutdown_works_in_every_state<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Runs).await;
    trial.shutdown().await;
    trial.finish().await;

    let trial = bench.controller(&executor, Act::Runs).await;
    trial.prepare().await;
    trial.shutdown().await;
    trial.finish().await;

    let trial = bench.started(&executor, Act::Runs).await;
    trial.shutdown().await;
    drop(trial.wait().await);
    trial.shutdown().await;
    trial.finish().await;

    let trial = bench.started(&executor, Act::Exits(0)).await;
    trial.wait().await.expect("it ended by itself");
    trial.shutdown().await;
    trial.wait().await.expect("stopping what has ended changes nothing");
    trial.finish().await;
}

pub(super) async fn what_does_not_heed_is_killed_after_its_grace<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Stubborn).await;
    trial.shutdown().await;
    trial.wait().await.expect_err("a task that was killed did not end well");
    trial.finish().await;
}

pub(super) async fn terminate_does_not_ask<E: Executor>(bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Stubborn).await;
    trial.terminate().await;
    trial.prepare().await;
    trial.start().await;
    trial.terminate().await;
    trial.wait().await.expect_err("a task that was killed did not end well");
    trial.terminate().await;
    trial.finish().await;
}

pub(super) async fn a_stop_that_was_dropped_can_be_repeated<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Stubborn).await;
    drop_after(2, trial.controller.shutdown()).await;
    trial.shutdown().await;
    trial.wait().await.expect_err("a task that was killed did not end well");
    trial.finish().await;
}

pub(super) async fn remove_works_in_every_state<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Runs).await;
    trial.remove().await;
    trial.prepare().await;
    trial.remove().await;
    trial.prepare().await;
    trial.start().await;
    trial.remove().await;
    trial.wait().await.expect_err("what was removed does not run");
    trial.finish().await;
}

pub(super) async fn the_stop_signal_is_the_one_that_was_chosen<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Signalled).await;
    // Before it says so, any signal would end it.
    let follow = LogOptions { follow: true, ..LogOptions::default() };
    let logs = within("logs", trial.controller.logs(follow)).await;
    let mut logs = logs.expect("this check reads what the task writes, so it cannot be made without logs");
    within("the word that it is ready", logs.next())
        .await
        .expect("it is ready before it ends")
        .expect("it can be read");
    trial.shutdown().await;
    let ended = trial.wait().await.expect_err("it ends with a code of its own");
    assert_eq!(ended.exit_code(), Some(7), "the task was sent the signal that it was to be stopped by: {ended}");
    trial.finish().await;
}

pub(super) async fn remove_may_come_while_somebody_waits<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.started(&executor, Act::Runs).await;
    let both = futures_util::future::join(trial.controller.wait(), trial.controller.remove());
    let (ended, removed) = within("removing what somebody waits for", both).await;
    removed.expect("remove succeeds while somebody waits");
    ended.expect_err("what was removed did not end well");
    trial.finish().await;
}
