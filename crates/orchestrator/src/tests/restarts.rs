//! When a task is replaced, and when what replaces it starts.

use std::time::SystemTime;

use super::{
    stage::{Stage, keep_history},
    *,
};

#[test]
fn a_task_that_has_failed_is_replaced_by_one_on_hold() {
    check("node a; service web replicas=1; task web.1 on a failed", &["stop web.1; make web.1 on hold"]);
}

#[test]
fn the_condition_decides_which_ends_are_replaced() {
    let replaced = "stop web.1; make web.1 on hold";
    for (condition, state, expected) in [
        ("any", "failed", replaced),
        ("any", "complete", replaced),
        ("any", "shutdown", replaced),
        ("on-failure", "failed", replaced),
        ("on-failure", "complete", "stop web.1"),
        ("on-failure", "rejected", replaced),
        ("on-failure", "orphaned", replaced),
        ("none", "failed", "stop web.1"),
        ("none", "complete", "stop web.1"),
    ] {
        check(&format!("node a; service web replicas=1 restart={condition}; task web.1 on a {state}"), &[expected]);
    }
}

#[test]
fn a_slot_whose_task_ended_for_good_stays_taken() {
    check("node a; service web replicas=1 restart=none; task web.1 on a failed wants shutdown", &[]);
    check("node a; service web replicas=1 restart=on-failure; task web.1 on a complete wants shutdown", &[]);
}

#[test]
fn tasks_on_nodes_that_are_down_drained_or_gone_are_replaced_and_on_paused_ones_they_stay() {
    for (node, expected) in [
        ("node a down", &["stop web.1; make web.1 on hold"][..]),
        ("node a drain", &["stop web.1; make web.1 on hold"]),
        ("node b", &["stop web.1; make web.1 on hold"]),
        ("node a pause", &[]),
        ("node a unknown", &[]),
        ("node a disconnected", &[]),
    ] {
        check(&format!("{node}; service web replicas=1; task web.1 on a"), expected);
    }
    check("node a down; service web replicas=1; task web.1 pending", &[]);
}

#[test]
fn the_second_replacement_waits_for_nothing_that_the_first_has_settled() {
    check(
        "node a; service web replicas=1; task web.1 on a failed wants shutdown; task web.1.b on a failed",
        &["stop web.1.b; make web.1 on hold"],
    );
}

#[test]
fn a_task_that_ended_beside_one_that_is_well_is_not_replaced() {
    check("node a; service web replicas=1; task web.1 on a failed; task web.1.b on a", &["stop web.1"]);
}

/// How often a slot is tried whose tasks fail at once, under a restart policy, within that time.
async fn attempts(policy: &str, within: Duration) -> usize {
    let text = format!("cluster; node a; service web replicas=1 {policy}");
    let mut stage = Stage::open_with(&text, |_| Some(TaskState::Failed)).await;
    keep_history(&stage.store, -1);
    stage.pass(within).await;
    stage.tasks().len()
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_slot_is_given_up() {
    let minute = Duration::from_secs(60);
    assert_eq!(attempts("restart=any delay=1s attempts=1", minute).await, 2);
    assert_eq!(attempts("restart=any delay=1s attempts=3", minute).await, 4);
    assert_eq!(attempts("restart=none", minute).await, 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_it_is_tried_once_every_delay() {
    assert_eq!(attempts("restart=any delay=10s", Duration::from_secs(45)).await, 5 + 1, "the sixth is on hold");
    assert_eq!(attempts("", Duration::from_secs(14)).await, 3 + 1, "every 5 s unless something is said");
}

#[tokio::test(start_paused = true)]
async fn attempts_from_before_the_window_do_not_count() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1s attempts=1").await;
    stage
        .update("web", |spec| {
            let restart = spec.task.as_mut().unwrap().restart.as_mut().unwrap();
            restart.window = Some(prost_types::Duration { seconds: 20, nanos: 0 });
        })
        .await;
    stage.pass(Duration::from_secs(10)).await;
    let runs = |stage: &Stage| stage.told() == ["web.1 running"];
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(30)).await;
    assert!(runs(&stage), "the first restart");
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(5)).await;
    assert!(runs(&stage), "the first one is 30 s ago");
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), [""; 0], "the second one is not");
}

#[tokio::test(start_paused = true)]
async fn slots_are_counted_one_by_one() {
    let text = "node a; service web replicas=2 restart=any delay=1s attempts=1";
    let mut stage = Stage::open_with(text, |task| (task.slot == 1).then_some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.2 running"], "the first slot is given up");
    stage.end(2, TaskState::Failed).await;
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.told(), ["web.2 running"], "the second one is not");
}

#[tokio::test(start_paused = true)]
async fn a_replacement_starts_when_its_delay_is_over_and_not_before() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=7s").await;
    stage.end(1, TaskState::Failed).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(6_900)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_cannot_even_be_prepared_is_replaced_once_every_delay() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=5s").await;
    stage.cast(|_| Some(TaskState::Rejected));
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_millis(4_900)).await;
    assert_eq!(stage.told(), ["web.1 rejected wants ready"]);
    assert_eq!(stage.tasks().len(), 2);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.tasks().len(), 3);
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.tasks().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_waits_for_a_task_that_is_still_stopping_but_a_minute_at_most() {
    let mut stage = Stage::open("node a; node b; service web replicas=1").await;
    stage.stubborn = vec!["image"];
    let node = stage.tasks()[0].node_id.clone().unwrap();
    stage.edit_node(node.as_str(), |node| set_availability(node, wire::node_spec::Availability::Drain)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(59_900)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_drained_node_gives_up_its_tasks_without_a_delay() {
    let mut stage = Stage::open("node a; node b; service web replicas=2 restart=any delay=1h").await;
    stage.edit_node("a", |node| set_availability(node, wire::node_spec::Availability::Drain)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
    assert!(
        stage.tasks().iter().filter(|task| crate::slot::is_live(task)).all(|task| task.node_id == Some("b".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn the_wait_ends_when_the_node_of_the_old_task_is_lost() {
    for gone in [false, true] {
        let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=1s").await;
        stage.stubborn = vec!["image"];
        let node = stage.tasks()[0].node_id.clone().unwrap();
        stage.edit_node(node.as_str(), |node| set_availability(node, wire::node_spec::Availability::Drain)).await;
        stage.pass(Duration::from_secs(10)).await;
        assert_eq!(stage.told(), ["web.1 ready wants ready"]);
        if gone {
            write(&stage.store, |tx| tx.delete::<Node>(&node).map(drop));
            stage.settle().await;
        } else {
            stage.edit_node(node.as_str(), |node| set_state(node, wire::node_status::State::Down)).await;
        }
        assert_eq!(stage.told(), ["web.1 running"], "node gone: {gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_lost_node_are_replaced_without_waiting_for_them_to_stop() {
    let mut stage = Stage::open("node a; node b; service web replicas=2 restart=any delay=2s").await;
    stage.edit_node("a", |node| set_state(node, wire::node_status::State::Down)).await;
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
    let stays = stage
        .tasks()
        .iter()
        .filter(|task| task.node_id == Some("a".into()))
        .all(|task| task.status.state == TaskState::Running && task.desired_state == TaskState::Shutdown);
    assert!(stays, "what is on the lost node is told to stop when it comes back");
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_waits_for_what_is_left_of_a_delay() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=10s").await;
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(6)).await;
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.pass(Duration::from_millis(3_900)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(100)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_starts_what_is_overdue_and_replaces_what_failed_meanwhile() {
    let mut stage = Stage::open("node a; service web replicas=2 restart=any delay=10s").await;
    stage.end(1, TaskState::Failed).await;
    let (env, store) = stage.close().await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let runs = store.view().all::<Task>().find(|task| task.slot == 2).cloned().unwrap();
    edit_task(&store, runs.id.as_str(), |task| task.status.state = TaskState::Failed);
    let mut stage = Stage::on(env, store).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 ready wants ready"]);
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_leader_counts_the_attempts_of_the_old_one() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1s attempts=3").await;
    stage.cast(|_| Some(TaskState::Failed));
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_millis(1_500)).await;
    assert_eq!(stage.tasks().len(), 3);
    let (env, store) = stage.close().await;
    let mut stage = Stage::on(env, store).await;
    stage.cast(|_| Some(TaskState::Failed));
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_ahead_makes_nobody_wait_longer_than_the_delay() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=5s").await;
    stage.end(1, TaskState::Failed).await;
    let (_, store) = stage.close().await;
    // The next leader's clock is an hour behind.
    struct Behind(swarmkit_runtime::Env);
    impl swarmkit_runtime::Clock for Behind {
        fn now(&self) -> SystemTime {
            self.0.now() - Duration::from_secs(3600)
        }
    }
    let behind = swarmkit_runtime::Env::seeded(3, Behind(env()));
    let mut stage = Stage::on(behind, store).await;
    stage.pass(Duration::from_millis(4_900)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.pass(Duration::from_millis(200)).await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn changing_nothing_that_matters_restarts_nothing() {
    let mut stage =
        Stage::open("node a; service web replicas=2 restart=on-failure; service once replicas=1 restart=none").await;
    stage.end(1, TaskState::Complete).await;
    let once = stage.tasks().into_iter().find(|task| task.service_id == Some("once".into())).unwrap();
    if once.status.state == TaskState::Running {
        edit_task(&stage.store, once.id.as_str(), |task| task.status.state = TaskState::Failed);
        stage.settle().await;
    }
    let before = stage.history();
    for service in ["web", "once"] {
        stage.update(service, |_| {}).await;
    }
    stage.pass(Duration::from_secs(30)).await;
    assert_eq!(stage.history(), before);
}
