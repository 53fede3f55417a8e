//! Several executors, and people, on one engine.

use std::sync::Arc;

use bollard::{
    models::ContainerCreateBody,
    query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder},
};
use swarmkit_executor::{Assignment, Controller as _, ExecError, Executor as _, FixedDependencies};

use crate::world::{IMAGE, World, task, within};

#[tokio::test]
async fn executors_that_share_an_engine_leave_each_others_tasks_alone() {
    let (Some(one), Some(other)) = (World::find().await, World::find().await) else { return };
    let run = one.started(task("exec sleep 3600", |_, _| {}), FixedDependencies::new()).await;
    within(other.executor.reconcile(&[])).await.unwrap();
    let pid = run.status().await.container.expect("it runs").pid;
    assert!(pid > 0, "the other executor does not know the task, and still does not remove it");
    other.end().await;
    one.end().await;
}

#[tokio::test]
async fn a_container_of_somebody_else_is_not_touched_whatever_its_name() {
    let Some(world) = World::find().await else { return };
    let mut task = task("exec sleep 3600", |_, _| {});
    task.annotations.name = format!("taken-{}", task.id);
    let taken = task.annotations.name.clone();
    let options = CreateContainerOptionsBuilder::new().name(&taken).build();
    let body = ContainerCreateBody { image: Some(IMAGE.into()), cmd: Some(vec!["sh".into()]), ..Default::default() };
    world.ground.docker.create_container(Some(options), body).await.unwrap();

    let run = world.controller(task, FixedDependencies::new()).await;
    let error = within(run.controller.prepare()).await.unwrap_err();
    assert!(matches!(error, ExecError::Rejected(_)) && error.to_string().contains(&taken), "{error:?}");
    for _ in 0..2 {
        within(run.controller.shutdown()).await.unwrap();
        within(run.controller.remove()).await.unwrap();
    }
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    world.ground.docker.remove_container(&taken, Some(options)).await.expect("it is still there");
    world.end().await;
}

#[tokio::test]
async fn a_container_bears_the_name_and_the_labels_of_its_task() {
    let Some(world) = World::find().await else { return };
    let mut task = task("exec sleep 3600", |spec, _| drop(spec.labels.insert("a".into(), "b".into())));
    task.service_annotations = swarmkit_api::wire::Annotations { name: "web".into(), ..Default::default() }.into();
    task.slot = 3;
    let name = format!("web.3.{}", task.id);
    let run = world.started(task, FixedDependencies::new()).await;
    let found = world.ground.docker.inspect_container(&name, None).await.unwrap();
    let labels = found.config.unwrap().labels.unwrap();
    let of = |name: &str| labels.get(name).map(String::as_str);
    assert_eq!(of("a"), Some("b"));
    assert_eq!(of("com.docker.swarm.task.id"), Some(run.task.id.as_str()));
    assert_eq!(of("com.docker.swarm.task.name"), Some(name.as_str()));
    world.end().await;
}

#[tokio::test]
async fn a_container_that_is_removed_by_hand_is_the_end_of_its_task() {
    let Some(world) = World::find().await else { return };
    let run = world.started(task("exec sleep 3600", |_, _| {}), FixedDependencies::new()).await;
    let id = run.status().await.container.expect("it runs").container_id;
    let mut wait = Box::pin(run.controller.wait());
    assert!(futures_util::poll!(&mut wait).is_pending());
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    world.ground.docker.remove_container(&id, Some(options)).await.unwrap();
    let error = within(wait).await.unwrap_err();
    // It is seen when it has been killed, or when it is gone.
    assert!(matches!(error, ExecError::Failed(_) | ExecError::Exited { code: 137, .. }), "{error:?}");
    world.end().await;
}

#[tokio::test]
async fn a_task_whose_start_was_given_up_is_not_started_after_its_stop() {
    let Some(world) = World::find().await else { return };
    for polls in 1..6 {
        let run = world.controller(task("exec sleep 3600", |_, _| {}), FixedDependencies::new()).await;
        within(run.controller.prepare()).await.unwrap();
        {
            let mut start = std::pin::pin!(run.controller.start());
            for _ in 0..polls {
                let _ = futures_util::poll!(&mut start);
                tokio::task::yield_now().await;
            }
        }
        within(run.controller.shutdown()).await.unwrap();
        // Whoever adopts it finds it ended, now and later.
        let next = world.executor.controller(Assignment::new(Arc::clone(&run.task))).await.unwrap();
        within(next.wait()).await.unwrap_err();
        assert!(run.status().await.container.is_none_or(|container| container.pid == 0), "it does not run");
    }
    world.end().await;
}

#[tokio::test]
async fn a_removal_waits_for_one_that_is_under_way() {
    let Some(world) = World::find().await else { return };
    let run = world.started(task("exec sleep 3600", |_, _| {}), FixedDependencies::new()).await;
    let removals = (0..4).map(|n| {
        let (executor, controller) = (&world.executor, &run.controller);
        async move { if n % 2 == 0 { executor.reconcile(&[]).await } else { controller.remove().await } }
    });
    for removed in within(futures_util::future::join_all(removals)).await {
        removed.unwrap();
    }
    assert_eq!(world.ground.containers_of(world.dir.path()).await, Vec::<String>::new());
    world.end().await;
}
