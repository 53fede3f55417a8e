//! Supervisors inside of the program, for programs that do not open the door for others.

use swarmkit_executor::{Assignment, Controller as _, Executor as _};
use swarmkit_executor_process::ProcessExecutor;

use crate::world::{World, is_running, processes_of, task, until, within};

async fn open() -> World {
    let dir = tempfile::tempdir().unwrap();
    let executor = ProcessExecutor::builder(dir.path()).open().await.unwrap();
    World { dir, executor }
}

#[tokio::test]
async fn a_task_runs_and_is_stopped() {
    let world = open().await;
    let run = world.script("echo out; exit 3").await;
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(3));
    assert_eq!(run.output().await, "out\n");
    let run = world.script("sleep 3600 & echo ready; exec sleep 3600").await;
    run.says("ready").await;
    assert_eq!(processes_of(&run.task).len(), 2);
    within(run.controller.shutdown()).await.unwrap();
    assert_eq!(run.wait().await.unwrap_err().exit_code(), Some(143));
    until("the whole group ends", || processes_of(&run.task).is_empty()).await;
    run.removed().await;
}

#[tokio::test]
async fn tasks_end_with_the_executor_and_the_next_one_says_so() {
    let World { dir, executor } = open().await;
    let world = World { dir: tempfile::tempdir().unwrap(), executor };
    let run = world.script("exec sleep 3600").await;
    let (task, pid) = (run.task.clone(), run.pid().await);
    drop((run, world));
    until("the task ends", || !is_running(pid)).await;

    let executor = ProcessExecutor::builder(dir.path()).open().await.unwrap();
    let controller = executor.controller(Assignment::new(task)).await.unwrap();
    within(controller.start()).await.unwrap();
    let error = within(controller.wait()).await.unwrap_err().to_string();
    assert_eq!(error, "the task's supervisor was ended, so its exit code is not known");
}

#[tokio::test]
async fn what_needs_a_process_of_its_own_is_refused() {
    let world = open().await;
    let limit = swarmkit_api::wire::container_spec::Ulimit { name: "nofile".into(), soft: 9, hard: 9 };
    let run = world
        .prepared_with(task("true", |spec, _| spec.ulimits = vec![limit]), swarmkit_executor::NoDependencies)
        .await;
    let error = within(run.controller.start()).await.unwrap_err().to_string();
    assert_eq!(error, "ulimits need a supervisor process: the program does not call run_if_requested()");
}
