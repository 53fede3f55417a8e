//! Images, and registries that cannot be reached.

use swarmkit_api::{Task, wire};
use swarmkit_executor::{Controller as _, ExecError, Executor as _, FixedDependencies};
use swarmkit_executor_docker::{DockerController, DockerExecutor, PullPolicy};

use crate::{
    registry::Registry,
    world::{World, task, within},
};

/// Port 1 of this machine, where nobody listens.
const MISSING: &str = "localhost:1/missing:1";

/// The same world with another policy.
async fn with_policy(world: World, policy: PullPolicy) -> World {
    let World { ground, dir, executor } = world;
    drop(executor);
    let builder = DockerExecutor::builder(dir.path()).socket(&ground.socket).pull(policy).pull_tries(2);
    World { executor: builder.open().await.unwrap(), ground, dir }
}

/// A task of an image from a registry.
fn of(image: String) -> Task {
    task("echo ran", |spec, _| spec.image = image)
}

/// Prepares a task. When something is said meanwhile for which `is_it` holds, `and_then` is done, so that the preparation
/// can come to its end.
async fn prepared_saying(
    controller: &DockerController,
    is_it: impl Fn(&str) -> bool,
    and_then: impl FnOnce(),
) -> Result<(), ExecError> {
    let mut preparing = std::pin::pin!(controller.prepare());
    let said = async {
        loop {
            let said = controller.progress().await;
            if is_it(&said) {
                return;
            }
        }
    };
    tokio::select! { biased;
        () = within(said) => {}
        end = &mut preparing => panic!("it ended without saying so: {end:?}"),
    };
    and_then();
    within(preparing).await
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

#[tokio::test]
async fn a_fetch_says_how_far_it_is() {
    let Some(world) = World::find().await else { return };
    let registry = Registry::start(&world.ground).await;
    registry.hold();
    let world = with_policy(world, PullPolicy::Always).await;
    let run = world.controller(of(registry.image()), FixedDependencies::new()).await;
    let beginning = format!("fetching {}: 0 of 1 layers, ", registry.image());
    let is_it = |said: &str| said.starts_with(&beginning) && said.ends_with(" MB");
    prepared_saying(&run.controller, is_it, || registry.open()).await.unwrap();
    within(run.controller.start()).await.unwrap();
    within(run.controller.wait()).await.unwrap();
    assert_eq!(run.output().await, "ran\n");
    world.end().await;
    registry.end().await;
}

#[tokio::test]
async fn a_registry_that_is_ill_is_asked_again_and_one_that_refuses_is_not() {
    let Some(world) = World::find().await else { return };
    let registry = Registry::start(&world.ground).await;
    registry.fall_ill();
    let world = with_policy(world, PullPolicy::Missing).await;
    let run = world.controller(of(registry.image()), FixedDependencies::new()).await;
    let beginning = format!("cannot fetch {}, trying again: ", registry.image());
    let is_it = |said: &str| said.starts_with(&beginning);
    prepared_saying(&run.controller, is_it, || registry.open()).await.unwrap();

    // An engine begins with this each time.
    let tries = || registry.asked().lines().filter(|line| line.starts_with("/v2/ ")).count();
    let before = tries();
    let run = world.controller(of(registry.missing()), FixedDependencies::new()).await;
    let error = within(run.controller.prepare()).await.unwrap_err();
    assert!(matches!(error, ExecError::Rejected(_)) && error.to_string().contains("manifest unknown"), "{error:?}");
    assert_eq!(tries() - before, 1, "{}", registry.asked());
    world.end().await;
    registry.end().await;
}

#[tokio::test]
async fn a_registry_that_wants_to_know_who_asks_is_told_and_nobody_else() {
    let Some(world) = World::find().await else { return };
    let registry = Registry::start(&world.ground).await;
    registry.ask_who();
    let world = with_policy(world, PullPolicy::Missing).await;
    let error = world.refusal(of(registry.image())).await;
    assert!(matches!(error, ExecError::Rejected(_)), "{error:?}");

    let mut task = task("echo ran", |spec, _| {
        spec.image = registry.image();
        // {"username":"joe","password":"hush"}
        let registry_auth = "eyJ1c2VybmFtZSI6ImpvZSIsInBhc3N3b3JkIjoiaHVzaCJ9".to_owned();
        spec.pull_options = Some(wire::container_spec::PullOptions { registry_auth });
    });
    task.slot = 1;
    assert_eq!(world.output(task).await, "ran\n");
    // joe:hush
    assert!(registry.asked().contains("/v2/a/b/manifests/1 Basic am9lOmh1c2g="), "{}", registry.asked());
    world.end().await;
    registry.end().await;
}

#[tokio::test]
async fn a_tag_is_asked_for_each_time_or_once_by_the_policy_and_a_digest_once() {
    let Some(world) = World::find().await else { return };
    let registry = Registry::start(&world.ground).await;
    let asked = || registry.asked().lines().filter(|line| line.contains("/manifests/")).count();
    let world = with_policy(world, PullPolicy::Missing).await;
    assert_eq!(world.output(of(registry.image())).await, "ran\n");
    let first = asked();
    assert_eq!(world.output(of(registry.image())).await, "ran\n");
    assert_eq!(asked(), first, "it is here");
    let world = with_policy(world, PullPolicy::Always).await;
    assert_eq!(world.output(of(registry.image())).await, "ran\n");
    let second = asked();
    assert!(second > first, "the tag may have moved");
    assert_eq!(world.output(of(registry.pinned())).await, "ran\n");
    assert_eq!(world.output(of(registry.pinned())).await, "ran\n");
    assert_eq!(asked(), second, "what a digest names does not change, and it is here");
    world.end().await;
    registry.end().await;
}
