//! Starting by health: an agent says RUNNING of a task when its health check has passed, and until then nobody takes the
//! task for one that is up.

use wire::{
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

use super::{
    stage::{Stage, image},
    *,
};

/// Two replicas that are updated one by one to an image of which every task stays STARTING until the story goes on.
async fn updated(order: UpdateOrder) -> Stage {
    let mut stage = Stage::open_with("node a; service web replicas=2", |task| {
        (image(task) == "new").then_some(TaskState::Starting)
    })
    .await;
    stage
        .update("web", |spec| {
            set_image("new")(spec);
            let (order, failure_action) = (order.into(), FailureAction::Pause.into());
            spec.update = Some(wire::UpdateConfig { parallelism: 1, order, failure_action, ..Default::default() });
        })
        .await;
    stage.pass(Duration::from_secs(600)).await;
    stage
}

/// What is starting comes to another state.
async fn comes_to(stage: &mut Stage, state: TaskState) {
    let starting = stage.tasks().into_iter().find(|task| task.status.state == TaskState::Starting);
    let now = stage.env.now().into();
    edit_task(&stage.store, starting.expect("a task is starting").id.as_str(), |task| {
        task.status.state = state;
        task.status.timestamp = Some(now);
    });
    stage.settle().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_waits_for_a_task_until_it_is_healthy() {
    let mut stage = updated(UpdateOrder::StopFirst).await;
    assert_eq!(stage.told(), ["web.1 new starting", "web.2 running"], "however long it takes");
    comes_to(&mut stage, TaskState::Running).await;
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 new starting"]);
    assert_eq!(stage.status("web").unwrap().0, UpdateState::Updating);
    comes_to(&mut stage, TaskState::Running).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 new running"]);
    assert_eq!(stage.status("web").unwrap().0, UpdateState::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_starts_first_lets_the_old_one_go_when_it_is_healthy() {
    let mut stage = updated(UpdateOrder::StartFirst).await;
    assert_eq!(stage.told(), ["web.1 running", "web.1 new starting", "web.2 running"]);
    comes_to(&mut stage, TaskState::Running).await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 running", "web.2 new starting"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_becomes_healthy_is_a_failure_of_the_rollout() {
    let mut stage = updated(UpdateOrder::StartFirst).await;
    comes_to(&mut stage, TaskState::Failed).await;
    assert_eq!(stage.status("web").unwrap().0, UpdateState::Paused);
    stage.pass(Duration::from_secs(600)).await;
    assert!(stage.told().contains(&"web.2 running".to_owned()), "the others are left as they are: {:?}", stage.told());
}
