//! The reaper: what is kept as history, and what goes when it has stopped.

use super::{
    stage::{Stage, keep_history},
    *,
};

async fn reap(store: &Store, story: impl AsyncFnOnce(&Store)) {
    alone(store, |store, stop| crate::reaper::run(env(), store, stop), story).await;
}

fn ids(store: &Store) -> Vec<String> {
    store.view().all::<Task>().map(|task| task.id.to_string()).collect()
}

fn observe(store: &Store, id: &str, state: TaskState) {
    edit_task(store, id, |task| task.status.state = state);
}

#[tokio::test(start_paused = true)]
async fn of_each_slot_so_many_tasks_are_kept_as_the_cluster_says() {
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=any delay=1s").await;
    keep_history(&stage.store, 2);
    for _ in 0..5 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.history(), ["web.1 failed wants shutdown", "web.1 running"]);
    let last = stage.tasks()[1].id.clone();
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_secs(2)).await;
    assert_eq!(stage.tasks()[0].id, last, "the newest are kept");
    keep_history(&stage.store, 0);
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running"], "a new limit counts at once");
    keep_history(&stage.store, -1);
    for _ in 0..10 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.tasks().len(), 11, "all are kept");
    keep_history(&stage.store, 0);
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_millis(500)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"], "the delay is not forgotten with the history");
    stage.pass(Duration::from_millis(600)).await;
    assert_eq!(stage.history(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_for_good_is_kept_whatever_the_limit_since_it_would_be_done_again() {
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=none").await;
    keep_history(&stage.store, 0);
    stage.end(1, TaskState::Complete).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 complete wants shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_attempts_keeps_as_many_tasks_as_are_needed_to_count_them() {
    let text = "cluster; node a; service web replicas=1 restart=any delay=1s attempts=8";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    keep_history(&stage.store, 2);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 9);
    let mut stage = Stage::open_with(&text.replace("=8", "=2"), |_| Some(TaskState::Failed)).await;
    keep_history(&stage.store, -1);
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 3, "also where all would be kept");
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_deleted_service_stay_until_they_have_stopped() {
    let mut stage = Stage::open("node a; service web replicas=2; service other replicas=1").await;
    stage.stubborn = vec!["image"];
    write(&stage.store, |tx| tx.delete::<Service>(&"web".into()).map(drop));
    stage.pass(Duration::from_secs(10)).await;
    assert_eq!(stage.history(), ["other.1 running", "web.1 running wants remove", "web.2 running wants remove"]);
    stage.stubborn = Vec::new();
    stage.settle().await;
    assert_eq!(stage.history(), ["other.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn at_its_start_the_reaper_deletes_what_is_over_and_leaves_what_still_runs() {
    let store = testing::store(
        "node a; service web replicas=1; task web.1 on a; task web.1.x on a failed wants shutdown
         task web.2 on a running wants remove; task web.3 on a failed wants remove; task web.4 pending wants remove",
    );
    write(&store, |tx| {
        let lost = testing::task("lost").on("a").state(TaskState::Orphaned).with(|task| task.service_id = None);
        tx.create(lost.build()).map(drop)
    });
    let mut stage = Stage::on(env(), store).await;
    stage.stubborn = vec!["image"];
    let ids: Vec<_> = stage.tasks().iter().map(|task| task.id.to_string()).collect();
    assert!(!ids.iter().any(|id| ["web.3", "web.4", "lost"].contains(&id.as_str())), "{ids:?}");
    assert!(ids.contains(&"web.1.x".to_owned()), "{ids:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_scaled_away_stays_until_it_has_stopped() {
    let mut stage = Stage::open("cluster; node a; service web replicas=3").await;
    stage.stubborn = vec!["image"];
    stage.update("web", set_replicas(1)).await;
    stage.pass(Duration::from_secs(600)).await;
    assert_eq!(stage.history(), ["web.1 running", "web.2 running wants remove", "web.3 running wants remove"]);
    stage.stubborn = Vec::new();
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_no_node_has_and_that_an_update_replaces_goes_without_anybody_saying_that_it_stopped() {
    for state in ["pending", "new"] {
        let store =
            testing::store(&format!("cluster; service web replicas=1; task web.1.old {state}; task web.1.next"));
        keep_history(&store, 1);
        let shut_down = |task: &mut Task| task.desired_state = TaskState::Shutdown;
        reap(&store, async |store| edit_task(store, "web.1.old", shut_down)).await;
        assert_eq!(ids(&store), ["web.1.next"]);

        let mut stage = Stage::open(&format!("cluster; service web replicas=1; task web.1 {state}")).await;
        keep_history(&stage.store, 1);
        stage.update("web", set_image("new")).await;
        stage.amend("node a").await;
        stage.pass(Duration::from_secs(10)).await;
        assert_eq!(stage.history(), ["web.1 new running"], "a rollout keeps it until it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_task_of_no_service_goes_at_once_and_one_of_a_service_is_history() {
    let store = testing::store(
        "cluster; node a; service web replicas=1; task web.1 on a; task web.1.old on a running wants shutdown",
    );
    write(&store, |tx| {
        tx.create(testing::task("lone").on("a").state(TaskState::Running).with(|task| task.service_id = None).build())
            .map(drop)
    });
    reap(&store, async |store| {
        observe(store, "lone", TaskState::Orphaned);
        observe(store, "web.1.old", TaskState::Orphaned);
    })
    .await;
    assert_eq!(ids(&store), ["web.1", "web.1.old"]);
    reap(&store, async |store| keep_history(store, 1)).await;
    assert_eq!(ids(&store), ["web.1"]);
}

#[tokio::test(start_paused = true)]
async fn what_ran_on_a_node_that_is_removed_is_replaced_elsewhere_and_becomes_history() {
    let text = "cluster; node a; service web replicas=2 restart=any delay=5s; service all global";
    let mut stage = Stage::open(text).await;
    stage.amend("node b").await;
    remove_node(&stage.store, "a");
    stage.settle().await;
    assert_eq!(stage.told(), ["all.b running", "web.1 ready wants ready", "web.2 ready wants ready"]);
    stage.pass(Duration::from_secs(5)).await;
    assert_eq!(stage.told(), ["all.b running", "web.1 running", "web.2 running"]);
    let lost: Vec<_> = stage.history().into_iter().filter(|told| told.contains("orphaned")).collect();
    assert_eq!(lost, ["web.1 orphaned wants shutdown", "web.2 orphaned wants shutdown"]);
    keep_history(&stage.store, 1);
    stage.settle().await;
    assert_eq!(stage.history(), ["all.b running", "web.1 running", "web.2 running"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_service_leaves_behind_that_is_gone_meanwhile_is_not_history_of_anything() {
    let store = testing::store(
        "cluster; node a; service web replicas=1; task web.1 on a; task web.1.old on a running wants shutdown",
    );
    keep_history(&store, 0);
    reap(&store, async |store| {
        write(store, |tx| {
            tx.edit(&"web.1.old".into(), |task: &mut Task| task.status.state = TaskState::Failed)?;
            tx.delete::<Service>(&"web".into()).map(drop)
        });
    })
    .await;
    assert_eq!(ids(&store), ["web.1", "web.1.old"], "it goes when it was told to be removed");
}

#[tokio::test(start_paused = true)]
async fn what_still_runs_in_a_crowded_slot_is_reaped_as_it_ends() {
    let store = testing::store(
        "cluster; node a; service web replicas=1; task web.1.a on a running wants shutdown
         task web.1.b on a running wants shutdown; task web.1.c on a failed wants shutdown; task web.1.d on a",
    );
    keep_history(&store, 1);
    reap(&store, async |_| {}).await;
    assert_eq!(ids(&store), ["web.1.a", "web.1.b", "web.1.d"], "nothing that runs");
    reap(&store, async |store| observe(store, "web.1.b", TaskState::Shutdown)).await;
    assert_eq!(ids(&store), ["web.1.a", "web.1.d"]);
    reap(&store, async |store| observe(store, "web.1.a", TaskState::Shutdown)).await;
    assert_eq!(ids(&store), ["web.1.d"]);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_tasks_that_end_together_are_deleted_in_fifty_transactions() {
    let store = testing::store("cluster; node a; service web replicas=1; task web.1 on a");
    let service = store.view().get::<Service>(&"web".into()).unwrap().clone();
    let gone = (2..10_002).map(|slot| {
        let task = testing::task(&format!("web.{slot}")).of(&service).on("a").state(TaskState::Shutdown);
        task.with(|task| task.desired_state = TaskState::Remove).build()
    });
    let made = store.batch(gone.map(|task| move |tx: &mut Transaction| tx.create(task).map(drop)));
    let before = made.await.unwrap();
    assert_eq!(ids(&store).len(), 10_001);
    reap(&store, async |_| {}).await;
    assert_eq!(ids(&store), ["web.1"]);
    assert_eq!(store.version().0 - before.0, 50, "of 200 each");
    reap(&store, async |_| {}).await;
    assert_eq!(store.version().0 - before.0, 50, "and there is nothing left to do");
}

#[tokio::test(start_paused = true)]
async fn a_reaper_that_is_told_to_stop_does_no_more_however_often_it_is_told() {
    let store = testing::store("cluster; node a; service web replicas=1; task web.1.x on a failed wants remove");
    let stop = CancellationToken::new();
    stop.cancel();
    stop.cancel();
    crate::reaper::run(env(), store.clone(), stop).await.unwrap();
    assert_eq!(ids(&store), ["web.1.x"]);
}
