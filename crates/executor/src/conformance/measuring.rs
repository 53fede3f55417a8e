//! What tasks use.

use swarmkit_api::wire::TaskSpec;

use super::{
    Act,
    trial::{Bench, within},
};
use crate::{Controller as _, ExecError, Executor};

pub(super) async fn what_a_task_uses_is_told_while_it_runs<E: Executor>(
    bench: &Bench<impl AsyncFn() -> E, impl Fn(Act) -> TaskSpec>,
) {
    let executor = bench.open().await;
    let trial = bench.controller(&executor, Act::Runs).await;
    trial.prepare().await;
    let unstarted = within("usage", trial.controller.usage()).await;
    assert!(matches!(unstarted, Err(ExecError::Failed(_))), "what was not started uses nothing: {unstarted:?}");
    trial.start().await;
    let first = within("usage", trial.controller.usage()).await.expect("a task that runs can be measured");
    let second = within("usage", trial.controller.usage()).await.expect("a task that runs can be measured again");
    assert!(second.taken_at >= first.taken_at, "the later sample is no older: {first:?} {second:?}");
    assert_ne!(first.pids, Some(0), "a task that runs has a process");
    let totals = |usage: &crate::Usage| {
        let blocks = [usage.block_read, usage.block_written, usage.network_received, usage.network_sent];
        (usage.cpu, blocks)
    };
    let ((cpu, blocks), (later_cpu, later_blocks)) = (totals(&first), totals(&second));
    assert!(later_cpu >= cpu, "a total never goes back: {first:?} {second:?}");
    let grows = blocks.iter().zip(&later_blocks).all(|(before, after)| after >= before);
    assert!(grows, "a total never goes back: {first:?} {second:?}");
    trial.shutdown().await;
    drop(trial.wait().await);
    let ended = within("usage", trial.controller.usage()).await;
    assert!(matches!(ended, Err(ExecError::Failed(_))), "what has ended uses nothing: {ended:?}");
    trial.finish().await;
}
