//! What tasks use.

use std::time::Duration;

use swarmkit_api::wire;
use swarmkit_executor::{Controller as _, ExecError, Usage};

use crate::world::{Run, World, open, task, within};

async fn usage(run: &Run) -> Usage {
    within(run.controller.usage()).await.unwrap()
}

/// Burns processor time in processes that end, then sleeps as two processes and says so.
const BURNS: &str = "burn() { i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; }; (burn); (burn); (burn & wait); \
                     sleep 3600 & echo burnt; exec sleep 3600";

#[tokio::test]
async fn what_a_task_uses_is_summed_over_its_processes_also_those_that_are_gone() {
    let world = World::new().await;
    let run = world.script(BURNS).await;
    run.says("burnt").await;
    let settled = usage(&run).await;
    assert_eq!(settled.pids, Some(2));
    assert!(settled.cpu.is_some_and(|cpu| cpu >= Duration::from_millis(10)), "{settled:?}");
    assert!(settled.memory.is_some_and(|bytes| bytes > 0 && bytes < 100 << 20), "{settled:?}");
    assert_eq!((settled.memory_limit, settled.network_received), (None, None));
    let later = usage(&run).await;
    assert!(later.cpu >= settled.cpu && later.taken_at >= settled.taken_at);
    run.removed().await;
}

#[tokio::test]
async fn a_task_with_limits_is_measured_by_its_cgroups() {
    let world = World::new().await;
    let limits = wire::Resources { memory_bytes: 64 << 20, ..Default::default() };
    let limited = task("exec sleep 3600", |container, spec| {
        container.pids_limit = 20;
        spec.resources = Some(wire::ResourceRequirements { limits: Some(limits), ..Default::default() });
    });
    let run = world.started(limited).await;
    let groups = world.record(&run.task, "plan.json")["cgroups"].as_array().map_or(0, Vec::len);
    let usage = usage(&run).await;
    if groups == 0 {
        eprintln!("skipped: this machine lets us set no cgroup limits");
    } else {
        assert_eq!(usage.memory_limit, Some(64 << 20));
        assert_eq!((usage.pids, usage.pids_limit), (Some(1), Some(20)));
        assert!(usage.memory.is_some_and(|bytes| bytes > 0), "{usage:?}");
    }
    run.removed().await;
}

#[tokio::test]
async fn an_adopted_task_is_measured_and_one_that_does_not_run_is_not() {
    let world = World::new().await;
    let run = world.prepared_with(task(BURNS, |_, _| {}), swarmkit_executor::NoDependencies).await;
    assert!(matches!(run.controller.usage().await, Err(ExecError::Failed(_))), "it was not started");
    within(run.controller.start()).await.unwrap();
    run.says("burnt").await;
    let before = usage(&run).await;

    let Run { task, controller } = run;
    let World { dir, executor } = world;
    drop((controller, executor));
    let world = World { executor: open(dir.path()).await, dir };
    let run = world.prepared_with(task, swarmkit_executor::NoDependencies).await;
    assert!(usage(&run).await.cpu >= before.cpu, "the time that it has used is the machine's to know");
    within(run.controller.shutdown()).await.unwrap();
    assert!(matches!(run.controller.usage().await, Err(ExecError::Failed(_))), "it has ended");
    run.removed().await;
}
