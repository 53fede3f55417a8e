//! More than one node.

use crate::harness::{Daemon, ctl, directory, free_port, mark, sleepers, wait_for, wait_until};

/// A manager that others can join, with its address and its worker's token.
pub(crate) fn manager(dir: &std::path::Path) -> (Daemon, String, String) {
    manager_with(dir, &[])
}

/// The same, started with more flags.
pub(crate) fn manager_with(dir: &std::path::Path, flags: &[&str]) -> (Daemon, String, String) {
    let addr = format!("127.0.0.1:{}", free_port().unwrap());
    let node = Daemon::start(dir, &[&["--listen-remote-api", &addr], flags].concat());
    let token = node.json(&["cluster", "inspect"])[0]["worker_join_token"].as_str().unwrap().to_owned();
    (node, addr, token)
}

pub(crate) fn node_state(manager: &Daemon, hostname: &str) -> Option<String> {
    let nodes = manager.json(&["node", "ls"]);
    let node = nodes.into_iter().find(|node| node["hostname"] == hostname)?;
    node["state"].as_str().map(str::to_owned)
}

#[test]
fn a_worker_joins_takes_tasks_loses_them_when_killed_and_is_ready_again() {
    let (a, b) = (directory(), directory());
    let (manager, addr, token) = manager(a.path());
    let join = ["--join-addr", &addr, "--join-token", &token];
    let mut worker = Daemon::start(b.path(), &join);
    let worker_name = b.path().file_name().unwrap().to_str().unwrap();
    wait_until("the worker to be ready", || node_state(&manager, worker_name).as_deref() == Some("READY"));

    let mark = mark();
    manager.ok(&["service", "create", "--name", "web", "--replicas", "4", "--", "sleep", &mark]);
    let tasks = manager.wait_running("web", 4);
    let on_worker = tasks.iter().filter(|task| task["node"] == worker_name).count();
    assert_eq!(on_worker, 2, "tasks are spread evenly");

    worker.kill();
    wait_until("the worker to be down", || node_state(&manager, worker_name).as_deref() == Some("DOWN"));
    wait_for("its tasks to have moved", || {
        let tasks = manager.running("web");
        (tasks.len() == 4 && tasks.iter().all(|task| task["node"] != worker_name)).then_some(())
    });

    worker.clear_log();
    let _worker = Daemon::start(b.path(), &join);
    wait_until("the worker to be ready again", || node_state(&manager, worker_name).as_deref() == Some("READY"));
    wait_until("what it ran before to be gone", || sleepers(&mark).len() == 4);
}

#[test]
fn a_worker_is_promoted_takes_over_and_the_old_leader_is_demoted() {
    let (a, b) = (directory(), directory());
    let (first, addr, token) = manager(a.path());
    let _second = Daemon::start(b.path(), &["--join-addr", &addr, "--join-token", &token]);
    let name = |dir: &tempfile::TempDir| dir.path().file_name().unwrap().to_str().unwrap().to_owned();
    let (old, new) = (name(&a), name(&b));
    assert_eq!(first.refused(&["node", "demote", &new]), format!("Error: Node {new} is already a worker"));
    let last = "Error: attempting to demote the last manager of the swarm";
    assert_eq!(first.refused(&["node", "demote", &old]), last);

    assert_eq!(first.ok(&["node", "promote", &new]), "");
    assert_eq!(first.refused(&["node", "promote", &new]), format!("Error: Node {new} is already a manager"));
    let second = b.path().join("swarmd.sock");
    let shown = |dir: &std::path::Path| {
        let output = ctl(dir, &["node", "ls"]);
        String::from_utf8(output.stdout).unwrap()
    };
    wait_until("two managers", || shown(&second).matches(" REACHABLE").count() == 2);
    // It is refused until the new manager has its vote.
    wait_until("the demotion", || ctl(&second, &["node", "demote", &old]).status.success());
    let leads = |line: &str| line.contains(&new) && line.trim_end().ends_with("REACHABLE *");
    wait_until("one manager, which leads", || {
        let nodes = shown(&second);
        nodes.matches(" REACHABLE").count() == 1 && nodes.lines().any(leads)
    });
    wait_until("the old leader's log to be gone", || !a.path().join("state/raft").exists());
}

#[test]
fn a_node_that_cannot_join_says_why_in_one_line_and_fails() {
    let a = directory();
    let (_manager, addr, token) = manager(a.path());
    let nobody = format!("127.0.0.1:{}", free_port().unwrap());
    let parts: Vec<_> = token.split('-').collect();
    let wrong_secret = format!("{}-{}-{}-{}", parts[0], parts[1], parts[2], "0".repeat(parts[3].len()));
    let wrong_root = format!("{}-{}-{}-{}", parts[0], parts[1], "0".repeat(parts[2].len()), parts[3]);
    for (addr, token, cause) in [
        (&nobody, &token, "refused"),
        (&addr, &wrong_secret, "token"),
        (&addr, &wrong_root, "fingerprint"),
        (&addr, &"nonsense".to_owned(), "token"),
    ] {
        let b = directory();
        let mut node = Daemon::launch(b.path(), &["--join-addr", addr, "--join-token", token, "--log-level", "error"]);
        assert_eq!(node.wait_end().code(), Some(1), "{}", node.log());
        let log = node.log();
        assert_eq!(log.trim_end().lines().count(), 1, "{log}");
        assert!(log.starts_with("swarmd: ") && log.contains(cause), "{cause}: {log}");
    }
}
