//! Images, and registries that cannot be reached.

use swarmkit_executor::{Controller as _, ExecError, Executor as _, FixedDependencies};
use swarmkit_executor_docker::{DockerExecutor, PullPolicy};

use crate::world::{World, task, within};

/// Port 1 of this machine, where nobody listens.
const MISSING: &str = "localhost:1/missing:1";

/// The same world with another policy.
async fn with_policy(world: World, policy: PullPolicy) -> World {
    let World { ground, dir, executor } = world;
    drop(executor);
    let executor = DockerExecutor::builder(dir.path()).socket(&ground.socket).pull(policy).open().await.unwrap();
    World { ground, dir, executor }
}

#[tokio::test]
async fn an_image_that_is_not_here_is_not_fetched_if_that_is_the_policy() {
    let Some(world) = World::find().await else { return };
    let error = world.refusal(task("true", |spec, _| spec.image = MISSING.into())).await;
    assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
    assert_eq!(error.to_string(), "image localhost:1/missing:1 is not on this node, and not fetched");
    world.end().await;
}

#[tokio::test]
async fn an_image_that_cannot_be_fetched_rejects_the_task() {
    let Some(mut world) = World::find().await else { return };
    for policy in [PullPolicy::Missing, PullPolicy::Always] {
        world = with_policy(world, policy).await;
        let error = world.refusal(task("true", |spec, _| spec.image = MISSING.into())).await;
        assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");
        assert!(error.to_string().starts_with("fetching image localhost:1/missing:1: "), "{error}");
    }
    world.end().await;
}

#[tokio::test]
async fn an_image_that_is_here_will_do_if_its_registry_is_away() {
    let Some(world) = World::find().await else { return };
    let world = with_policy(world, PullPolicy::Always).await;
    assert_eq!(world.output(task("echo ran", |_, _| {})).await, "ran\n");
    world.end().await;
}

#[tokio::test]
async fn a_fetch_that_nobody_waits_for_any_more_is_found_again() {
    let Some(world) = World::find().await else { return };
    let world = with_policy(world, PullPolicy::Always).await;
    let run = world.controller(task("echo ran", |_, _| {}), FixedDependencies::new()).await;
    for _ in 0..3 {
        // Dropped on its way.
        let _ = futures_util::poll!(std::pin::pin!(run.controller.prepare()));
    }
    within(run.controller.prepare()).await.unwrap();
    within(run.controller.start()).await.unwrap();
    within(run.controller.wait()).await.unwrap();
    assert_eq!(run.output().await, "ran\n");
    within(world.executor.reconcile(&[])).await.unwrap();
    world.end().await;
}
