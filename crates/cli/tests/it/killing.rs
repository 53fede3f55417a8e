//! A worker that is killed again and again while what it shall run changes.
//!
//! Its tasks write down their own starts, so nothing that the worker believes is believed here.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

use rustix::process::{Signal, kill_process};

use crate::{
    cluster::{manager_with, node_state},
    harness::{Daemon, directory, mark, sleepers, wait_until},
};

/// How many rounds there are unless this variable says another number. A node may register three times in eight
/// seconds, so many more take many seconds.
const ROUNDS: (&str, u64) = ("SWARMKIT_KILL_ROUNDS", 2);
/// The most tasks that are wanted at a time.
const REPLICAS: u64 = 9;

/// Ends what sleeps, however the test ends.
struct Sweep(String);

impl Drop for Sweep {
    fn drop(&mut self) {
        for pid in sleepers(&self.0) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// Numbers that are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The processes of each task, as they have written down themselves.
fn starts(journal: &Path) -> BTreeMap<String, Vec<String>> {
    let mut starts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for line in fs::read_to_string(journal).unwrap_or_default().lines() {
        let (task, process) = line.split_once(' ').unwrap();
        starts.entry(task.to_owned()).or_default().push(process.to_owned());
    }
    starts
}

#[test]
fn a_worker_that_is_killed_at_random_moments_loses_no_task_and_starts_none_twice() {
    let rounds = std::env::var(ROUNDS.0).map_or(ROUNDS.1, |rounds| rounds.parse().unwrap());
    let (a, b) = (directory(), directory());
    let journal = a.path().join("starts");
    let mark = mark();
    let (manager, addr, token) = manager_with(a.path(), &["--executor", "inert"]);
    let name = |dir: &Path| dir.file_name().unwrap().to_str().unwrap().to_owned();
    manager.ok(&["node", "drain", &name(a.path())]);
    let join = ["--join-addr", &addr, "--join-token", &token];
    let mut worker = Daemon::start(b.path(), &join);
    let _sweep = Sweep(mark.clone());
    wait_until("the worker to be ready", || node_state(&manager, &name(b.path())).as_deref() == Some("READY"));

    let script = format!("echo \"$SWARMKIT_TASK_ID $$\" >> {}; exec sleep {mark}", journal.display());
    manager.ok(&["service", "create", "--name", "web", "--replicas", "3", "--", "sh", "-c", &script]);
    let (mut chance, mut replicas) = (Chance(7), 3);
    for round in 0..rounds {
        if round % 3 == 2 {
            manager.ok(&["service", "update", "--force", "web"]);
        }
        // Another number than before.
        replicas = 1 + (replicas + chance.below(REPLICAS - 1)) % REPLICAS;
        manager.ok(&["service", "update", "--replicas", &replicas.to_string(), "web"]);
        thread::sleep(Duration::from_millis(chance.below(400)));
        worker.kill();
        worker.clear_log();
        // It is killed again, most likely while it looks for what is left.
        worker = Daemon::launch(b.path(), &join);
        thread::sleep(Duration::from_millis(chance.below(250)));
        worker.kill();
        worker.clear_log();
        worker = Daemon::start(b.path(), &join);
    }

    if replicas != 5 {
        manager.ok(&["service", "update", "--replicas", "5", "web"]);
    }
    let tasks = manager.wait_running("web", 5);
    wait_until("five processes", || sleepers(&mark).len() == 5);
    let starts = starts(&journal);
    for (task, processes) in &starts {
        assert_eq!(processes.len(), 1, "task {task} was started more than once");
    }
    let running: Vec<_> = sleepers(&mark).iter().map(|pid| pid.as_raw_nonzero().to_string()).collect();
    for task in &tasks {
        let id = task["id"].as_str().unwrap();
        assert!(running.contains(&starts[id][0]), "the process of {id} is the one that it was started with");
    }
    let lost: Vec<_> = manager
        .json(&["task", "ls", "-a"])
        .into_iter()
        .filter(|task| !matches!(task["state"].as_str().unwrap(), "RUNNING" | "SHUTDOWN" | "REMOVE"))
        .filter(|task| task["desired_state"] == "RUNNING" || starts.contains_key(task["id"].as_str().unwrap()))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");

    manager.ok(&["service", "rm", "web"]);
    wait_until("nothing to sleep any more", || sleepers(&mark).is_empty());
}
