//! Engines that are killed, or told to stop, under tasks that run.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{Controller as _, Executor as _, FixedDependencies};

use crate::{
    engine::OwnEngine,
    world::{Ground, Run, World, task, within},
};

/// A task that ends with 5 when there is a file `go` in a directory of this machine.
fn until_go(dir: &Path) -> Task {
    let source = dir.to_str().unwrap().to_owned();
    task("while [ ! -e /told/go ]; do sleep 0.1; done; exit 5", |spec, _| {
        let kind = wire::mount::Type::Bind.into();
        spec.mounts = vec![wire::Mount { r#type: kind, source, target: "/told".into(), ..Default::default() }];
    })
}

/// Two tasks: one that goes on for ever, and one that ends when it is told.
async fn two(world: &World, told: &Path) -> (Run, Run) {
    let stays = world.started(task("exec sleep 3600", |_, _| {}), FixedDependencies::new()).await;
    let ends = world.started(until_go(told), FixedDependencies::new()).await;
    (stays, ends)
}

async fn world(ground: Ground) -> World {
    let dir = tempfile::tempdir().unwrap();
    let executor = ground.open(dir.path()).await;
    World { ground, dir, executor }
}

/// The process of a task that runs.
async fn pid(run: &Run) -> i32 {
    run.status().await.container.map_or(0, |container| container.pid)
}

/// Waits until there is no process of that id.
async fn gone(pid: i32) {
    while Path::new(&format!("/proc/{pid}")).exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn tasks_run_on_under_an_engine_that_keeps_them_and_end_once_under_one_that_does_not() {
    let Some(mut engine) = OwnEngine::find() else { return };
    let told = tempfile::tempdir().unwrap();

    // One that keeps containers is killed: what ran runs on, and an end that nobody saw has its code.
    let world = world(engine.start(true).await).await;
    let (stays, ends) = two(&world, told.path()).await;
    let (before, ending) = (pid(&stays).await, pid(&ends).await);
    assert!(before > 0 && ending > 0);
    engine.end(Signal::KILL).await;
    let error = within(stays.controller.status()).await.unwrap_err();
    assert!(error.is_temporary(), "{error:?}");
    let mut wait = Box::pin(stays.controller.wait());
    assert!(futures_util::poll!(&mut wait).is_pending());
    fs::write(told.path().join("go"), "").unwrap();
    within(gone(ending)).await;
    engine.start(true).await;
    let error = within(ends.controller.wait()).await.unwrap_err();
    assert_eq!(error.exit_code(), Some(5), "{error:?}");
    assert_eq!(pid(&stays).await, before, "it was not started anew");
    drop(wait);
    within(stays.controller.shutdown()).await.unwrap();
    within(world.executor.reconcile(&[])).await.unwrap();
    engine.end(Signal::TERM).await;

    // One that does not keep them ends them, killed or told to stop: that is seen, and they are not started again.
    fs::remove_file(told.path().join("go")).unwrap();
    engine.start(false).await;
    for signal in [Signal::KILL, Signal::TERM] {
        let (stays, ends) = two(&world, told.path()).await;
        engine.end(signal).await;
        engine.start(false).await;
        for run in [&stays, &ends] {
            let error = within(run.controller.wait()).await.unwrap_err();
            assert!(error.exit_code().is_some_and(|code| code != 0), "{signal:?}: {error:?}");
            within(run.controller.start()).await.unwrap();
            assert_eq!(pid(run).await, 0, "{signal:?}: a task is started once");
        }
        within(world.executor.reconcile(&[])).await.unwrap();
    }
    engine.end(Signal::TERM).await;
}
