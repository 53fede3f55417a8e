//! The way of a task from its service to its node: orchestrator, allocator and scheduler on one store.

mod apart;
mod evicted;
mod priorities;

use std::{sync::Arc, time::Duration};

use swarmkit_allocator::InertNetworks;
use swarmkit_api::{Service, Task, TaskState};
use swarmkit_runtime::Crew;
use swarmkit_store::{Store, StoreError, TaskBy, Transaction};
use swarmkit_testing as testing;
use tokio_util::sync::CancellationToken;

/// Runs the three on a store for as long as the story lasts.
async fn with_loops(text: &str, story: impl AsyncFnOnce(&Store)) {
    let env = testing::env();
    let store = Store::local(env.clone());
    testing::amend(&store, text);
    let stop = CancellationToken::new();
    let mut crew = Crew::under(&stop);
    crew.spawn("orchestrator", |stop| swarmkit_orchestrator::run(env.clone(), store.clone(), stop));
    crew.spawn("allocator", |stop| swarmkit_allocator::run(env.clone(), store.clone(), Arc::new(InertNetworks), stop));
    crew.spawn("scheduler", |stop| swarmkit_scheduler::run(env.clone(), store.clone(), stop));
    settle().await;
    story(&store).await;
    stop.cancel();
    crew.finish().await.expect("the loops end well");
}

/// Time is paused, so it only goes on when every part waits.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn create(store: &Store, service: Service) {
    write(store, |tx| tx.create(service).map(drop)).await;
}

async fn write(store: &Store, edit: impl FnOnce(&mut Transaction) -> Result<(), StoreError>) {
    store.update(edit).await.expect("the store takes it");
}

fn in_state(store: &Store, state: TaskState) -> usize {
    store.view().find(TaskBy::State(state)).count()
}

#[tokio::test(start_paused = true)]
async fn five_hundred_replicas_are_assigned_in_a_dozen_transactions_and_no_time() {
    with_loops("node a; node b; node c; node d", async |store: &Store| {
        let (before, start) = (store.version().0, tokio::time::Instant::now());
        create(store, testing::service("web").replicas(500).build()).await;
        while in_state(store, TaskState::Assigned) < 500 {
            tokio::task::yield_now().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        let transactions = store.version().0 - before;
        assert!(transactions <= 12, "{transactions} transactions");
        let view = store.view();
        for node in ["a", "b", "c", "d"] {
            assert_eq!(view.find(TaskBy::Node(Some(&node.into()))).count(), 125);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_service_that_grows_and_shrinks_before_anything_runs_leaves_nothing_behind() {
    with_loops("node a", async |store: &Store| {
        create(store, testing::service("web").replicas(50).build()).await;
        settle().await;
        write(store, |tx| tx.delete::<Service>(&"web".into()).map(drop)).await;
        settle().await;
        let view = store.view();
        assert!(view.all::<Task>().all(|task| task.desired_state == TaskState::Remove), "all are told to go");
        let waits_for_agent = |task: &Arc<Task>| task.status.state >= TaskState::Assigned;
        assert!(view.all::<Task>().all(waits_for_agent), "those that no agent has are gone");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn tasks_that_cannot_be_placed_say_why_and_go_as_soon_as_they_can() {
    with_loops("node a memory=1GiB; service all global memory=2GiB", async |store: &Store| {
        create(store, testing::service("big").replicas(1).reserve_memory(2 << 30).build()).await;
        settle().await;
        let told: Vec<_> = store.view().all::<Task>().map(|task| task.status.err.clone()).collect();
        assert!(told.contains(&"insufficient resources on 1 node".to_owned()), "{told:?}");
        assert!(told.contains(&"no suitable node (insufficient resources on 1 node)".to_owned()), "{told:?}");
        testing::amend(store, "node b memory=4GiB");
        settle().await;
        let view = store.view();
        let on_b: Vec<_> = view.find(TaskBy::Node(Some(&"b".into()))).map(|task| task.status.state).collect();
        assert_eq!(on_b, [TaskState::Assigned; 2]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_on_an_idle_cluster() {
    with_loops(
        "node a; service web replicas=3; service all global; service none replicas=1 constraint=node.id==z",
        async |store: &Store| {
            settle().await;
            let before = store.version();
            tokio::time::sleep(Duration::from_secs(3600)).await;
            assert_eq!(store.version(), before);
        },
    )
    .await;
}
