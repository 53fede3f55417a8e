//! Managers that are lost, and what `docs/recovery.md` says to do about it.

use std::path::Path;

use crate::harness::{Daemon, directory, free_port, mark, sleepers, swarmd, wait_until};

/// Runs `swarmd` to its end, and gives what it printed.
fn run(args: &[&str]) -> Result<String, String> {
    let output = swarmd().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the cluster knows of the node in a directory.
fn node_in(manager: &Daemon, dir: &Path) -> Option<serde_json::Value> {
    let hostname = dir.file_name()?.to_str()?;
    manager.json(&["node", "ls"]).into_iter().find(|node| node["hostname"] == hostname)
}

fn is_ready(manager: &Daemon, dir: &Path) -> bool {
    node_in(manager, dir).is_some_and(|node| node["state"] == "READY")
}

/// How many managers are reached.
fn managers(node: &Daemon) -> usize {
    node.json(&["node", "ls"]).into_iter().filter(|node| node["manager"]["reachability"] == "REACHABLE").count()
}

fn token(node: &Daemon, role: &str) -> String {
    node.json(&["cluster", "inspect"])[0][format!("{role}_join_token")].as_str().unwrap().to_owned()
}

#[test]
fn a_lost_manager_is_removed_and_another_takes_its_place() {
    let dirs = [directory(), directory(), directory(), directory()];
    let addr = format!("127.0.0.1:{}", free_port().unwrap());
    let first = Daemon::start(dirs[0].path(), &["--listen-remote-api", &addr]);
    let join = ["--join-addr", &addr, "--join-token", &token(&first, "manager")];
    let _second = Daemon::start(dirs[1].path(), &join);
    let mut lost = Daemon::start(dirs[2].path(), &join);
    wait_until("three managers", || managers(&first) == 3);
    first.ok(&["service", "create", "--name", "web", "--replicas", "0", "--", "sleep", "1"]);
    let id = node_in(&first, dirs[2].path()).unwrap()["id"].as_str().unwrap().to_owned();
    lost.kill();

    // Both are refused until the others have noticed.
    wait_until("the lost manager to be demoted", || first.ctl(&["node", "demote", &id]).status.success());
    wait_until("the lost node to be removed", || first.ctl(&["node", "remove", &id]).status.success());
    assert_eq!(managers(&first), 2);
    let replacement = Daemon::start(dirs[3].path(), &join);
    wait_until("three managers again", || managers(&first) == 3);
    assert_eq!(replacement.json(&["service", "ls"]).len(), 1, "it has what was there before it");
    replacement.ok(&["service", "create", "--name", "more", "--replicas", "0", "--", "sleep", "1"]);

    // The lost one was removed for good: it cannot come back with what it still has.
    let mut returned = Daemon::launch(dirs[2].path(), &["--log-level", "error"]);
    assert_eq!(returned.wait_end().code(), Some(1), "{}", returned.log());
    let told = "this node was removed from its cluster: to join again, start over with an empty directory";
    assert!(returned.log().contains(told), "{}", returned.log());
    assert_eq!(managers(&first), 3);
}

/// A manager, a worker that runs a task, and a backup.
struct Before {
    manager: Daemon,
    worker: Daemon,
    mark: String,
}

impl Before {
    fn new(old: &Path, worker: &Path, addr: &str, file: &Path, key: &Path) -> Self {
        let manager = Daemon::start(old, &["--listen-remote-api", addr]);
        let join = ["--join-addr", addr, "--join-token", &token(&manager, "worker")];
        let worker = Daemon::start(worker, &join);
        wait_until("the worker to be ready", || is_ready(&manager, &worker.dir));
        let mark = mark();
        let on_worker = format!("node.hostname=={}", worker.dir.file_name().unwrap().to_str().unwrap());
        manager.ok(&["service", "create", "--name", "web", "--constraint", &on_worker, "--", "sleep", &mark]);
        manager.wait_running("web", 1);
        manager.ok(&["cluster", "backup", text(file), "--key-file", text(key)]);
        Self { manager, worker, mark }
    }
}

#[test]
fn a_worker_finds_a_restored_manager_at_the_old_address_and_its_task_runs_on() {
    let (old, new, worker, safe) = (directory(), directory(), directory(), directory());
    let (file, key) = (safe.path().join("backup"), safe.path().join("key"));
    let addr = format!("127.0.0.1:{}", free_port().unwrap());
    let mut before = Before::new(old.path(), worker.path(), &addr, &file, &key);
    let task = sleepers(&before.mark);
    before.manager.kill();

    let dir = new.path().join("state");
    let restore = ["restore", text(&file), "--key-file", text(&key), "--state-dir", text(&dir)];
    run(&[&restore[..], &["--advertise-remote-api", &addr]].concat()).unwrap();
    let manager = Daemon::start(new.path(), &["--listen-remote-api", &addr]);
    wait_until("the worker to be ready", || is_ready(&manager, worker.path()));
    assert_eq!(manager.wait_running("web", 1).len(), 1);
    assert_eq!(sleepers(&before.mark), task, "the same process, all the time");
    manager.ok(&["service", "remove", "web"]);
    wait_until("the task to be gone", || sleepers(&before.mark).is_empty());
}

#[test]
fn a_worker_is_told_where_a_restored_manager_is_and_needs_no_token() {
    let (old, new, worker, safe) = (directory(), directory(), directory(), directory());
    let (file, key) = (safe.path().join("backup"), safe.path().join("key"));
    let addr = format!("127.0.0.1:{}", free_port().unwrap());
    let mut before = Before::new(old.path(), worker.path(), &addr, &file, &key);
    let task = sleepers(&before.mark);
    before.manager.kill();

    let (addr, dir) = (format!("127.0.0.1:{}", free_port().unwrap()), new.path().join("state"));
    let restore = ["restore", text(&file), "--key-file", text(&key), "--state-dir", text(&dir)];
    run(&[&restore[..], &["--advertise-remote-api", &addr]].concat()).unwrap();
    let manager = Daemon::start(new.path(), &["--listen-remote-api", &addr]);
    before.worker.kill();
    let _worker = Daemon::start(worker.path(), &["--join-addr", &addr]);
    wait_until("the worker to be ready", || is_ready(&manager, worker.path()));
    assert_eq!(manager.wait_running("web", 1).len(), 1);
    assert_eq!(sleepers(&before.mark), task, "adopted, not restarted");
    manager.ok(&["service", "remove", "web"]);
    wait_until("the task to be gone", || sleepers(&before.mark).is_empty());
}

#[test]
fn a_cluster_whose_managers_are_lost_begins_again_elsewhere_from_its_backup() {
    let (old, new, safe) = (directory(), directory(), directory());
    let (file, key) = (safe.path().join("backup"), safe.path().join("key"));
    let mut lost = Daemon::start(old.path(), &[]);
    let mark = mark();
    lost.ok(&["service", "create", "--name", "web", "--replicas", "2", "--", "sleep", &mark]);
    lost.wait_running("web", 2);
    let saved = lost.ok(&["cluster", "backup", text(&file), "--key-file", text(&key), "--format", "json"]);
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert!(saved["version"].as_u64().unwrap() > 0 && saved["bytes"].as_u64().unwrap() > 0, "{saved}");
    let refused = lost.refused(&["cluster", "backup", text(&file), "--key-file", text(&key)]);
    assert!(refused.contains("exists"), "{refused}");
    lost.ok(&["service", "remove", "web"]);
    wait_until("the tasks to be gone", || sleepers(&mark).is_empty());
    lost.kill();

    let (addr, dir) = (format!("127.0.0.1:{}", free_port().unwrap()), new.path().join("state"));
    let restore = ["restore", text(&file), "--key-file", text(&key), "--state-dir", text(&dir)];
    let restore = [&restore[..], &["--advertise-remote-api", &addr]].concat();
    let told = run(&restore).unwrap();
    assert!(told.contains("1 services") && told.contains("swarmctl node remove --force"), "{told}");
    let again = run(&restore).unwrap_err();
    assert!(again.contains("is not empty"), "{again}");

    let node = Daemon::start(new.path(), &["--listen-remote-api", &addr]);
    // The node that ran them is first found to be gone.
    wait_until("the tasks to run on the new node", || sleepers(&mark).len() == 2);
    let former: Vec<_> = node.json(&["node", "ls"]).into_iter().filter(|node| node["manager"].is_null()).collect();
    assert_eq!(former.len(), 1, "{former:?}");
    node.ok(&["node", "remove", "--force", former[0]["id"].as_str().unwrap()]);
    node.ok(&["service", "remove", "web"]);
    wait_until("the tasks to be gone", || sleepers(&mark).is_empty());
}

#[test]
fn a_backup_without_its_key_is_refused_and_nothing_is_begun() {
    let (old, new, safe) = (directory(), directory(), directory());
    let (file, key, other) = (safe.path().join("backup"), safe.path().join("key"), safe.path().join("other"));
    let node = Daemon::start(old.path(), &[]);
    node.ok(&["cluster", "backup", text(&file), "--key-file", text(&key)]);
    node.ok(&["cluster", "backup", text(&safe.path().join("second")), "--key-file", text(&other)]);
    let dir = new.path().join("state");
    for (key, reason) in [(&other, "sealed with another key"), (&safe.path().join("none"), "cannot use the key file")] {
        let restore = ["restore", text(&file), "--key-file", text(key), "--state-dir", text(&dir)];
        let told = run(&[&restore[..], &["--advertise-remote-api", "127.0.0.1:1"]].concat()).unwrap_err();
        assert!(told.contains(reason), "{told}");
        assert!(!dir.exists());
    }
}

#[test]
fn a_survivor_of_a_lost_quorum_goes_on_alone_and_others_join_it() {
    let (first, second, third) = (directory(), directory(), directory());
    let addr = format!("127.0.0.1:{}", free_port().unwrap());
    let mut survivor = Daemon::start(first.path(), &["--listen-remote-api", &addr]);
    let join = ["--join-addr", &addr, "--join-token", &token(&survivor, "manager")];
    let mut lost = Daemon::start(second.path(), &join);
    wait_until("both to be managers", || managers(&survivor) == 2);
    survivor.ok(&["service", "create", "--name", "web", "--replicas", "0", "--", "sleep", "1"]);
    lost.kill();
    survivor.kill();

    let refused = run(&["--state-dir", text(third.path()), "--force-new-cluster"]).unwrap_err();
    assert!(refused.contains("is not the state of a manager"), "{refused}");
    survivor.clear_log();
    let alone = Daemon::start(first.path(), &["--listen-remote-api", &addr, "--force-new-cluster"]);
    assert_eq!(alone.json(&["service", "ls"]).len(), 1);
    alone.ok(&["service", "create", "--name", "more", "--replicas", "0", "--", "sleep", "1"]);
    assert_eq!(managers(&alone), 1);

    let joined = Daemon::start(third.path(), &["--join-addr", &addr, "--join-token", &token(&alone, "manager")]);
    wait_until("the new one to be a manager", || managers(&alone) == 2);
    assert_eq!(joined.json(&["service", "ls"]).len(), 2);
}
