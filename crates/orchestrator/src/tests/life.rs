//! Whole lives of services.

use super::{stage::Stage, *};
use crate::slot::is_live;

fn slots(stage: &Stage) -> Vec<u64> {
    stage.tasks().iter().filter(|task| is_live(task)).map(|task| task.slot).collect()
}

#[tokio::test(start_paused = true)]
async fn a_service_grows_and_shrinks_and_the_higher_slots_go_first() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    assert_eq!(slots(&stage), [1, 2, 3]);
    stage.update("web", set_replicas(50)).await;
    assert_eq!(slots(&stage), (1..=50).collect::<Vec<_>>());
    stage.update("web", set_replicas(2)).await;
    assert_eq!(slots(&stage), [1, 2]);
    assert_eq!(stage.tasks().len(), 2, "the others are gone with their history");
    stage.update("web", set_replicas(0)).await;
    assert_eq!(stage.tasks().len(), 0);
    stage.update("web", set_replicas(2)).await;
    assert_eq!(slots(&stage), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_deleted_by_hand_is_made_again() {
    let mut stage = Stage::open("node a; service web replicas=2").await;
    let task = stage.tasks()[1].clone();
    write(&stage.store, |tx| tx.delete::<Task>(&task.id).map(drop));
    stage.settle().await;
    assert_eq!(stage.told(), ["web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn five_hundred_tasks_are_made_in_a_few_transactions_and_without_time_passing() {
    let mut stage = Stage::open("service web replicas=1").await;
    let (before, start) = (stage.store.version().0, tokio::time::Instant::now());
    stage.update("web", set_replicas(500)).await;
    assert_eq!(stage.tasks().len(), 500);
    assert_eq!(stage.store.version().0 - before, 1 + 3, "the change, and three of at most 200");
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(slots(&stage), (1..=500).collect::<Vec<_>>());
    let tasks = stage.tasks();
    assert!(tasks.iter().skip(1).all(|task| Arc::ptr_eq(&task.spec, &tasks[1].spec)), "they share what they run");
}

#[tokio::test(start_paused = true)]
async fn what_a_task_goes_through_is_no_work_for_the_orchestrator() {
    let mut stage = Stage::open("node a; service web replicas=3").await;
    stage.pass(Duration::from_secs(60)).await;
    let before = stage.store.version();
    stage.amend("node b").await;
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.store.version().0, before.0 + 1, "nothing is written on an idle cluster");
}
