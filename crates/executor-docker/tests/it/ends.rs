//! How tasks end, and what they have written until then.

use std::{path::Path, time::Duration};

use futures_util::TryStreamExt as _;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{Controller as _, ExecError, Executor as _, FixedDependencies, LogOptions};

use crate::world::{World, task, within};

/// A task that sees a directory of this machine at `/told`.
fn telling(script: &str, dir: &Path, change: impl FnOnce(&mut wire::ContainerSpec)) -> Task {
    let source = dir.to_str().unwrap().to_owned();
    task(script, |spec, _| {
        let kind = wire::mount::Type::Bind.into();
        spec.mounts = vec![wire::Mount { r#type: kind, source, target: "/told".into(), ..Default::default() }];
        change(spec);
    })
}

/// Waits until there is a file. It stays.
async fn there(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_that_nobody_asks_for_any_more_is_asked_to_stop_before_it_is_removed() {
    let Some(world) = World::find().await else { return };
    let told = tempfile::tempdir().unwrap();
    let script = "trap 'echo >/told/stopped; exit 0' TERM; echo >/told/runs; while :; do sleep 0.05; done";
    world.started(telling(script, told.path(), |_| {}), FixedDependencies::new()).await;
    within(there(&told.path().join("runs"))).await;
    within(world.executor.reconcile(&[])).await.unwrap();
    assert!(told.path().join("stopped").exists(), "it has had time to write that down");
    world.end().await;
}

#[tokio::test]
async fn a_task_that_never_was_well_fails_also_if_its_stop_was_cut_off_and_it_ended_well() {
    let Some(world) = World::find().await else { return };
    let told = tempfile::tempdir().unwrap();
    let unwell = |spec: &mut wire::ContainerSpec| {
        spec.healthcheck = Some(wire::HealthConfig {
            test: vec!["CMD-SHELL".into(), "exit 1".into()],
            interval: Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 }),
            retries: 1,
            ..Default::default()
        });
    };
    let script = "trap 'echo >/told/asked; sleep 0.5; exit 0' TERM; while :; do sleep 0.05; done";
    let run = world.controller(telling(script, told.path(), unwell), FixedDependencies::new()).await;
    within(run.controller.prepare()).await.unwrap();
    let asked = told.path().join("asked");
    tokio::select! { biased; // dropped while it stops
        end = run.controller.start() => panic!("it stops slowly, and yet: {end:?}"),
        () = within(there(&asked)) => {}
    }
    for _ in 0..2 {
        let error = within(run.controller.start()).await.unwrap_err();
        assert!(matches!(error, ExecError::Failed(_)), "{error:?}");
        assert!(error.to_string().starts_with("unhealthy container"), "{error}");
    }
    world.end().await;
}

#[tokio::test]
async fn output_is_read_from_a_moment_on() {
    let Some(world) = World::find().await else { return };
    let run =
        world.started(task("echo one; sleep 0.05; echo two; echo three", |_, _| {}), FixedDependencies::new()).await;
    within(run.controller.wait()).await.unwrap();
    let read = async |options: LogOptions| -> Vec<_> {
        within(within(run.controller.logs(options)).await.unwrap().try_collect()).await.unwrap()
    };
    let all = read(LogOptions::default()).await;
    let text = |record: &swarmkit_executor::LogRecord| String::from_utf8_lossy(&record.data).trim().to_owned();
    assert_eq!(all.iter().map(text).collect::<Vec<_>>(), ["one", "two", "three"]);
    let later = read(LogOptions { since: Some(all[1].timestamp), ..Default::default() }).await;
    assert_eq!(later.iter().map(text).collect::<Vec<_>>(), ["two", "three"], "to the nanosecond");
    world.end().await;
}
