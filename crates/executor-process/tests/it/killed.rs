//! What is left when programs are killed, at whatever point.

use std::{path::Path, process::Stdio, sync::Arc};

use swarmkit_api::Task;
use swarmkit_executor::{Assignment, Controller as _, Executor as _};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::world::{World, is_running, open, processes_of, task, until, within};

/// Set for the copy of the test that plays the program to be killed; names its state directory.
const HOST: &str = "SWARMKIT_TEST_HOST";
/// How many tasks that program starts at once.
const TASKS: usize = 12;

#[tokio::test]
async fn a_process_that_is_killed_is_told_by_its_signal() {
    let world = World::new().await;
    let run = world.script("exec sleep 3600").await;
    let pid = run.pid().await.to_string();
    assert!(std::process::Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    assert_eq!(run.wait().await.unwrap_err().to_string(), "task: non-zero exit (137): killed by SIGKILL");
    run.removed().await;
}

#[tokio::test]
async fn a_task_whose_supervisor_is_killed_ends_and_is_not_taken_for_running() {
    let world = World::new().await;
    let run = world.script("sleep 3600 & setsid sleep 3600 & sleep 3600").await;
    let pid = run.pid().await;
    until("all of them sleep", || processes_of(&run.task).len() == 4).await;
    let supervisor = world.record(&run.task, "started.json")["supervisor"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    let error = run.wait().await.unwrap_err().to_string();
    assert_eq!(error, "the task's supervisor was ended, so its exit code is not known");
    assert!(!is_running(pid));
    assert_eq!(processes_of(&run.task), [0; 0], "what it had started ends too");
    let status = run.controller.status().await.unwrap().container.unwrap();
    assert_eq!((status.pid, status.exit_code), (0, -1));
    within(run.controller.start()).await.unwrap();
    run.removed().await;
}

#[tokio::test]
async fn what_was_started_but_never_put_on_record_is_ended_before_the_task_is_started() {
    let World { dir, executor } = World::new().await;
    let sleeping = task("", |spec, _| spec.command = vec!["sleep".into(), "3600".into()]);
    let controller = executor.controller(Assignment::new(sleeping.clone())).await.unwrap();
    within(controller.prepare()).await.unwrap();
    drop((controller, executor));
    let mut stray =
        std::process::Command::new("sleep").arg("3600").env("SWARMKIT_TASK_ID", sleeping.id.as_str()).spawn().unwrap();
    until("the stray runs", || processes_of(&sleeping).len() == 1).await;

    let executor = open(dir.path()).await;
    let controller = executor.controller(Assignment::new(sleeping.clone())).await.unwrap();
    within(controller.start()).await.unwrap();
    let pid = controller.status().await.unwrap().container.unwrap().pid;
    until("it runs", || processes_of(&sleeping) == [pid]).await;
    assert!(!stray.wait().unwrap().success(), "it was killed");
    within(controller.remove()).await.unwrap();
}

#[tokio::test]
async fn a_program_killed_while_it_starts_tasks_loses_none_and_doubles_none() {
    if let Some(dir) = std::env::var_os(HOST) {
        return start_tasks(Path::new(&dir)).await;
    }
    // It says one line before each step; it is killed after so many of them.
    for lines in [1, TASKS, TASKS + 1, TASKS + 5, 2 * TASKS, 2 * TASKS + 1, 2 * TASKS + 6, 3 * TASKS] {
        let dir = tempfile::tempdir().unwrap();
        kill_after(lines, dir.path()).await;
        let executor = open(dir.path()).await;
        for task in tasks(dir.path()) {
            let controller = executor.controller(Assignment::new(Arc::clone(&task))).await.unwrap();
            within(controller.prepare()).await.unwrap();
            within(controller.start()).await.unwrap();
            let pid = controller.status().await.unwrap().container.unwrap().pid;
            // A program has its environment a moment after it has started.
            until("it runs", || processes_of(&task).contains(&pid)).await;
            assert_eq!(processes_of(&task), [pid], "killed after {lines} lines: each task runs once");
        }
        within(executor.reconcile(&[])).await.unwrap();
        for task in tasks(dir.path()) {
            assert_eq!(processes_of(&task), [0; 0], "killed after {lines} lines: what nobody knows is gone");
        }
    }
}

/// The tasks of that program: the same ones for it and for us.
fn tasks(dir: &Path) -> Vec<Arc<Task>> {
    let round: String =
        dir.file_name().unwrap().to_str().unwrap().chars().filter(char::is_ascii_alphanumeric).collect();
    let numbered = |number| {
        // Without a shell, which would have to become the program first.
        let sleeping = task("", |spec, _| spec.command = vec!["sleep".into(), "3600".into()]);
        let mut task = Task::clone(&sleeping);
        task.id = format!("{round}-{number}").as_str().into();
        Arc::new(task)
    };
    (0..TASKS).map(numbered).collect()
}

/// Plays the program: prepares and starts its tasks side by side, tells each step, and then does nothing.
async fn start_tasks(dir: &Path) {
    let executor = open(dir).await;
    let start = |task: Arc<Task>| {
        let executor = executor.clone();
        async move {
            let controller = executor.controller(Assignment::new(task)).await.unwrap();
            println!("\nstep prepare");
            controller.prepare().await.unwrap();
            println!("\nstep start");
            controller.start().await.unwrap();
            println!("\nstep done");
        }
    };
    futures_util::future::join_all(tasks(dir).into_iter().map(start)).await;
    std::future::pending::<()>().await;
}

/// Runs that program and kills it.
async fn kill_after(lines: usize, dir: &Path) {
    let name = "killed::a_program_killed_while_it_starts_tasks_loses_none_and_doubles_none";
    let mut host = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOST, dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(host.stdout.take().unwrap()).lines();
    let mut steps = 0;
    while steps < lines {
        let line = within(said.next_line()).await.unwrap().expect("it goes on until it is killed");
        steps += usize::from(line.starts_with("step "));
    }
    host.start_kill().unwrap();
    host.wait().await.unwrap();
}

#[tokio::test]
async fn a_task_that_ran_when_the_machine_was_restarted_is_told_to_be_lost_and_not_started_again() {
    let World { dir, executor } = World::new().await;
    let world = World { dir: tempfile::tempdir().unwrap(), executor };
    let run = world.script("exec sleep 3600").await;
    let (task, pid) = (run.task.clone(), run.pid().await);
    let record = dir.path().join("tasks").join(task.id.as_str()).join("started.json");
    let mut started: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    // As after a restart: nothing runs, and the record is of another boot. A process with that id is another one.
    let supervisor = started["supervisor"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &supervisor]).status().unwrap().success());
    until("it ends", || !is_running(pid)).await;
    started["boot"] = "00000000-0000-0000-0000-000000000000".into();
    started["pid"] = std::process::id().into();
    std::fs::write(&record, started.to_string()).unwrap();
    drop((run, world));

    let executor = open(dir.path()).await;
    let controller = executor.controller(Assignment::new(task.clone())).await.unwrap();
    within(controller.prepare()).await.unwrap();
    within(controller.start()).await.unwrap();
    let error = within(controller.wait()).await.unwrap_err();
    assert_eq!(error.to_string(), "the machine was restarted");
    assert_eq!(controller.status().await.unwrap().container.unwrap().exit_code, -1);
    assert_eq!(processes_of(&task), [0; 0]);
    within(controller.remove()).await.unwrap();
}

/// The processes that have `text` among their arguments, and are not just waiting to be buried.
fn processes_with(text: &str) -> Vec<i32> {
    let names = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == text.as_bytes())
    };
    names.filter(has).collect()
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_an_isolated_start_leaves_nothing_running() {
    if !crate::isolated::is_possible().await {
        return;
    }
    let world = World::new().await;
    for moment in 0..16 {
        let sleeping = task("", |spec, _| {
            spec.command = vec!["sleep".into(), "3600".into()];
            spec.hostname = "box".into();
        });
        let run = world.prepared_with(sleeping.clone(), swarmkit_executor::NoDependencies).await;
        let dir = world.dir.path().join("tasks").join(sleeping.id.as_str());
        let dir = std::fs::canonicalize(dir).unwrap();
        // What the executor itself would do, but with the end in our hands.
        let mut supervisor = Command::new(crate::world::SUPERVISOR)
            .arg("--swarmkit-supervise-task")
            .arg(&dir)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(moment)).await;
        supervisor.start_kill().unwrap();
        supervisor.wait().await.unwrap();
        let dir = dir.to_str().unwrap().to_owned();
        until("nothing of it runs", || processes_of(&sleeping).is_empty() && processes_with(&dir).is_empty()).await;
        within(run.controller.remove()).await.unwrap();
    }
}
