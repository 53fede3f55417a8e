//! What tasks use.

use swarmkit_api::wire;
use swarmkit_executor::{Controller as _, ExecError, FixedDependencies};

use crate::world::{World, task, within};

#[tokio::test]
async fn what_a_container_uses_is_told_while_it_runs() {
    let Some(world) = World::find().await else { return };
    let limits = wire::Resources { memory_bytes: 64 << 20, ..Default::default() };
    let limited = task("echo up; exec sleep 3600", |container, spec| {
        container.pids_limit = 20;
        spec.resources = Some(wire::ResourceRequirements { limits: Some(limits), ..Default::default() });
    });
    let run = world.controller(limited, FixedDependencies::new()).await;
    assert!(matches!(within(run.controller.usage()).await, Err(ExecError::Failed(_))), "there is no container");
    within(run.controller.prepare()).await.unwrap();
    assert!(matches!(within(run.controller.usage()).await, Err(ExecError::Failed(_))), "it was not started");
    within(run.controller.start()).await.unwrap();
    run.says("up").await;
    let first = within(run.controller.usage()).await.unwrap();
    assert_eq!(first.memory_limit, Some(64 << 20));
    assert!(first.cpu.is_some_and(|cpu| !cpu.is_zero()), "{first:?}");
    assert!(first.memory.is_some_and(|bytes| bytes > 0 && bytes < 64 << 20), "{first:?}");
    assert!(first.pids.is_some_and(|pids| (1..=20).contains(&pids)), "{first:?}");
    let later = within(run.controller.usage()).await.unwrap();
    assert!(later.cpu >= first.cpu && later.taken_at >= first.taken_at, "{first:?} {later:?}");
    within(run.controller.terminate()).await.unwrap();
    assert!(matches!(within(run.controller.usage()).await, Err(ExecError::Failed(_))), "it has ended");
    world.end().await;
}
