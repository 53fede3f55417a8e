//! Services that wait for others, and services that wait to go.

use rustix::process::{Signal, kill_process};

use crate::harness::{Daemon, directory, mark, sleepers, wait_for, wait_until};

/// The line of a service in `service ls`.
fn line(node: &Daemon, name: &str) -> String {
    let listed = node.ok(&["service", "ls"]);
    let line = listed.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
    line.unwrap_or_default().split_whitespace().skip(3).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_service_waits_for_another_and_says_so() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    node.ok(&["service", "create", "--name", "web", "--depends-on", "db:healthy", "--", "sleep", &mark]);
    wait_until("it to wait", || line(&node, "web") == "0/1 (waiting)");
    let waits = &node.json(&["service", "inspect", "web"])[0];
    assert_eq!(waits["depends_on"], serde_json::json!([{"service": "db", "condition": "HEALTHY"}]));
    assert_eq!(waits["waiting"]["message"], "waits for db to be created");
    let text = node.ok(&["service", "inspect", "web"]);
    assert!(text.contains(": db:healthy\n") && text.contains(": waits for db to be created\n"), "{text}");
    assert_eq!(node.ok(&["task", "ls", "-a", "-q"]), "", "it has no task that could be in the way");

    let closes = ["service", "create", "--name", "db", "--depends-on", "web", "--", "sleep", &mark];
    let refused = node.refused(&closes);
    assert_eq!(refused, "Error: services cannot wait for each other: db -> web -> db");
    node.ok(&["service", "create", "--name", "db", "--replicas", "2", "--", "sleep", &mark]);
    node.wait_running("web", 1);
    assert_eq!(node.json(&["service", "inspect", "web"])[0]["waiting"], serde_json::Value::Null);
    assert_eq!(sleepers(&mark).len(), 3);
}

#[test]
fn a_service_that_is_removed_later_keeps_its_name_until_its_task_has_stopped() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    let command = format!("trap '' TERM; exec sleep {mark}");
    let create = ["service", "create", "--name", "web", "--stop-grace-period", "5m", "--", "/bin/sh", "-c", &command];
    node.ok(&create);
    node.wait_running("web", 1);
    // Before that it would still listen to what tells it to stop.
    let pid = wait_for("the process to be what it becomes", || sleepers(&mark).first().copied());
    assert_eq!(node.ok(&["service", "rm", "--deferred", "web"]), "web");
    assert_eq!(line(&node, "web"), "1/1 (removing)");
    assert_eq!(node.json(&["service", "inspect", "web"])[0]["removing"], true);
    let refused = node.refused(&["service", "scale", "web=2"]);
    assert_eq!(refused, "Error: service web is being removed and cannot be updated");
    let refused = node.refused(&create);
    assert!(refused.contains("service web already exists, but is being removed"), "{refused}");
    kill_process(pid, Signal::KILL).unwrap();
    wait_until("the service to be gone", || node.ok(&["service", "ls", "-q"]).is_empty());
    node.ok(&["service", "create", "--name", "web", "--", "sleep", &mark]);
}
