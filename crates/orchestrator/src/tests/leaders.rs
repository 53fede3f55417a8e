//! What is the same under the next leader, whatever its clock shows.

use wire::update_status::UpdateState;

use super::{
    stage::{Shift, Stage},
    *,
};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// The next leader's clock shows the same time, or it is an hour ahead, or behind.
const CLOCKS: [Shift; 3] = [Shift::Ahead(Duration::ZERO), Shift::Ahead(HOUR), Shift::Behind(HOUR)];

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
        let last = stage.tasks();
        assert_eq!(last.len(), 5 + 1, "five and the one that is on hold, {clock:?}: {:?}", stage.history());
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
