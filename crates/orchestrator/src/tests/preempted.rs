//! Tasks that the scheduler told to make room for others.

use wire::swarmkit::scheduling::v1::{
    Preemption,
    preemption::{Side, Yield},
};

use super::{stage::Stage, *};
use crate::slot::is_live;

/// What the scheduler does to a task that makes room.
fn yields(store: &Store, task: &Task) {
    let given = Yield { task_id: "vip.1".to_owned(), service_id: "vip".to_owned(), message: "made room".to_owned() };
    edit_task(store, task.id.as_str(), |task| {
        task.desired_state = TaskState::Shutdown;
        task.preemption = Some(Preemption { side: Some(Side::Yield(given)) }.into());
    });
}

/// The task that is wanted in a slot makes room for another, and then ends in that state before anybody replaced it.
async fn makes_room(stage: &mut Stage, slot: u64, end: Option<TaskState>) {
    let task = stage.tasks().into_iter().rfind(|task| task.slot == slot && is_live(task)).expect("one is wanted");
    yields(&stage.store, &task);
    if let Some(end) = end {
        stage.observe(&task, end);
    }
    stage.settle().await;
}

#[test]
fn a_task_that_makes_room_is_replaced_in_its_slot_by_one_that_waits_for_it() {
    let web = "node a; node b; service web replicas=2; task web.1 on a";
    check(&format!("{web}; task web.2 on b wants shutdown makes-room-for=vip.1"), &["make web.2 on hold"]);
    let gone = "task web.2 on b shutdown wants shutdown makes-room-for=vip.1";
    check(&format!("{web}; {gone}"), &["make web.2"]);
    let all = "node a; service all global";
    check(&format!("{all}; task all.a wants shutdown makes-room-for=vip.1 running"), &["make all.a on hold"]);
    let job = "node a; service job job=1 concurrent=1";
    check(&format!("{job}; task job.0 on a wants shutdown makes-room-for=vip.1"), &["make job.0 on hold"]);
    let job = "node a; service job global-job";
    check(&format!("{job}; task job.a running wants shutdown makes-room-for=vip.1"), &["make job.a on hold"]);
}

#[test]
fn whoever_makes_room_is_replaced_whatever_its_restart_policy_says_unless_it_has_completed() {
    for restart in ["none", "on-failure", "any attempts=1"] {
        let text = format!("node a; service web replicas=1 restart={restart}; ");
        for (state, expected) in
            [("running", "make web.1 on hold"), ("failed", "make web.1"), ("shutdown", "make web.1")]
        {
            check(&format!("{text}task web.1 on a {state} wants shutdown makes-room-for=vip.1"), &[expected]);
        }
    }
    let text = "node a; service web replicas=1 restart=on-failure; task web.1 on a complete wants shutdown";
    check(&format!("{text} makes-room-for=vip.1"), &[]);
}

#[tokio::test(start_paused = true)]
async fn making_room_uses_up_no_attempt_and_delays_nothing_however_it_ends() {
    for end in [None, Some(TaskState::Failed), Some(TaskState::Shutdown)] {
        let mut stage = Stage::open("node a; service web replicas=1 restart=any delay=30s attempts=1").await;
        for _ in 0..4 {
            makes_room(&mut stage, 1, end).await;
            assert_eq!(stage.told(), ["web.1 running"], "at once, {end:?}");
        }
        stage.end(1, TaskState::Failed).await;
        assert_eq!(stage.told(), ["web.1 ready wants ready"], "its first failure is delayed as ever, {end:?}");
        stage.pass(Duration::from_secs(30)).await;
        assert_eq!(stage.told(), ["web.1 running"]);
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(60)).await;
        assert_eq!(stage.told(), [""; 0], "and the second is one too many, {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_replacement_starts_when_the_one_that_makes_room_has_stopped() {
    let mut stage = Stage::open("node a; node b; service web replicas=1").await;
    stage.stubborn.push("image");
    makes_room(&mut stage, 1, None).await;
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"], "the old one is still there");
    stage.stubborn.clear();
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn making_room_is_no_failure_of_a_job() {
    let mut stage = Stage::open("node a; service job job=2 concurrent=1 restart=none").await;
    makes_room(&mut stage, 0, Some(TaskState::Failed)).await;
    assert_eq!(stage.told(), ["job.0 running"], "it is done again");
    stage.end(0, TaskState::Complete).await;
    makes_room(&mut stage, 1, None).await;
    assert_eq!(stage.told(), ["job.0 complete", "job.1 running"]);
    stage.end(1, TaskState::Complete).await;
    assert_eq!(stage.told(), ["job.0 complete", "job.1 complete"]);
}

#[tokio::test(start_paused = true)]
async fn making_room_is_no_failure_of_a_rollout() {
    let text = "node a; node b; service web replicas=2 parallelism=1";
    let mut stage = Stage::open(text).await;
    stage.update("web", set_image("next")).await;
    stage.pass(Duration::from_millis(100)).await;
    let new = stage.tasks().into_iter().find(|task| super::stage::image(task) == "next" && is_live(task)).unwrap();
    yields(&stage.store, &new);
    stage.observe(&new, TaskState::Failed);
    stage.settle().await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.told(), ["web.1 next running", "web.2 next running"]);
    let (state, message) = stage.status("web").unwrap();
    assert_eq!((state, message.as_str()), (wire::update_status::UpdateState::Completed, "update completed"));
}
