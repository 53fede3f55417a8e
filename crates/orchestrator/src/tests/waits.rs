//! What waits for its restart delay, and what takes it away.

use wire::{node_spec::Availability, node_status::State};

use super::{
    rollouts::{new_image, new_ones, seconds, split, state},
    stage::{Stage, count, image},
    *,
};

#[tokio::test(start_paused = true)]
async fn a_task_on_hold_that_is_deleted_is_never_told_to_start() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=10s").await;
    stage.end(1, TaskState::Failed).await;
    let held = stage.tasks().pop().unwrap();
    let mut watch = stage.store.watch([swarmkit_api::Kind::Task]);
    write(&stage.store, |tx| tx.delete::<Task>(&held.id).map(drop));
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.told(), ["web.1 running"], "another one took its place");
    assert!(stage.tasks().iter().all(|task| task.id != held.id));
    while let Some(Ok(update)) = watch.next().now_or_never() {
        let raised = update.view().get::<Task>(&held.id).is_some_and(|task| task.desired_state > TaskState::Ready);
        assert!(!raised);
    }
}

#[tokio::test(start_paused = true)]
async fn the_minute_for_the_old_task_runs_while_the_delay_does() {
    let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=40s").await;
    stage.stubborn = vec!["image"];
    let node = stage.tasks()[0].node_id.clone().unwrap();
    stage.edit_node(node.as_str(), |node| set_state(node, State::Down)).await;
    stage.pass(Duration::from_secs(1)).await;
    stage.edit_node(node.as_str(), |node| set_state(node, State::Ready)).await;
    stage.pass(Duration::from_millis(58_900)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"], "the old one still runs, on a node that is heard");
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn something_else_than_what_ended_is_not_kept_waiting_for_it() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1h").await;
    stage.cast(|task| (image(task) == "bad").then_some(TaskState::Rejected));
    stage.update("web", set_image("bad")).await;
    stage.pass(Duration::from_secs(1)).await;
    // Also the replacement that is on hold was rejected.
    assert_eq!(count(&stage, "bad", TaskState::Rejected), 2, "{:?}", stage.history());
    stage.update("web", set_image("image")).await;
    assert_eq!(stage.told(), ["web.1 running"]);
    // The same again is kept waiting, whatever version of the service it is made for.
    stage.end(1, TaskState::Failed).await;
    stage.update("web", |spec| spec.update = Some(wire::UpdateConfig::default())).await;
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
}

#[test]
fn what_was_told_to_stop_before_is_not_replaced_again() {
    check("node a; service web replicas=1; task web.1 on a failed wants shutdown; task web.1.b on a", &[]);
    check("node a; service web replicas=1; task web.1 on a running wants shutdown; task web.1.b on a", &[]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_made_again_under_its_id_starts_to_count_afresh() {
    let text = "service web replicas=1 restart=any delay=1s attempts=1";
    let mut stage = Stage::open(&format!("node a; {text}")).await;
    for _ in 0..2 {
        stage.cast(|_| Some(TaskState::Failed));
        stage.pass(Duration::from_secs(30)).await;
        if !stage.told().is_empty() {
            stage.end(1, TaskState::Failed).await;
            stage.pass(Duration::from_secs(30)).await;
        }
        assert_eq!((stage.told().len(), stage.tasks().len()), (0, 2));
        write(&stage.store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
        stage.cast(|_| None);
        stage.settle().await;
        stage.amend(text).await;
        assert_eq!(stage.told(), ["web.1 running"]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_leads_no_more_starts_nothing() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=5s").await;
    stage.end(1, TaskState::Failed).await;
    let (_, store) = stage.close().await;
    let version = store.version();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(store.version(), version);
    assert!(store.view().all::<Task>().any(|task| task.desired_state == TaskState::Ready));
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_came_after_the_end_that_is_judged_does_not_count_in_the_window() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1s attempts=1").await;
    stage
        .update("web", |spec| {
            spec.task.as_mut().unwrap().restart.as_mut().unwrap().window =
                Some(prost_types::Duration { seconds: 20, nanos: 0 });
        })
        .await;
    stage.pass(Duration::from_secs(10)).await;
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(2)).await;
    let task = stage.tasks().into_iter().rfind(|task| crate::slot::is_live(task)).unwrap();
    let long_ago = Some((stage.now() - Duration::from_secs(5)).into());
    edit_task(&stage.store, task.id.as_str(), |task| {
        task.status.state = TaskState::Failed;
        task.status.applied_at = long_ago;
    });
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.told(), ["web.1 running"], "it ended before it was made, by a clock that was behind");
}

#[tokio::test(start_paused = true)]
async fn a_task_of_a_global_service_is_replaced_on_its_node_when_the_delay_is_over() {
    let mut stage = Stage::open("node a; node b; service web global restart=any delay=3s").await;
    let on_b = stage.tasks().into_iter().find(|task| task.node_id == Some("b".into())).unwrap();
    stage.observe(&on_b, TaskState::Failed);
    stage.settle().await;
    assert_eq!(stage.told(), ["web.a running", "web.b ready wants ready"]);
    stage.pass(Duration::from_millis(2_900)).await;
    assert_eq!(stage.told(), ["web.a running", "web.b ready wants ready"]);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.a running", "web.b running"]);
}

// === Rollouts ===

#[tokio::test(start_paused = true)]
async fn forcing_replaces_every_task_and_other_labels_of_the_service_replace_none() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    let ids = |stage: &Stage| -> Vec<_> {
        stage.tasks().iter().filter(|task| crate::slot::is_live(task)).map(|task| task.id.clone()).collect()
    };
    let before = ids(&stage);
    stage
        .update("web", |spec| drop(spec.annotations.as_mut().unwrap().labels.insert("tier".into(), "front".into())))
        .await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!((ids(&stage), stage.status("web")), (before.clone(), None));
    stage.update("web", |spec| spec.task.as_mut().unwrap().force_update += 1).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(state(&stage), Some(wire::update_status::UpdateState::Completed));
    assert!(ids(&stage).iter().all(|id| !before.contains(id)));
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn the_same_specification_again_lets_what_is_under_way_go_on() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.cast(new_ones(TaskState::Preparing));
    stage.update("web", new_image(|_| ())).await;
    let before = stage.history();
    stage.update("web", |_| ()).await;
    assert_eq!(stage.history()[..2], before[..2], "the task that is under way stays");
    stage.cast(|_| None);
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!((split(&stage), state(&stage)), ((3, 0), Some(wire::update_status::UpdateState::Completed)));
}

#[tokio::test(start_paused = true)]
async fn a_global_service_is_updated_node_by_node() {
    let mut stage = Stage::open("node a; node b; node c drain; node d pause; service web global").await;
    stage.most_in_flight = 0;
    stage.update("web", new_image(|config| config.delay = Some(seconds(10)))).await;
    for (seconds, done) in [(1, 1), (10, 2), (40, 2)] {
        stage.pass(Duration::from_secs(seconds)).await;
        assert_eq!((split(&stage).0, stage.most_in_flight), (done, 1));
    }
    assert_eq!(state(&stage), Some(wire::update_status::UpdateState::Completed));
    stage.edit_node("c", |node| set_availability(node, Availability::Active)).await;
    assert_eq!(stage.told(), ["web.a new running", "web.b new running", "web.c new running"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_goes_by_the_settings_of_what_comes_back() {
    let mut stage = Stage::open("node a; service web replicas=4").await;
    let settings = |parallelism, delay| {
        Some(wire::UpdateConfig { parallelism, delay: Some(seconds(delay)), ..Default::default() })
    };
    stage.update("web", |spec| spec.rollback = settings(2, 10)).await;
    stage.cast(|task| (super::stage::image(task) == "new" && task.slot == 4).then_some(TaskState::Failed));
    stage
        .update("web", |spec| {
            new_image(|config| config.set_failure_action(wire::update_config::FailureAction::Rollback))(spec);
            spec.rollback = settings(1, 0);
        })
        .await;
    assert_eq!(split(&stage), (2, 2), "two at a time");
    stage.pass(Duration::from_millis(9_900)).await;
    assert_eq!(split(&stage), (1, 3));
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(split(&stage), (0, 4));
}
