//! What is the same under the next leader, whatever its clock shows.

use std::time::SystemTime;

use wire::update_status::UpdateState;

use super::{
    stage::{Shift, Stage},
    *,
};
use crate::{slot::Slot, times::observed_at};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// The next leader's clock shows the same time, or it is an hour ahead, or behind.
const CLOCKS: [Shift; 3] = [Shift::Ahead(Duration::ZERO), Shift::Ahead(HOUR), Shift::Behind(HOUR)];

#[test]
fn tasks_of_a_slot_are_ordered_by_the_count_of_the_store_and_where_there_is_none_by_their_clocks() {
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    // The last two were made by one manager; the others in a cluster that did not count.
    let made = [
        ("e", 0, None, None),
        ("d", 0, at(5, 0), None),
        ("c", 0, at(5, 1), None),
        ("b", 0, at(9, 0), at(20, 0)),
        ("a", 0, at(9, 0), at(20, 1)),
        ("z", 7, at(3, 0), None),
        ("y", 8, at(2, 0), None),
    ];
    let tasks = made.map(|(id, version, created_at, observed)| {
        let mut task = testing::task(id).build();
        task.meta.created_version = Version(version);
        task.meta.created_at = created_at;
        task.status.timestamp = observed;
        Arc::new(task)
    });
    for start in 0..tasks.len() {
        let mut slot = Slot::default();
        let shuffled = (0..tasks.len()).map(|at| &tasks[(start + at * 3) % tasks.len()]);
        shuffled.for_each(|task| slot.put_by_age(task.clone(), env().now()));
        let order: Vec<_> = slot.tasks().map(|task| task.id.as_str()).collect();
        assert_eq!(order, made.map(|(id, ..)| id));
    }
}

#[test]
fn who_was_observed_last_is_told_by_the_clock_of_a_manager_if_one_has_said_so() {
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let mut task = testing::task("a").build();
    (task.status.timestamp, task.status.applied_at) = (at(9), None);
    assert_eq!(observed_at(&task), Some(SystemTime::UNIX_EPOCH + 9 * SECOND));
    task.status.applied_at = at(7);
    assert_eq!(observed_at(&task), Some(SystemTime::UNIX_EPOCH + 7 * SECOND));
    (task.status.timestamp, task.status.applied_at) = (None, None);
    assert_eq!(observed_at(&task), None);
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_what_was_lost_while_nobody_led_is_replaced() {
    let stage = Stage::open("node a; node b; service web replicas=4 restart=any delay=2s").await;
    let (env, store) = stage.close().await;
    let mut ends = [TaskState::Rejected, TaskState::Failed].into_iter();
    let on_a = |task: &&Arc<Task>| task.node_id == Some("a".into());
    let here: Vec<_> = store.view().all::<Task>().filter(on_a).cloned().collect();
    for task in &here {
        edit_task(&store, task.id.as_str(), |task| task.status.state = ends.next().unwrap());
    }
    edit_node(&store, "b", |node| set_state(node, wire::node_status::State::Down));
    let mut stage = Stage::on(env, store).await;
    assert_eq!(stage.told(), [1, 2, 3, 4].map(|slot| format!("web.{slot} ready wants ready")));
    stage.pass(2 * SECOND).await;
    assert_eq!(stage.told(), [1, 2, 3, 4].map(|slot| format!("web.{slot} running")));
    assert_eq!(stage.tasks().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_on_whatever_the_clock_of_the_next_leader_shows() {
    for clock in CLOCKS {
        let mut stage = Stage::open("node a; service web replicas=2 restart=any delay=2s attempts=2").await;
        stage.end(1, TaskState::Failed).await;
        stage.pass(3 * SECOND).await;
        let mut stage = stage.succeeded_by(clock).await;
        stage.end(1, TaskState::Failed).await;
        stage.end(2, TaskState::Failed).await;
        stage.pass(3 * SECOND).await;
        assert_eq!(stage.told(), ["web.1 running", "web.2 running"], "{clock:?}");
        stage.end(1, TaskState::Failed).await;
        stage.pass(10 * SECOND).await;
        assert_eq!(stage.told(), ["web.2 running"], "the first slot was tried three times, {clock:?}");
        let failed = "web.1 failed wants shutdown";
        assert_eq!(stage.history()[..3], [failed, failed, failed], "{clock:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_tasks_of_a_slot_are_kept_whatever_the_clock_of_the_next_leader_shows() {
    for clock in CLOCKS {
        let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=any delay=1s").await;
        for _ in 0..3 {
            stage.end(1, TaskState::Failed).await;
            stage.pass(2 * SECOND).await;
        }
        let mut stage = stage.succeeded_by(clock).await;
        for _ in 0..3 {
            stage.end(1, TaskState::Failed).await;
            stage.pass(2 * SECOND).await;
        }
        let versions: Vec<_> = stage.tasks().iter().map(|task| task.meta.created_version).collect();
        stage.end(1, TaskState::Failed).await;
        stage.pass(2 * SECOND).await;
        let kept: Vec<_> = stage.tasks().iter().map(|task| task.meta.created_version).collect();
        assert_eq!((kept.len(), &kept[..4]), (5, &versions[1..]), "{clock:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_start_waits_no_longer_whatever_the_clock_of_the_next_leader_shows() {
    for clock in CLOCKS {
        let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=10s").await;
        stage.end(1, TaskState::Failed).await;
        stage.pass(6 * SECOND).await;
        let mut stage = stage.succeeded_by(clock).await;
        let at_once = matches!(clock, Shift::Ahead(HOUR));
        assert_eq!(stage.told(), [if at_once { "web.1 running" } else { "web.1 ready wants ready" }], "{clock:?}");
        // Whoever is behind cannot know for how long it has waited, and waits for the whole delay at most.
        stage.pass(if matches!(clock, Shift::Behind(_)) { 10 * SECOND } else { 4 * SECOND }).await;
        assert_eq!(stage.told(), ["web.1 running"], "{clock:?}");
        assert_eq!(stage.tasks().len(), 2, "{clock:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_goes_on_with_the_same_status_whatever_the_clock_of_the_next_leader_shows() {
    for clock in CLOCKS {
        let mut stage = Stage::open("node a; service web replicas=6").await;
        stage
            .update("web", |spec| {
                set_image("new")(spec);
                let delay = Some(prost_types::Duration { seconds: 2, nanos: 0 });
                spec.update = Some(wire::UpdateConfig { parallelism: 2, delay, ..Default::default() });
            })
            .await;
        stage.pass(SECOND).await;
        let status = |stage: &Stage| {
            let view = stage.store.view();
            view.get::<Service>(&"web".into()).unwrap().update_status.clone().unwrap()
        };
        let begun = status(&stage);
        let mut stage = stage.succeeded_by(clock).await;
        assert_eq!(status(&stage), begun, "{clock:?}");
        let new = |stage: &Stage| stage.told().iter().filter(|task| task.contains("new")).count();
        let delay_is_over = matches!(clock, Shift::Ahead(HOUR));
        assert_eq!(new(&stage), if delay_is_over { 4 } else { 2 }, "as far as it can tell, {clock:?}");
        stage.pass(4 * SECOND).await;
        assert_eq!(new(&stage), 6, "{clock:?}");
        assert_eq!(stage.most_in_flight, 2, "{clock:?}");
        assert_eq!(stage.status("web").unwrap().0, UpdateState::Updating, "the last ones are watched, {clock:?}");
        stage.pass(8 * SECOND).await;
        assert_eq!(stage.status("web"), Some((UpdateState::Completed, "update completed".to_owned())), "{clock:?}");
        assert_eq!(status(&stage).started_at, begun.started_at, "{clock:?}");
        assert_eq!(stage.tasks().len(), 12, "nothing was made twice, {clock:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_a_rollout_count_whatever_the_clock_of_the_next_leader_shows() {
    for clock in CLOCKS {
        let mut stage = Stage::open("node a; service web replicas=4").await;
        stage
            .update("web", |spec| {
                set_image("new")(spec);
                let delay = Some(prost_types::Duration { seconds: 3, nanos: 0 });
                spec.update = Some(wire::UpdateConfig { parallelism: 1, delay, ..Default::default() });
            })
            .await;
        let mut stage = stage.succeeded_by(clock).await;
        stage.cast(|task| (super::stage::image(task) == "new").then_some(TaskState::Failed));
        stage.pass(5 * SECOND).await;
        assert_eq!(stage.status("web").unwrap().0, UpdateState::Paused, "{clock:?}: {:?}", stage.history());
    }
}
