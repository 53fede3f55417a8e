//! Updates that fail, and the ways back, as an operator sees them.

use crate::harness::{Daemon, directory, mark, sleepers, wait_until};

/// What `service inspect` says of the rollout of a service: its state, and the message.
fn status(node: &Daemon, name: &str) -> (String, String) {
    let status = &node.json(&["service", "inspect", name])[0]["update_status"];
    let text = |part: &str| status[part].as_str().unwrap_or_default().to_owned();
    (text("state"), text("message"))
}

#[test]
fn an_update_that_fails_is_paused_and_goes_back_and_forth_as_it_is_told() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    let create = ["service", "create", "--name", "web", "--replicas", "3", "--update-monitor", "1s"];
    node.ok(&[&create[..], &["--rollback-monitor", "1s", "--", "sleep", &mark]].concat());
    node.wait_running("web", 3);
    let refused = node.refused(&["service", "rollback", "web"]);
    assert!(refused.contains("does not have a previous spec"), "{refused}");

    // What never runs holds the update up at the first slot.
    node.ok(&["service", "update", "web", "--command", "/no/such/program"]);
    wait_until("the update to pause", || status(&node, "web").0 == "PAUSED");
    let (_, message) = status(&node, "web");
    assert!(message.starts_with("update paused due to failure or early termination of task "), "{message}");
    assert!(node.ok(&["service", "ls"]).contains("(update paused)"));
    assert_eq!(sleepers(&mark).len(), 2, "one slot was touched");

    node.ok(&["service", "rollback", "web"]);
    wait_until("the rollback to be over", || status(&node, "web").0 == "ROLLBACK_COMPLETED");
    assert_eq!(status(&node, "web").1, "rollback completed");
    wait_until("all to run again", || sleepers(&mark).len() == 3);

    // What is gone back to by itself is what was before.
    node.ok(&[
        "service",
        "update",
        "web",
        "--command",
        "/bin/sh",
        "--args",
        "-c,exit 4",
        "--update-on-failure",
        "rollback",
    ]);
    wait_until("the update to be undone", || status(&node, "web").0 == "ROLLBACK_COMPLETED");
    wait_until("all to run again", || sleepers(&mark).len() == 3);
}
