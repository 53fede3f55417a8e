//! The reaper: what is kept as history, and what goes when it has stopped.

use super::{stage::Stage, *};

#[tokio::test(start_paused = true)]
async fn of_each_slot_so_many_tasks_are_kept_as_the_cluster_says() {
    let limit = |limit: i64| {
        move |store: &Store| {
            write(store, |tx| {
                let id = tx.cluster().unwrap().id.clone();
                tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
                    let spec = Arc::make_mut(&mut cluster.spec);
                    spec.orchestration.get_or_insert_default().task_history_retention_limit = limit;
                })
                .map(drop)
            });
        }
    };
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=any delay=1s").await;
    limit(2)(&stage.store);
    for _ in 0..5 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.history(), ["web.1 failed wants shutdown", "web.1 running"]);
    limit(0)(&stage.store);
    stage.settle().await;
    assert_eq!(stage.history(), ["web.1 running"], "a new limit counts at once");
    limit(-1)(&stage.store);
    for _ in 0..10 {
        stage.end(1, TaskState::Failed).await;
        stage.pass(Duration::from_secs(2)).await;
    }
    assert_eq!(stage.tasks().len(), 11, "all are kept");
    limit(0)(&stage.store);
    stage.end(1, TaskState::Failed).await;
    stage.pass(Duration::from_millis(500)).await;
    assert_eq!(stage.told(), ["web.1 ready wants ready"], "the delay is not forgotten with the history");
    stage.pass(Duration::from_millis(600)).await;
    assert_eq!(stage.history(), ["web.1 running"]);
}

#[tokio::test(start_paused = true)]
async fn what_ended_for_good_is_kept_whatever_the_limit_since_it_would_be_done_again() {
    let mut stage = Stage::open("cluster; node a; service web replicas=1 restart=none").await;
    write(&stage.store, |tx| {
        let id = tx.cluster().unwrap().id.clone();
        tx.edit(&id, |cluster: &mut swarmkit_api::Cluster| {
            Arc::make_mut(&mut cluster.spec).orchestration.get_or_insert_default().task_history_retention_limit = 0;
        })
        .map(drop)
    });
    stage.end(1, TaskState::Complete).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.history(), ["web.1 complete wants shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_attempts_keeps_as_many_tasks_as_are_needed_to_count_them() {
    let text = "cluster; node a; service web replicas=1 restart=any delay=1s attempts=8";
    let mut stage = Stage::open_with(text, |_| Some(TaskState::Failed)).await;
    stage.pass(Duration::from_secs(60)).await;
    assert_eq!(stage.tasks().len(), 9);
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
