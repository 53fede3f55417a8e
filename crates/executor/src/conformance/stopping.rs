//! Stopping and removing.

use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, drop_after},
};
use crate::{Controller as _, Executor};

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
