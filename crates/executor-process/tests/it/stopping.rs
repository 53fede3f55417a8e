//! How processes end.

use swarmkit_executor::Controller as _;

use crate::world::{World, is_running, processes_of, task, until, within};

#[tokio::test]
async fn a_task_is_stopped_by_the_signal_that_it_asks_for() {
    let world = World::new().await;
    let run = world
        .started(task("trap 'echo bye; exit 5' USR1; echo ready; while :; do sleep 0.01; done", |spec, _| {
            spec.stop_signal = "SIGUSR1".into();
        }))
        .await;
    run.says("ready").await;
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(5));
    assert!(run.output().await.ends_with("bye\n"), "it was asked, not killed");
    run.removed().await;
}

#[tokio::test]
async fn a_task_that_does_not_heed_is_killed_with_everything_that_it_started() {
    let world = World::new().await;
    let script = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo ready; while :; do sleep 1; done";
    let quick = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let run = world.started(task(script, |spec, _| spec.stop_grace_period = quick)).await;
    run.says("ready").await;
    assert!(processes_of(&run.task).len() >= 2);
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().to_string(), "task: non-zero exit (137): killed by SIGKILL");
    assert_eq!(processes_of(&run.task), [0; 0], "nothing is left");
}

#[tokio::test]
async fn what_a_task_leaves_behind_ends_with_it_even_in_another_session() {
    let world = World::new().await;
    let run = world.script("setsid sh -c 'setsid sleep 3600 & sleep 3600' & sleep 0.1; echo left; exit 0").await;
    run.wait().await.unwrap();
    assert_eq!(run.output().await, "left\n");
    assert_eq!(processes_of(&run.task), [0; 0], "daemons end too");
}

#[tokio::test]
async fn orphans_of_a_task_are_buried_while_it_runs() {
    let world = World::new().await;
    let run = world.script("(sleep 0 & echo $! ) ; sleep 0.2; (sh -c 'true' &) ; echo ready; exec sleep 3600").await;
    run.says("ready").await;
    let supervisor = world.record(&run.task, "started.json")["supervisor"].as_u64().unwrap();
    let children = || std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    until("orphans are buried", || children().split_whitespace().count() == 1).await;
    run.removed().await;
}

#[tokio::test]
async fn closed_output_does_not_end_a_task_and_held_output_does_not_keep_it() {
    let world = World::new().await;
    let run = world.script("exec >&- 2>&-; sleep 0.1; exit 3").await;
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(3));
}

#[tokio::test]
async fn a_task_stopped_before_it_was_started_does_not_start() {
    let world = World::new().await;
    let run = world.prepared_with(task("echo ran", |_, _| {}), swarmkit_executor::NoDependencies).await;
    within(run.controller.shutdown()).await.unwrap();
    let error = within(run.controller.start()).await.unwrap_err();
    assert_eq!(error.to_string(), "stopped before it was started");
    assert_eq!(run.output().await, "");
}

#[tokio::test]
async fn a_supervisor_that_hangs_is_killed_and_its_task_with_it() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let pid = run.pid().await;
    let supervisor = world.record(&run.task, "started.json")["supervisor"].to_string();
    let stopped = std::process::Command::new("kill").args(["-STOP", &supervisor]).status().unwrap();
    assert!(stopped.success());
    within(run.controller.terminate()).await.unwrap();
    assert!(!is_running(pid));
    let error = run.wait().await.unwrap_err().to_string();
    assert_eq!(error, "the task's supervisor was ended, so its exit code is not known");
    run.removed().await;
}

#[tokio::test]
async fn a_hundred_tasks_start_and_stop_at_once() {
    let world = World::new().await;
    let run = |_| async {
        let run = world.script("exec sleep 3600").await;
        assert!(is_running(run.pid().await));
        run
    };
    let runs = futures_util::future::join_all((0..100).map(run)).await;
    let stop = |run: crate::world::Run| async move {
        within(run.controller.shutdown()).await.unwrap();
        assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(143));
        run.removed().await;
    };
    futures_util::future::join_all(runs.into_iter().map(stop)).await;
    assert_eq!(std::fs::read_dir(world.dir.path().join("tasks")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(world.dir.path().join("trash")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_dropped_shutdown_still_ends_the_task_when_its_grace_is_over() {
    let world = World::new().await;
    let quick = Some(prost_types::Duration { seconds: 0, nanos: 100_000_000 });
    let run = world
        .started(task("trap '' TERM; echo ready; while :; do sleep 1; done", |spec, _| spec.stop_grace_period = quick))
        .await;
    run.says("ready").await;
    {
        let mut asking = std::pin::pin!(run.controller.shutdown());
        assert!(futures_util::poll!(&mut asking).is_pending(), "the task does not heed");
    }
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(137));
}
