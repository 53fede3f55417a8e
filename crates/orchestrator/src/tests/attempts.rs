//! What uses up attempts, and how delays grow.

use wire::{node_spec::Availability, node_status::State};

use super::{
    stage::{Stage, keep_history},
    *,
};

async fn another_leader(stage: Stage) -> Stage {
    let (env, store) = stage.close().await;
    Stage::on(env, store).await
}

/// What takes a node away from its tasks.
#[derive(Clone, Copy, Debug)]
enum Way {
    Down,
    Drain,
    Removal,
}

/// The node of the task of `web` is taken away, and comes back when the task is replaced and another second has passed.
async fn lose_node(stage: &mut Stage, way: Way) {
    let live = stage.tasks().into_iter().rfind(|task| crate::slot::is_live(task)).unwrap();
    let node = live.node_id.clone().unwrap();
    match way {
        Way::Down => stage.edit_node(node.as_str(), |node| set_state(node, State::Down)).await,
        Way::Drain => stage.edit_node(node.as_str(), |node| set_availability(node, Availability::Drain)).await,
        Way::Removal => {
            write(&stage.store, |tx| {
                tx.edit::<Task>(&live.id, |task| task.status.state = TaskState::Orphaned)?;
                tx.delete::<Node>(&node).map(drop)
            });
            stage.settle().await;
        }
    }
    stage.pass(Duration::from_secs(1)).await;
    match way {
        Way::Down => stage.edit_node(node.as_str(), |node| set_state(node, State::Ready)).await,
        Way::Drain => stage.edit_node(node.as_str(), |node| set_availability(node, Availability::Active)).await,
        Way::Removal => stage.amend(&format!("node {node}")).await,
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_lost_drained_or_removed_use_up_no_attempts_whoever_leads() {
    for way in [Way::Down, Way::Drain, Way::Removal] {
        for new_leaders in [false, true] {
            let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=1s attempts=2").await;
            for end in 0..3 {
                for _ in 0..4 {
                    lose_node(&mut stage, way).await;
                    if new_leaders {
                        stage = another_leader(stage).await;
                    }
                    assert_eq!(stage.told(), ["web.1 running"], "{way:?}, after {end} ends");
                }
                stage.end(1, TaskState::Failed).await;
                stage.pass(Duration::from_secs(1)).await;
            }
            assert_eq!(stage.told(), [""; 0], "{way:?}: the third end is the last");
            stage.pass(Duration::from_secs(60)).await;
            let failed = stage.tasks().iter().filter(|task| task.status.state == TaskState::Failed).count();
            assert_eq!((stage.told().len(), failed), (0, 3), "{way:?}: and those that tell of it are kept");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_used_up_its_attempts_comes_back_when_its_node_is_lost() {
    let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=1s attempts=1").await;
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(1)).await;
    lose_node(&mut stage, Way::Down).await;
    assert_eq!(stage.told(), ["web.1 running"], "it has not failed");
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_ends_while_it_is_being_stopped_was_no_attempt() {
    let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=1s attempts=1").await;
    stage.stubborn = vec!["image"];
    for _ in 0..3 {
        let old = stage.tasks().into_iter().rfind(|task| crate::slot::is_live(task)).unwrap();
        let node = old.node_id.clone().unwrap();
        stage.edit_node(node.as_str(), |node| set_availability(node, Availability::Drain)).await;
        stage.observe(&old, TaskState::Failed);
        stage.settle().await;
        stage.edit_node(node.as_str(), |node| set_availability(node, Availability::Active)).await;
        stage.pass(Duration::from_secs(2)).await;
        assert_eq!(stage.told(), ["web.1 running"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_turned_away_has_used_up_an_attempt() {
    let text = "node a; service web replicas=1 restart=any delay=1s attempts=2";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Rejected)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!((stage.told().len(), stage.tasks().len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_loses_its_node_on_hold_hands_its_wait_on_and_is_no_attempt() {
    for new_leader in [false, true] {
        let text = "node a; node b; service web replicas=1 restart=any delay=60s attempts=1";
        let mut stage = Stage::open(text).await;
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(20)).await;
        for _ in 0..3 {
            lose_node(&mut stage, Way::Drain).await;
        }
        if new_leader {
            stage = another_leader(stage).await;
        }
        stage.pass(Duration::from_millis(36_900)).await;
        assert_eq!(stage.told(), ["web.1 ready wants ready"]);
        stage.pass(Duration::from_millis(100)).await;
        assert_eq!(stage.told(), ["web.1 running"], "a minute after the end");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replacement_whose_node_comes_and_goes_is_made_anew_once_a_delay_at_most() {
    let mut stage = Stage::open("node a; node b; service web replicas=1 restart=any delay=10s attempts=1").await;
    for _ in 0..30 {
        lose_node(&mut stage, Way::Down).await;
    }
    assert!(stage.tasks().iter().all(|task| task.status.state <= TaskState::Shutdown));
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.1 running"], "none of that was an attempt");
    assert!(stage.tasks().len() <= 5, "and it leaves no more behind than is kept: {:?}", stage.history());
}

// === Delays that grow ===

/// After how many whole seconds each next task is told to start, while they all fail at once; a new leader comes after
/// each if asked for.
async fn delays(policy: &str, times: usize, new_leaders: bool) -> Vec<u64> {
    let text = format!("cluster; node a; service web replicas=1 {policy}");
    let mut stage = Stage::open_with(&text, |_| Some(TaskState::Failed)).await;
    keep_history(&stage.store, 0);
    let mut delays = Vec::new();
    while delays.len() < times {
        let held = stage.tasks().pop().unwrap();
        let began = stage.now();
        while stage.tasks().iter().any(|task| task.id == held.id && task.desired_state == TaskState::Ready) {
            stage.pass(Duration::from_secs(1)).await;
        }
        delays.push(stage.now().duration_since(began).unwrap().as_secs());
        if new_leaders {
            stage = another_leader(stage).await;
            stage.cast(|_| Some(TaskState::Failed));
        }
    }
    assert!(stage.tasks().len() <= 8, "what is kept to count is bounded: {:?}", stage.history());
    delays
}

#[tokio::test(start_paused = true)]
async fn with_a_longest_delay_it_doubles_with_each_end_in_a_row_up_to_that_whoever_leads() {
    for new_leaders in [false, true] {
        let policy = "restart=any delay=1s max-delay=20s";
        assert_eq!(delays(policy, 9, new_leaders).await, [1, 2, 4, 8, 16, 20, 20, 20, 20], "{new_leaders}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_longer_one_the_delay_is_always_the_same() {
    assert_eq!(delays("restart=any delay=3s", 3, false).await, [3, 3, 3]);
    assert_eq!(delays("restart=any delay=3s max-delay=2s", 3, false).await, [3, 3, 3]);
    assert_eq!(delays("restart=any max-delay=12s", 3, false).await, [5, 10, 12], "5 s is where it begins");
}

/// The seconds from an end of the task of `web`, which has run for so long, to the start of the next.
async fn delay_after(stage: &mut Stage, ran: u64) -> u64 {
    stage.pass(Duration::from_secs(ran)).await;
    stage.end(1, TaskState::Failed).await;
    let began = stage.now();
    while !stage.told()[0].ends_with(" running") {
        stage.pass(Duration::from_secs(1)).await;
    }
    stage.now().duration_since(began).unwrap().as_secs()
}

#[tokio::test(start_paused = true)]
async fn after_a_task_that_was_stable_the_delay_starts_over_whoever_leads() {
    for new_leaders in [false, true] {
        let text = "cluster; node a; service web replicas=1 restart=any delay=1s max-delay=8s stable=60s";
        let mut stage = Stage::open(text).await;
        keep_history(&stage.store, 0);
        for (ran, delay) in [(1, 1), (1, 2), (59, 4), (60, 1), (1, 2), (1, 4), (600, 1), (1, 2)] {
            assert_eq!(delay_after(&mut stage, ran).await, delay, "after {ran} s");
            if new_leaders {
                stage = another_leader(stage).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_say_what_is_stable_means_the_longest_delay() {
    let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=1s max-delay=4s").await;
    for (ran, delay) in [(1, 1), (1, 2), (3, 4), (4, 1), (1, 2)] {
        assert_eq!(delay_after(&mut stage, ran).await, delay, "after {ran} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_was_stable_and_had_to_go_starts_the_delay_over_and_one_that_was_not_changes_nothing() {
    let mut stage =
        Stage::open("node a; node b; service web replicas=1 restart=any delay=1s max-delay=16s stable=60s").await;
    for (lost_after, delay) in [(None, 1), (None, 2), (Some(1), 4), (Some(60), 1), (None, 2)] {
        if let Some(seconds) = lost_after {
            stage.pass(Duration::from_secs(seconds)).await;
            lose_node(&mut stage, Way::Drain).await;
        }
        assert_eq!(delay_after(&mut stage, 1).await, delay, "lost after {lost_after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_changed_service_begins_with_its_first_delay_and_starts_at_once() {
    let text = "node a; service web replicas=1 restart=any delay=10s max-delay=1h";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(200)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"]);
    stage.cast(|_| None);
    stage
        .update("web", |spec| {
            let restart = spec.task.take().and_then(|task| task.restart);
            spec.task = Some(wire::TaskSpec { restart, ..testing::container("new") });
        })
        .await;
    assert_eq!(stage.told(), ["web.1 new running"], "nobody waits for the delay of what did not work");
    assert_eq!(delay_after(&mut stage, 1).await, 10);
}
