//! What nodes report of their tasks.

use swarmkit_api::{TaskState, TaskStatus, Volume, wire};
use tonic::Code;
use wire::{update_task_status_request::TaskStatusUpdate, volume_publish_status::State as PublishState};

use crate::world::{World, refusal};

#[tokio::test(start_paused = true)]
async fn a_report_is_in_the_store_when_it_is_answered() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let session = world.register("a").await;
    world.report("a", &session, &[("w.1", TaskState::Running)]).await.unwrap();
    let status = world.task("w.1").status;
    assert_eq!(status.state, TaskState::Running);
    assert_eq!(status.applied_by, Some("m1".into()));
    assert!(status.applied_at.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_report_needs_a_session() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let refused = (Code::InvalidArgument, "session invalid".to_owned());
    world.register("a").await;
    assert_eq!(refusal(world.report("a", "", &[]).await), refused);
    assert_eq!(refusal(world.report("a", "x", &[("w.1", TaskState::Running)]).await), refused);
    assert_eq!(world.task("w.1").status.state, TaskState::Assigned);
}

#[tokio::test(start_paused = true)]
async fn a_report_on_another_nodes_task_refuses_the_whole_request() {
    let world = World::new("node a; node b; task w.1 on a assigned; task w.2 on b assigned").await;
    let session = world.register("a").await;
    let report = world.report("a", &session, &[("w.1", TaskState::Running), ("w.2", TaskState::Failed)]).await;
    assert_eq!(refusal(report), (Code::PermissionDenied, "cannot update a task not assigned this node".into()));
    assert_eq!(world.task("w.1").status.state, TaskState::Assigned);
    assert_eq!(world.task("w.2").status.state, TaskState::Assigned);
}

#[tokio::test(start_paused = true)]
async fn a_state_does_not_go_back_and_news_of_the_same_state_are_taken() {
    let world = World::new("node a; task w.1 on a running").await;
    let session = world.register("a").await;
    world.report("a", &session, &[("w.1", TaskState::Starting)]).await.unwrap();
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
    let status = TaskStatus { state: TaskState::Running, message: "healthy".into(), ..TaskStatus::default() };
    let update = TaskStatusUpdate { task_id: "w.1".into(), status: Some(status.to_wire()) };
    world.report_raw("a", &session, vec![update]).await.unwrap();
    assert_eq!(world.task("w.1").status.message, "healthy");
}

#[tokio::test(start_paused = true)]
async fn since_when_a_task_runs_is_told_by_managers_once_and_stays_when_it_has_ended() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let session = world.register("a").await;
    let since = |state: TaskState, claimed: Option<prost_types::Timestamp>| {
        let status =
            TaskStatus { state, running_since: claimed, message: format!("{claimed:?}"), ..Default::default() };
        let update = TaskStatusUpdate { task_id: "w.1".into(), status: Some(status.to_wire()) };
        let (world, session) = (&world, &session);
        async move {
            world.report_raw("a", session, vec![update]).await.unwrap();
            let status = world.task("w.1").status;
            (status.running_since, status.applied_at)
        }
    };
    let claimed = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
    assert_eq!(since(TaskState::Starting, claimed).await.0, None, "an agent is not believed");
    let (began, applied) = since(TaskState::Running, claimed).await;
    assert_eq!(began, applied);
    tokio::time::advance(std::time::Duration::from_millis(1)).await;
    for (state, claimed) in [(TaskState::Running, None), (TaskState::Failed, claimed)] {
        let (since, applied) = since(state, claimed).await;
        assert_eq!((since, applied == began), (began, false), "{state:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_reports_in_one_request_the_further_one_counts() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let session = world.register("a").await;
    let both = [("w.1", TaskState::Running), ("w.1", TaskState::Starting)];
    world.report("a", &session, &both).await.unwrap();
    assert_eq!(world.task("w.1").status.state, TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_new_is_not_written() {
    let world = World::new("node a; task w.1 on a assigned").await;
    let session = world.register("a").await;
    world.report("a", &session, &[("w.1", TaskState::Running)]).await.unwrap();
    let version = world.store.version();
    world.report("a", &session, &[("w.1", TaskState::Running)]).await.unwrap();
    assert_eq!(world.store.version(), version);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_taken_is_left_out_and_the_rest_counts() {
    let world = World::new("node a; task w.1 on a assigned; task w.2 on a assigned; task w.3 on a assigned").await;
    let session = world.register("a").await;
    let update = |task: &str, state: Option<i32>| {
        let status = state.map(|state| wire::TaskStatus { state, ..Default::default() });
        TaskStatusUpdate { task_id: task.into(), status }
    };
    let updates = vec![
        update("gone", Some(TaskState::Running.into())),
        update("w.1", None),
        update("w.2", Some(7)),
        update("w.2", Some(TaskState::Orphaned.into())),
        update("w.3", Some(TaskState::Running.into())),
    ];
    world.report_raw("a", &session, updates).await.unwrap();
    let states = ["w.1", "w.2", "w.3"].map(|task| world.task(task).status.state);
    assert_eq!(states, [TaskState::Assigned, TaskState::Assigned, TaskState::Running]);
}

#[tokio::test(start_paused = true)]
async fn reports_that_arrive_together_share_a_commit() {
    let text: String = (0..100).map(|n| format!("node n{n}; task w.{n} on n{n} assigned;")).collect();
    let world = World::new(&text).await;
    let mut sessions = Vec::new();
    for n in 0..100 {
        sessions.push(world.register(&format!("n{n}")).await);
    }
    let before = world.store.version().0;
    let reports = sessions.iter().enumerate().map(|(n, session)| {
        let (node, task) = (format!("n{n}"), format!("w.{n}"));
        let world = &world;
        async move { world.report(&node, session, &[(&task, TaskState::Running)]).await.unwrap() }
    });
    futures_util::future::join_all(reports).await;
    let commits = world.store.version().0 - before;
    assert!(commits <= 5, "100 reports took {commits} commits");
    for n in 0..100 {
        assert_eq!(world.task(&format!("w.{n}")).status.state, TaskState::Running);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_let_go_of_a_volume_says_so_for_itself_alone() {
    let world = World::new("node a; node b").await;
    let session = world.register("a").await;
    world.amend("volume v1 published=a published=b; volume v2 published=a published=b");
    let states = |volume: &str| {
        let volume = world.store.view().get::<Volume>(&volume.into()).cloned().unwrap();
        volume.publish_status.iter().map(wire::VolumePublishStatus::state).collect::<Vec<_>>()
    };
    let updates = [("v1", true), ("v2", false), ("gone", true)];
    let refused = world.report_volumes("a", "x", &updates).await;
    assert_eq!(refusal(refused), (Code::InvalidArgument, "session invalid".into()));
    world.report_volumes("a", &session, &updates).await.unwrap();
    assert_eq!(states("v1"), [PublishState::PendingUnpublish, PublishState::Published]);
    assert_eq!(states("v2"), [PublishState::Published, PublishState::Published]);
    let version = world.store.version();
    world.report_volumes("a", &session, &updates).await.unwrap();
    world.report_volumes("a", &session, &[]).await.unwrap();
    assert_eq!(world.store.version(), version, "nothing new is not written");
}
