//! Rollouts with a deadline for each task, and with a limit to how many slots may be without one that runs.

use swarmkit_api::wire::{
    UpdateConfig,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

use super::{
    rollouts::{new_image, new_ones, seconds, split, state},
    stage::{Stage, image},
    *,
};

const STANDS_STILL: &str = "; it stands still: as many slots as may be are without a task that runs";

fn message(stage: &Stage) -> String {
    stage.status("web").unwrap().1
}

/// An update whose new tasks never run, with a deadline of half a minute.
async fn stuck(replicas: u64, change: impl FnOnce(&mut UpdateConfig)) -> Stage {
    let mut stage = Stage::open(&format!("node a; service web replicas={replicas}")).await;
    stage.cast(new_ones(TaskState::Preparing));
    let update = new_image(|config| {
        config.progress_deadline = Some(seconds(30));
        change(config);
    });
    stage.update("web", update).await;
    stage
}

fn newest(stage: &Stage) -> Arc<Task> {
    let new = stage.tasks().into_iter().filter(|task| image(task) == "new");
    new.max_by_key(|task| task.meta.created_version).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_run_in_time_has_failed_and_the_message_says_so_whoever_leads() {
    for new_leader in [false, true] {
        let mut stage = stuck(3, |_| ()).await;
        stage.pass(Duration::from_secs(20)).await;
        if new_leader {
            let (env, store) = stage.close().await;
            stage = Stage::on_with(env, store, new_ones(TaskState::Preparing)).await;
        }
        stage.pass(Duration::from_millis(9_900)).await;
        assert_eq!(stage.status("web").unwrap(), (UpdateState::Updating, "update in progress".to_owned()));
        stage.pass(Duration::from_millis(100)).await;
        let late = newest(&stage);
        let message =
            format!("update paused due to failure or early termination of task {}: it did not run within 30s", late.id);
        assert_eq!(stage.status("web").unwrap(), (UpdateState::Paused, message));
        assert_eq!(split(&stage), (1, 2));
        assert!(crate::slot::is_live(&late), "it may still come up");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_rollout_waits_for_a_task_that_does_not_run() {
    let mut stage = stuck(2, |config| config.progress_deadline = Some(seconds(0))).await;
    stage.pass(Duration::from_secs(3600)).await;
    assert_eq!((state(&stage), split(&stage)), (Some(UpdateState::Updating), (1, 1)));
    stage.cast(|_| None);
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!((state(&stage), split(&stage)), (Some(UpdateState::Completed), (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn told_to_continue_it_goes_on_to_the_next_slot_when_the_time_is_over() {
    let mut stage = stuck(3, |config| {
        config.set_failure_action(FailureAction::Continue);
        config.delay = Some(seconds(10));
    })
    .await;
    for (at, done) in [(39_900, 1), (100, 2), (39_900, 2), (100, 3)] {
        stage.pass(Duration::from_millis(at)).await;
        assert_eq!(split(&stage), (done, 3 - done));
    }
    assert_eq!(state(&stage), Some(UpdateState::Updating));
    stage.pass(Duration::from_secs(41)).await;
    assert_eq!(state(&stage), Some(UpdateState::Completed));
}

#[tokio::test(start_paused = true)]
async fn who_runs_too_late_has_failed_as_much_as_may_fail_and_no_more() {
    let mut stage = stuck(4, |config| config.max_failure_ratio = 0.25).await;
    stage.pass(Duration::from_secs(31)).await;
    assert_eq!(split(&stage), (2, 2), "one of four may, and the next slot is begun");
    stage.cast(|_| None);
    stage.pass(Duration::from_secs(1)).await;
    assert_eq!(split(&stage), (4, 0));
    let first = stage.tasks().into_iter().find(|task| image(task) == "new" && task.slot == 1).unwrap();
    assert_eq!(first.status.state, TaskState::Running);
    stage.end(3, TaskState::Failed).await;
    assert_eq!(state(&stage), Some(UpdateState::Paused), "the one that came late counts, though it runs by now");
    assert!(!message(&stage).contains("within"), "the last one did not: {}", message(&stage));
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_stuck_is_rolled_back_and_a_rollback_that_is_stuck_is_paused() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    stage
        .update("web", |spec| {
            let config = UpdateConfig { parallelism: 1, progress_deadline: Some(seconds(20)), ..Default::default() };
            spec.rollback = Some(config);
        })
        .await;
    stage.cast(new_ones(TaskState::Preparing));
    let update = new_image(|config| {
        config.progress_deadline = Some(seconds(30));
        config.set_failure_action(FailureAction::Rollback);
    });
    stage.update("web", update).await;
    stage.cast(|_| Some(TaskState::Preparing));
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(state(&stage), Some(UpdateState::RollbackStarted));
    assert!(message(&stage).starts_with("update rolled back due to"), "{}", message(&stage));
    assert!(message(&stage).ends_with(": it did not run within 30s"), "{}", message(&stage));
    stage.pass(Duration::from_millis(19_900)).await;
    assert_eq!(state(&stage), Some(UpdateState::RollbackStarted));
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(state(&stage), Some(UpdateState::RollbackPaused));
    assert!(message(&stage).ends_with(": it did not run within 20s"), "{}", message(&stage));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_loses_its_node_before_it_runs_is_replaced_within_the_same_turn_whoever_leads() {
    for new_leader in [false, true] {
        let mut stage = Stage::open("node a; node b; node c; service web replicas=3").await;
        stage.cast(new_ones(TaskState::Preparing));
        stage.update("web", new_image(|config| config.progress_deadline = Some(seconds(30)))).await;
        stage.pass(Duration::from_secs(5)).await;
        let lost = newest(&stage).node_id.clone().unwrap();
        stage.edit_node(lost.as_str(), |node| set_state(node, wire::node_status::State::Down)).await;
        if new_leader {
            let (env, store) = stage.close().await;
            stage = Stage::on_with(env, store, new_ones(TaskState::Preparing)).await;
        }
        stage.pass(Duration::from_secs(28)).await;
        let new = stage.tasks().iter().filter(|task| image(task) == "new" && crate::slot::is_live(task)).count();
        assert_eq!((new, state(&stage)), (1, Some(UpdateState::Updating)), "the turn is not over, nor the time");
        stage.cast(|_| None);
        stage.pass(Duration::from_secs(10)).await;
        assert_eq!((split(&stage), state(&stage)), ((3, 0), Some(UpdateState::Completed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_knows_how_long_a_task_ran_that_it_never_saw_running() {
    for (ran, expected) in [(4, UpdateState::Paused), (6, UpdateState::Completed)] {
        let mut stage = Stage::open("node a; service web replicas=1").await;
        stage.cast(new_ones(TaskState::Preparing));
        stage.update("web", new_image(|_| ())).await;
        stage.pass(Duration::from_secs(60)).await;
        stage.cast(|_| None);
        stage.settle().await;
        let task = newest(&stage);
        let (env, store) = stage.close().await;
        tokio::time::sleep(Duration::from_secs(ran)).await;
        let at = Some(env.now().into());
        edit_task(&store, task.id.as_str(), |task| {
            task.status.state = TaskState::Failed;
            task.status.applied_at = at;
        });
        let mut stage = Stage::on(env, store).await;
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(state(&stage), Some(expected), "after {ran} s");
    }
}

// === How many slots may be without a task that runs ===

#[tokio::test(start_paused = true)]
async fn no_more_slots_are_begun_than_may_be_without_a_task() {
    for (limit, expected) in [(1, 1), (2, 2), (0, 5)] {
        let mut stage = Stage::open("node a; service web replicas=5").await;
        stage.cast(new_ones(TaskState::Preparing));
        stage.most_in_flight = 0;
        let update = new_image(|config| {
            config.parallelism = 0;
            config.max_unavailable = limit;
        });
        stage.update("web", update).await;
        stage.pass(Duration::from_secs(120)).await;
        assert_eq!(split(&stage), (expected, 5 - expected), "limit {limit}");
        assert_eq!(message(&stage), "update in progress", "it waits for tasks of its own");
        stage.cast(|_| None);
        stage.pass(Duration::from_secs(6)).await;
        assert_eq!((split(&stage), stage.most_in_flight), ((5, 0), expected));
        assert_eq!(state(&stage), Some(UpdateState::Completed));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_down_for_other_reasons_counts_and_is_replaced_first() {
    let mut stage = Stage::open("node a; service web replicas=4 restart=any delay=1h").await;
    stage.end(3, TaskState::Failed).await;
    stage.cast(new_ones(TaskState::Preparing));
    let update = |limit| {
        new_image(move |config| {
            config.parallelism = 0;
            config.max_unavailable = limit;
        })
    };
    stage.update("web", update(1)).await;
    let begun = |stage: &Stage| -> Vec<u64> {
        let tasks = stage.tasks();
        tasks.iter().filter(|task| image(task) == "new" && crate::slot::is_live(task)).map(|task| task.slot).collect()
    };
    assert_eq!(begun(&stage), [3], "where nothing runs anyway nothing is lost");
    stage.update("web", update(2)).await;
    assert_eq!(begun(&stage), [1, 3], "one more may be without");
}

#[tokio::test(start_paused = true)]
async fn it_says_why_it_stands_still_and_goes_on_when_it_may_whoever_leads() {
    for new_leader in [false, true] {
        let mut stage = Stage::open("node a; node b; service web replicas=3 restart=any delay=20s").await;
        let policy = stage.tasks()[0].spec.restart;
        let update = |spec: &mut wire::ServiceSpec| {
            new_image(|config| config.max_unavailable = 1)(spec);
            spec.task.as_mut().unwrap().restart = policy;
        };
        stage.cast(|task| (image(task) == "new" && task.slot == 1).then_some(TaskState::Preparing));
        stage.update("web", update).await;
        stage.cast(|_| None);
        // The first new task runs, and ends when it is no longer watched for that.
        stage.settle().await;
        stage.update("web", |spec| spec.update.as_mut().unwrap().delay = Some(seconds(60))).await;
        stage.pass(Duration::from_secs(1)).await;
        stage
            .update("web", |spec| {
                set_image("newer")(spec);
                spec.task.as_mut().unwrap().restart = policy;
                spec.update.as_mut().unwrap().delay = Some(seconds(10));
            })
            .await;
        assert_eq!(message(&stage), "update in progress");
        stage.pass(Duration::from_secs(8)).await;
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
        assert_eq!(message(&stage), format!("update in progress{STANDS_STILL}"));
        let newer = |stage: &Stage| stage.tasks().iter().filter(|task| image(task) == "newer").count();
        assert_eq!(newer(&stage), 2, "the first and what replaces it");
        let version = stage.store.version();
        if new_leader {
            let (env, store) = stage.close().await;
            stage = Stage::on(env, store).await;
        }
        stage.pass(Duration::from_secs(17)).await;
        assert_eq!(stage.store.version(), version, "it is said once");
        stage.pass(Duration::from_secs(1)).await;
        assert_eq!(message(&stage), "update in progress");
        assert_eq!(newer(&stage), 3, "the next slot is begun");
        stage.pass(Duration::from_secs(60)).await;
        assert_eq!(stage.status("web").unwrap(), (UpdateState::Completed, "update completed".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollback_has_a_limit_of_its_own_and_keeps_its_message_when_it_stands_still() {
    let mut stage = Stage::open("node a; service web replicas=3 restart=any delay=20s").await;
    stage
        .update("web", |spec| {
            spec.rollback = Some(UpdateConfig { parallelism: 0, max_unavailable: 1, ..Default::default() });
        })
        .await;
    stage.cast(|task| match (image(task), task.slot) {
        ("new", 2) => Some(TaskState::Failed),
        ("new", _) => None,
        _ => Some(TaskState::Preparing),
    });
    stage.update("web", new_image(|config| config.set_failure_action(FailureAction::Rollback))).await;
    let message = message(&stage);
    assert!(message.starts_with("update rolled back due to failure or early termination of task "), "{message}");
    assert_eq!(split(&stage), (1, 2), "the one that failed is replaced first, and no other beside it: {message}");
    stage.cast(|_| None);
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!((split(&stage), state(&stage)), ((0, 3), Some(UpdateState::RollbackCompleted)));
}

#[tokio::test(start_paused = true)]
async fn started_first_a_slot_that_runs_is_never_without_a_task_and_costs_nothing() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.cast(new_ones(TaskState::Preparing));
    let update = new_image(|config| {
        config.parallelism = 0;
        config.max_unavailable = 1;
        config.set_order(UpdateOrder::StartFirst);
    });
    stage.update("web", update).await;
    assert_eq!(split(&stage), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn of_a_global_service_so_many_nodes_may_be_without_a_task() {
    let mut stage = Stage::open("node a; node b; node c; service web global").await;
    stage.cast(new_ones(TaskState::Preparing));
    let update = new_image(|config| {
        config.parallelism = 0;
        config.max_unavailable = 2;
    });
    stage.update("web", update).await;
    assert_eq!(split(&stage), (2, 1));
    stage.cast(|_| None);
    stage.settle().await;
    assert_eq!(split(&stage), (3, 0));
}
