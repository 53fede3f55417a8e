//! Limits that the machine keeps.

use std::{fs, path::PathBuf};

use swarmkit_api::{Task, wire};

use crate::world::{World, is_root, task};

fn limited(memory_bytes: i64, nano_cpus: i64) -> Option<wire::ResourceRequirements> {
    let limits = wire::Resources { memory_bytes, nano_cpus, ..Default::default() };
    Some(wire::ResourceRequirements { limits: Some(limits), ..Default::default() })
}

/// The cgroups of a task. Says so and gives `None` where the machine offers none.
fn cgroups(world: &World, task: &Task) -> Option<Vec<PathBuf>> {
    let groups: Vec<PathBuf> = serde_json::from_value(world.record(task, "plan.json")["cgroups"].clone()).unwrap();
    if groups.is_empty() {
        eprintln!(
            "skipped: this machine lets user {} set no cgroup limits",
            if is_root() { "root" } else { "non-root" }
        );
        return None;
    }
    Some(groups)
}

#[tokio::test]
async fn ulimits_are_set() {
    let world = World::new().await;
    let limits = [("nofile", 50, 60), ("core", 0, 0)];
    let output = world
        .output(task("ulimit -S -n; ulimit -H -n; ulimit -c", |spec, _| {
            spec.ulimits =
                limits.map(|(name, soft, hard)| wire::container_spec::Ulimit { name: name.into(), soft, hard }).into();
        }))
        .await;
    assert_eq!(output, "50\n60\n0\n");
}

#[tokio::test]
async fn the_oom_score_is_set() {
    let world = World::new().await;
    let output = world.output(task("cat /proc/self/oom_score_adj", |spec, _| spec.oom_score_adj = 500)).await;
    assert_eq!(output, "500\n");
}

#[tokio::test]
async fn a_task_that_takes_too_much_memory_is_killed_and_says_why() {
    let world = World::new().await;
    let run = world.started(task("exec tail /dev/zero", |_, spec| spec.resources = limited(16 << 20, 0))).await;
    let Some(groups) = cgroups(&world, &run.task) else { return run.removed().await };
    let error = run.wait().await.unwrap_err().to_string();
    assert_eq!(error, "task: non-zero exit (137): killed by SIGKILL: out of memory");
    run.removed().await;
    assert!(groups.iter().all(|group| !group.exists()), "the groups go with the task");
}

#[tokio::test]
async fn a_task_cannot_have_more_processes_than_it_may() {
    let world = World::new().await;
    let script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 3600 & done; echo all";
    let run = world.started(task(script, |spec, _| spec.pids_limit = 5)).await;
    if cgroups(&world, &run.task).is_none() {
        return run.removed().await;
    }
    assert!(run.wait().await.is_err(), "the shell cannot fork");
    assert_eq!(run.output().await, "");
    run.removed().await;
}

#[tokio::test]
async fn processor_time_is_limited() {
    let world = World::new().await;
    let run = world.started(task("exec sleep 3600", |_, spec| spec.resources = limited(0, 250_000_000))).await;
    let Some(groups) = cgroups(&world, &run.task) else { return run.removed().await };
    let [group] = groups.as_slice() else { panic!("one limit, one group: {groups:?}") };
    let read = |name: &str| fs::read_to_string(group.join(name)).map(|text| text.trim().to_owned());
    match read("cpu.max") {
        Ok(limit) => assert_eq!(limit, "25000 100000"),
        Err(_) => assert_eq!(
            (read("cpu.cfs_quota_us").unwrap(), read("cpu.cfs_period_us").unwrap()),
            ("25000".into(), "100000".into())
        ),
    }
    assert_eq!(read("cgroup.procs").unwrap(), run.pid().await.to_string());
    run.removed().await;
}
