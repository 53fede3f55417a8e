//! The loop on a store.

use std::time::Duration;

use swarmkit_api::{Task, TaskState};
use swarmkit_runtime::Crew;
use swarmkit_store::TaskBy;
use tokio_util::sync::CancellationToken;

use super::*;

/// Runs the loop on a store until nothing is left to do, with what happens meanwhile.
pub(crate) async fn scheduled(text: &str, meanwhile: impl AsyncFnOnce(&Store)) -> Store {
    let store = testing::store(text);
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    crew.spawn("scheduler", |stop| crate::run(env(), store.clone(), stop));
    settle().await;
    meanwhile(&store).await;
    settle().await;
    stop.cancel();
    crew.finish().await.unwrap();
    store
}

/// Time is paused, so it only goes on when every part waits.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn five_hundred_tasks_are_assigned_in_a_few_transactions() {
    let store = scheduled("node a; node b; service web", async |store: &Store| {
        let before = store.version().0;
        let tasks: String = (1..=500).map(|slot| format!("task web.{slot} pending;")).collect();
        testing::amend(store, &tasks);
        settle().await;
        assert_eq!(store.version().0 - before, 1 + 3, "one to create them, three of at most 200 to assign them");
    })
    .await;
    let view = store.view();
    assert_eq!(view.find(TaskBy::State(TaskState::Assigned)).count(), 500);
    assert_eq!(view.find(TaskBy::Node(Some(&"a".into()))).count(), 250);
}

#[tokio::test(start_paused = true)]
async fn a_task_is_assigned_without_time_passing() {
    scheduled("node a; service web", async |store: &Store| {
        let start = tokio::time::Instant::now();
        testing::amend(store, "task web.1 pending");
        while store.view().get::<Task>(&"web.1".into()).unwrap().node_id.is_none() {
            tokio::task::yield_now().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_has_nothing_new_to_say_writes_nothing() {
    scheduled("node a down; service web; task web.1 pending", async |store: &Store| {
        let before = store.version().0;
        testing::amend(store, "service other");
        testing::amend(store, "node b down");
        settle().await;
        assert_eq!(store.version().0 - before, 3, "the two, and the new reason");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_is_told_to_stop_twice_stops_and_decides_nothing_more() {
    let store = testing::store("service web; task web.1 pending");
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    crew.spawn("scheduler", |stop| crate::run(env(), store.clone(), stop));
    settle().await;
    stop.cancel();
    stop.cancel();
    crew.finish().await.unwrap();
    testing::amend(&store, "node a");
    settle().await;
    assert_eq!(store.view().get::<Task>(&"web.1".into()).unwrap().node_id, None);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_an_error_when_the_store_is_closed() {
    let store = testing::store("node a; service web; task web.1 pending");
    let mut crew = Crew::under(&CancellationToken::new());
    crew.spawn("scheduler", |stop| crate::run(env(), store.clone(), stop));
    settle().await;
    store.close();
    assert_eq!(crew.finish().await.unwrap_err().to_string(), "the scheduler can read no more");
}
