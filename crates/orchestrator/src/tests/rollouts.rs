//! Rollouts: how a changed service comes to its tasks.

use swarmkit_api::wire::{
    UpdateConfig,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

use super::{
    stage::{Stage, count, image},
    *,
};

pub(super) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// An update to another image, under these settings.
pub(super) fn new_image(change: impl FnOnce(&mut UpdateConfig)) -> impl FnOnce(&mut wire::ServiceSpec) {
    let mut config = UpdateConfig { parallelism: 1, ..Default::default() };
    change(&mut config);
    move |spec| {
        set_image("new")(spec);
        spec.update = Some(config);
    }
}

/// Every task of the new image comes to this.
pub(super) fn new_ones(state: TaskState) -> impl Fn(&Task) -> Option<TaskState> {
    move |task| (image(task) == "new").then_some(state)
}

pub(super) fn state(stage: &Stage) -> Option<UpdateState> {
    stage.status("web").map(|(state, _)| state)
}

/// How many slots have a task of the new image, and how many of the old one, among those that are wanted.
pub(super) fn split(stage: &Stage) -> (usize, usize) {
    let live: Vec<_> = stage.tasks().into_iter().filter(|task| crate::slot::is_live(task)).collect();
    let new = live.iter().filter(|task| image(task) == "new").count();
    (new, live.len() - new)
}

#[tokio::test(start_paused = true)]
async fn every_task_is_replaced_one_at_a_time_and_the_status_says_how_far_it_is() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    assert_eq!(stage.status("web"), None);
    stage.most_in_flight = 0;
    stage.update("web", set_image("new")).await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 new running", "web.3 new running"]);
    assert_eq!(stage.most_in_flight, 1);
    assert_eq!(stage.status("web").unwrap(), (UpdateState::Updating, "update in progress".to_owned()));
    let begun = stage.now();
    stage.pass(Duration::from_millis(4_900)).await;
    assert_eq!(state(&stage), Some(UpdateState::Updating), "the last task is still watched");
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.status("web").unwrap(), (UpdateState::Completed, "update completed".to_owned()));
    let view = stage.store.view();
    let status = view.get::<Service>(&"web".into()).unwrap().update_status.clone().unwrap();
    assert_eq!(status.started_at, Some(begun.into()));
    assert_eq!(status.completed_at, Some(stage.now().into()));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_touches_no_task_is_no_update() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    let before = stage.history();
    stage.update("web", |spec| spec.update = Some(UpdateConfig { parallelism: 7, ..Default::default() })).await;
    stage.update("web", set_replicas(3)).await;
    assert_eq!(stage.status("web"), None);
    assert_eq!(stage.history()[..2], before);
    assert_eq!(stage.told().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_slots_than_asked_for_are_worked_on_at_once() {
    for (parallelism, expected) in [(1, 1), (2, 2), (0, 5)] {
        let mut stage = Stage::open("node a; service web replicas=5").await;
        stage.cast(new_ones(TaskState::Preparing));
        stage.most_in_flight = 0;
        stage.update("web", new_image(|config| config.parallelism = parallelism)).await;
        stage.pass(Duration::from_secs(120)).await;
        assert_eq!(split(&stage), (expected, 5 - expected), "parallelism {parallelism}");
        assert_eq!(stage.most_in_flight, expected);
        stage.cast(|_| None);
        stage.settle().await;
        assert_eq!(split(&stage), (5, 0));
        assert_eq!(stage.most_in_flight, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn the_delay_is_kept_after_each_slot_and_counts_at_the_end() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(10)))).await;
    for (at, done) in [(0, 1), (9_900, 1), (100, 2), (9_900, 2), (100, 3)] {
        stage.pass(Duration::from_millis(at)).await;
        assert_eq!(split(&stage), (done, 3 - done), "{:?}", stage.now());
    }
    stage.pass(Duration::from_millis(10_000 + 10_900)).await;
    assert_eq!(
        state(&stage),
        Some(UpdateState::Updating),
        "a delay, and as it is longer than the watch, one more and a second"
    );
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(state(&stage), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn stop_first_starts_the_new_task_when_the_old_one_has_stopped_or_after_a_minute() {
    let mut stage = Stage::open("node a; service web replicas=1").await;
    stage.stubborn = vec!["image"];
    stage.update("web", new_image(|_| ())).await;
    assert_eq!(stage.history(), ["web.1 running wants shutdown", "web.1 new ready wants ready"]);
    stage.pass(Duration::from_millis(59_900)).await;
    assert_eq!(stage.told(), ["web.1 new ready wants ready"]);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 new running"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_because_it_is_replaced_makes_the_new_one_wait_for_no_restart_delay() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1h").await;
    stage.stubborn = vec!["image"];
    stage.update("web", new_image(|_| ())).await;
    stage.pass(Duration::from_secs(3)).await;
    let old = stage.tasks()[0].clone();
    edit_task(&stage.store, old.id.as_str(), |task| task.status.state = TaskState::Failed);
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 new running"]);
}

#[tokio::test(start_paused = true)]
async fn start_first_stops_the_old_task_when_the_new_one_runs() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.cast(new_ones(TaskState::Preparing));
    stage.update("web", new_image(|config| config.set_order(UpdateOrder::StartFirst))).await;
    assert_eq!(stage.told(), ["web.1 running", "web.1 new ready", "web.2 running"]);
    stage.cast(|_| None);
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 new running", "web.2 new running"]);
}

#[tokio::test(start_paused = true)]
async fn start_first_leaves_the_old_task_alone_when_the_new_one_fails() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.cast(new_ones(TaskState::Failed));
    stage.update("web", new_image(|config| config.set_order(UpdateOrder::StartFirst))).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(state(&stage), Some(UpdateState::Paused));
    assert_eq!(count(&stage, "image", TaskState::Running), 2);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_another_change_overtakes_before_it_runs_is_not_waited_for() {
    let mut stage = Stage::open("node a; service web replicas=1").await;
    stage.cast(|_| Some(TaskState::Preparing));
    stage.update("web", new_image(|config| config.set_order(UpdateOrder::StartFirst))).await;
    stage.update("web", set_image("newer")).await;
    assert_eq!(stage.told(), ["web.1 running", "web.1 newer ready"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_pauses_the_update_and_names_the_task() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.cast(new_ones(TaskState::Failed));
    stage.update("web", new_image(|_| ())).await;
    let failed = stage.tasks().into_iter().find(|task| task.status.state == TaskState::Failed).unwrap();
    let message = format!("update paused due to failure or early termination of task {}", failed.id);
    assert_eq!(stage.status("web").unwrap(), (UpdateState::Paused, message.clone()));
    assert_eq!(split(&stage), (1, 2), "one slot was touched");

    stage.cast(|_| None);
    stage.amend("node b").await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.status("web").unwrap(), (UpdateState::Paused, message), "nothing happens while it is paused");
    assert_eq!(split(&stage), (1, 2));

    stage.update("web", |_| ()).await;
    assert_eq!(split(&stage), (3, 0), "another word of the client sets it going again");
}

#[tokio::test(start_paused = true)]
async fn told_to_continue_it_goes_through_whatever_fails() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.cast(new_ones(TaskState::Failed));
    stage.update("web", new_image(|config| config.set_failure_action(FailureAction::Continue))).await;
    stage.pass(Duration::from_secs(3)).await;
    assert_eq!(split(&stage), (3, 0));
    assert_eq!(state(&stage), Some(UpdateState::Completed));
}

/// Four slots, of which so many fail in the new image; a quarter may.
async fn with_failures(slots: u64) -> Option<UpdateState> {
    let mut stage = Stage::open("node a; service web replicas=4").await;
    stage.cast(move |task| (image(task) == "new" && task.slot <= slots).then_some(TaskState::Failed));
    stage.update("web", new_image(|config| config.max_failure_ratio = 0.25)).await;
    stage.pass(Duration::from_secs(30)).await;
    state(&stage)
}

#[tokio::test(start_paused = true)]
async fn as_many_failures_as_are_allowed_are_allowed() {
    assert_eq!(with_failures(0).await, Some(UpdateState::Completed));
    assert_eq!(with_failures(1).await, Some(UpdateState::Completed), "it fails again and again, and counts once");
    assert_eq!(with_failures(2).await, Some(UpdateState::Paused));
}

#[tokio::test(start_paused = true)]
async fn an_early_end_is_a_failure_also_when_it_is_a_good_one() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(20)))).await;
    stage.pass(Duration::from_secs(4)).await;
    stage.end(1, TaskState::Complete).await;
    assert_eq!(state(&stage), Some(UpdateState::Paused));
}

#[tokio::test(start_paused = true)]
async fn a_late_end_is_none() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(20)))).await;
    stage.pass(Duration::from_millis(5_100)).await;
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(90)).await;
    assert_eq!(state(&stage), Some(UpdateState::Completed));
    assert_eq!(split(&stage), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_update_that_fails_is_rolled_back() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    let before = stage.store.view().get::<Service>(&"web".into()).unwrap().clone();
    stage.cast(new_ones(TaskState::Failed));
    let change = new_image(|config| config.set_failure_action(FailureAction::Rollback));
    stage.update("web", change).await;
    stage.pass(Duration::from_secs(1)).await;
    let failed = stage.tasks().into_iter().find(|task| image(task) == "new").unwrap();
    let message = format!("update rolled back due to failure or early termination of task {}", failed.id);
    assert_eq!(stage.status("web").unwrap(), (UpdateState::RollbackStarted, message));
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running", "web.3 running"]);
    assert_eq!(stage.status("web").unwrap(), (UpdateState::RollbackCompleted, "rollback completed".to_owned()));
    let view = stage.store.view();
    let after = view.get::<Service>(&"web".into()).unwrap();
    assert_eq!((&after.spec, after.spec_version), (&before.spec, before.spec_version));
    assert_eq!((&after.previous_spec, after.previous_spec_version), (&None, None));
}

#[tokio::test(start_paused = true)]
async fn a_rollback_has_settings_of_its_own() {
    let mut stage = Stage::open("node a; service web replicas=4").await;
    stage.update("web", |spec| spec.rollback = Some(UpdateConfig { parallelism: 4, ..Default::default() })).await;
    stage.cast(|task| (image(task) == "new" && task.slot == 4).then_some(TaskState::Failed));
    stage.most_in_flight = 0;
    stage.update("web", new_image(|config| config.set_failure_action(FailureAction::Rollback))).await;
    stage.pass(Duration::from_secs(6)).await;
    assert_eq!(stage.most_in_flight, 4);
    assert_eq!(split(&stage), (0, 4));
}

/// A rollback to an image that does not run either.
async fn rollback_fails(action: FailureAction) -> Stage {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage
        .update("web", |spec| {
            let mut config = UpdateConfig { parallelism: 1, ..Default::default() };
            config.set_failure_action(action);
            spec.rollback = Some(config);
        })
        .await;
    stage.update("web", new_image(|config| config.set_failure_action(FailureAction::Rollback))).await;
    stage.cast(|_| Some(TaskState::Failed));
    stage.end(2, TaskState::Failed).await;
    stage.pass(Duration::from_secs(30)).await;
    stage
}

#[tokio::test(start_paused = true)]
async fn a_rollback_that_fails_is_paused_and_stays_so() {
    let stage = rollback_fails(FailureAction::Pause).await;
    let (state, message) = stage.status("web").unwrap();
    assert_eq!(state, UpdateState::RollbackPaused);
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    let stage = rollback_fails(FailureAction::Rollback).await;
    let (state, message) = stage.status("web").unwrap();
    assert_eq!(state, UpdateState::RollbackPaused, "it is never rolled back");
    assert!(message.starts_with("rollback paused due to failure or early termination of task "), "{message}");
    let stage = rollback_fails(FailureAction::Continue).await;
    assert_eq!(stage.status("web").unwrap().0, UpdateState::RollbackCompleted);
}

#[tokio::test(start_paused = true)]
async fn without_anything_to_roll_back_to_the_update_stops_where_it_is() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.cast(new_ones(TaskState::Failed));
    update(&stage.store, "web", new_image(|config| config.set_failure_action(FailureAction::Rollback)));
    write(&stage.store, |tx| tx.edit(&"web".into(), |service: &mut Service| service.previous_spec = None).map(drop));
    stage.settle().await;
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(state(&stage), Some(UpdateState::Updating));
    assert_eq!(split(&stage), (1, 2));
    let before = stage.store.version();
    stage.cast(new_ones(TaskState::Preparing));
    stage.pass(Duration::from_secs(30)).await;
    let before = (before, stage.store.version());
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.store.version(), before.1, "and it does not turn in circles");
}

#[tokio::test(start_paused = true)]
async fn a_rollback_asked_for_goes_back_and_one_more_goes_forth() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage.update("web", set_image("new")).await;
    stage.pass(Duration::from_secs(6)).await;
    for expected in [(0, 2), (2, 0)] {
        write(&stage.store, |tx| {
            let now = tx.now();
            tx.edit(&"web".into(), |service: &mut Service| {
                let previous = service.previous_spec.take().unwrap();
                service.previous_spec = Some(std::mem::replace(&mut service.spec, previous));
                std::mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
                service.update_status = Some(wire::UpdateStatus {
                    state: UpdateState::RollbackStarted.into(),
                    message: "manually requested rollback".into(),
                    started_at: Some(now),
                    ..Default::default()
                });
            })
            .map(drop)
        });
        stage.settle().await;
        assert_eq!(split(&stage), expected);
        stage.pass(Duration::from_secs(6)).await;
        assert_eq!(state(&stage), Some(UpdateState::RollbackCompleted));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_with_nothing_to_do_is_complete_at_once() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    write(&stage.store, |tx| {
        let now = tx.now();
        tx.edit(&"web".into(), |service: &mut Service| {
            let state = UpdateState::RollbackStarted.into();
            service.update_status = Some(wire::UpdateStatus { state, started_at: Some(now), ..Default::default() });
        })
        .map(drop)
    });
    stage.settle().await;
    assert_eq!(state(&stage), Some(UpdateState::RollbackCompleted));
}

#[tokio::test(start_paused = true)]
async fn another_change_under_way_is_where_the_rollout_goes_from_there() {
    let mut stage = Stage::open("node a; service web replicas=4").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(60)))).await;
    stage.pass(Duration::from_secs(61)).await;
    assert_eq!(split(&stage), (2, 2));
    stage.update("web", set_image("newer")).await;
    let told = ["web.1 newer running", "web.2 newer running", "web.3 newer running", "web.4 newer running"];
    stage.pass(Duration::from_secs(400)).await;
    assert_eq!(stage.told(), told);
    assert_eq!(state(&stage), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn scaling_under_way_leaves_alone_what_is_updated_already() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(30)))).await;
    let updated = stage.tasks().into_iter().find(|task| image(task) == "new").unwrap();
    stage.update("web", set_replicas(4)).await;
    stage.pass(Duration::from_secs(150)).await;
    assert_eq!(split(&stage), (4, 0));
    assert!(stage.tasks().iter().any(|task| task.id == updated.id && crate::slot::is_live(task)));
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_finishes_a_slot_that_the_old_one_began() {
    for stubborn in [false, true] {
        let mut stage = Stage::open("node a; service web replicas=2").await;
        stage.stubborn = vec!["image"];
        stage.update("web", new_image(|_| ())).await;
        let made = stage.tasks().len();
        let (env, store) = stage.close().await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let mut stage = Stage::on(env, store).await;
        assert_eq!(stage.told()[0], "web.1 new running", "stopped meanwhile: {}", !stubborn);
        assert_eq!(stage.tasks().len(), made + 1, "no third task is made in the slot");
        stage.pass(Duration::from_secs(10)).await;
        assert_eq!((split(&stage), state(&stage)), ((2, 0), Some(UpdateState::Completed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_goes_on_with_the_delay_and_the_count_of_failures() {
    let mut stage = Stage::open("node a; service web replicas=4").await;
    stage.cast(|task| (image(task) == "new" && task.slot < 3).then_some(TaskState::Failed));
    stage
        .update(
            "web",
            new_image(|config| {
                config.delay = Some(seconds(30));
                config.max_failure_ratio = 0.25;
            }),
        )
        .await;
    stage.pass(Duration::from_secs(20)).await;
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    assert_eq!(split(&stage), (1, 3));
    stage.pass(Duration::from_millis(9_900)).await;
    assert_eq!(split(&stage), (1, 3), "the delay is not over");
    stage.cast(|task| (image(task) == "new" && task.slot < 3).then_some(TaskState::Failed));
    stage.pass(Duration::from_millis(200)).await;
    assert_eq!(split(&stage), (2, 2));
    assert_eq!(state(&stage), Some(UpdateState::Paused), "two of four, one of which the old leader saw");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_deleted_under_way_makes_no_more_tasks() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.update("web", new_image(|config| config.delay = Some(seconds(10)))).await;
    let made = stage.tasks().len();
    write(&stage.store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
    stage.settle().await;
    assert_eq!((made, stage.tasks().len()), (4, 0));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn other_constraints_move_only_tasks_on_nodes_that_do_not_satisfy_them() {
    let mut stage = Stage::open("node a label:disk=ssd; node b; service web replicas=2").await;
    let on = |stage: &Stage, node: &str| {
        stage.tasks().into_iter().find(|task| crate::slot::is_live(task) && task.node_id == Some(node.into())).unwrap()
    };
    let (stays, goes) = (on(&stage, "a"), on(&stage, "b"));
    stage
        .update("web", |spec| {
            let placement = spec.task.as_mut().unwrap().placement.get_or_insert_default();
            placement.constraints.push("node.labels.disk == ssd".into());
        })
        .await;
    let live =
        |id: &swarmkit_api::TaskId| stage.tasks().iter().any(|task| task.id == *id && crate::slot::is_live(task));
    assert!(live(&stays.id) && !live(&goes.id));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_for_good_is_replaced_by_an_update() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=none").await;
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), [""; 0]);
    stage.update("web", set_image("new")).await;
    assert_eq!(stage.told(), ["web.1 new running"]);
}

#[tokio::test(start_paused = true)]
async fn of_two_tasks_in_a_slot_that_are_as_they_shall_be_one_stays() {
    let mut stage = Stage::open("node a; service web replicas=1; task web.1 on a; task web.1.b on a").await;
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 running"]);
}
