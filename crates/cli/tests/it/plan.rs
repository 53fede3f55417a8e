//! What would become of services, and why their tasks wait.

use serde_json::{Value, json};

use crate::harness::{Daemon, directory, mark, sleepers, wait_until};

/// Runs a plan and gives what it printed, and the exit code.
fn plan(node: &Daemon, args: &[&str]) -> (Value, i32) {
    let output = node.ctl(&[&["service", "plan", "--format", "json"], args].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    let found = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{args:?}: {text}{error}"));
    (found, output.status.code().unwrap())
}

#[test]
fn a_service_is_planned_before_it_is_created_and_explained_while_it_waits() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    let flags = ["--name", "web", "--replicas", "2", "--", "sleep", mark.as_str()];
    let (told, code) = plan(&node, &flags);
    assert_eq!((code, &told["created"], &told["waits"]), (0, &json!(2), &json!([])));
    assert_eq!(told["placements"][0]["created"], 2);
    assert_eq!(node.ok(&["service", "ls", "-q"]), "", "a plan creates nothing");

    let nowhere = ["--name", "far", "--replicas", "2", "--constraint", "node.labels.zone==moon", "--", "sleep", &mark];
    let (told, code) = plan(&node, &nowhere);
    assert_eq!((code, &told["placements"]), (2, &json!([])));
    let text = "no suitable node (scheduling constraints not satisfied on 1 node)";
    assert_eq!((&told["waits"][0]["tasks"], &told["waits"][0]["message"]), (&json!(2), &json!(text)));
    let need = &told["waits"][0]["explanation"]["refusals"][0]["needs"][0];
    assert_eq!(need["constraint"]["expression"], "node.labels.zone==moon");
    let output = node.ctl(&[&["service", "plan", "--nodes", "5"], &nowhere[..]].concat());
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(
        shown.contains("2 Tasks Would Wait") && shown.contains("does not satisfy node.labels.zone==moon"),
        "{shown}"
    );
    assert_eq!((output.status.code(), output.stderr.len()), (Some(2), 0));

    // What is created then is what was planned.
    node.ok(&[&["service", "create"], &nowhere[..]].concat());
    wait_until("its tasks to wait", || node.json(&["service", "ls"])[0]["waiting_tasks"][0]["tasks"] == 2);
    let inspected = &node.json(&["service", "inspect", "far"])[0]["waiting_tasks"][0];
    assert_eq!((&inspected["message"], &inspected["explanation"]["nodes"]), (&json!(text), &json!(1)));
    let shown = node.ok(&["service", "inspect", "far"]);
    assert!(shown.contains("===> Waiting Tasks") && shown.contains(&format!("2 tasks: {text}")), "{shown}");
    let task = node.ok(&["task", "ls", "-q"]).lines().next().unwrap().to_owned();
    let shown = node.ok(&["task", "inspect", &task]);
    assert!(shown.contains("===> Waiting For") && shown.contains("1 node: does not satisfy"), "{shown}");
    assert_eq!(node.json(&["task", "inspect", &task])[0]["waiting_for"]["standing"], "WAITING");

    // And a change of it is planned by its name.
    let (told, code) = plan(&node, &["far", "--constraint", "node.labels.zone!=moon", "--replicas", "3"]);
    assert_eq!((code, &told["replaced"], &told["created"]), (0, &json!(2), &json!(3)));
    assert_eq!(node.json(&["service", "inspect", "far"])[0]["replicas"], 2, "a plan changes nothing");
    assert_eq!(node.refused(&["service", "plan", "--name", "far", "--", "true"]).lines().count(), 1);
    assert_eq!(sleepers(&mark).len(), 0);
}
