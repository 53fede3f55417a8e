//! Services on one node, from creation to removal.

use rustix::process::{Signal, kill_process};

use crate::harness::{Daemon, directory, mark, sleepers, wait_for, wait_until};

fn sleep<'a>(name: &'a str, replicas: &'a str, mark: &'a str) -> Vec<&'a str> {
    vec!["service", "create", "--name", name, "--replicas", replicas, "--restart-delay", "200ms", "--", "sleep", mark]
}

#[test]
fn a_service_is_created_listed_inspected_and_removed() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    let id = node.ok(&sleep("web", "3", &mark));
    node.wait_running("web", 3);
    assert_eq!(sleepers(&mark).len(), 3);

    assert_eq!(node.ok(&["service", "ls", "-q"]), id);
    let listed = node.ok(&["service", "ls"]);
    assert!(listed.lines().any(|line| line == format!("{id}  web   swarmkit.process/host  3/3")), "{listed}");
    let inspected = &node.json(&["service", "inspect", "web"])[0];
    assert_eq!((&inspected["id"], &inspected["running"]), (&id.as_str().into(), &3.into()));
    assert_eq!(inspected["args"], serde_json::json!(["sleep", mark]));
    let text = node.ok(&["service", "inspect", &id]);
    assert!(text.contains("Replicas") && text.contains("3/3") && !text.contains("==="), "{text}");

    let task = &node.running("web")[0];
    let task_id = task["id"].as_str().unwrap();
    let text = node.ok(&["task", "inspect", task_id]);
    assert!(text.contains("===> Task Parents") && text.contains(task_id), "{text}");

    assert_eq!(node.ok(&["service", "rm", "web"]), "web");
    wait_until("all processes to be gone", || sleepers(&mark).is_empty());
    wait_until("all tasks to be gone", || node.ok(&["task", "ls", "-a", "-q"]).is_empty());
    assert_eq!(node.refused(&["service", "inspect", "web"]), "Error: service web not found");
}

#[test]
fn scaling_down_takes_the_higher_slots_first() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    node.ok(&sleep("web", "3", &mark));
    node.wait_running("web", 3);
    assert_eq!(node.ok(&["service", "scale", "web=20"]), "web scaled to 20");
    node.wait_running("web", 20);
    assert_eq!(sleepers(&mark).len(), 20);
    node.ok(&["service", "scale", "web=2"]);
    let left = node.wait_running("web", 2);
    let mut slots: Vec<_> = left.iter().map(|task| task["slot"].as_u64().unwrap()).collect();
    slots.sort_unstable();
    assert_eq!(slots, [1, 2]);
    wait_until("two processes to be left", || sleepers(&mark).len() == 2);
}

#[test]
fn a_killed_process_is_replaced_and_its_exit_code_is_on_record() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    node.ok(&sleep("web", "1", &mark));
    let victim = node.wait_running("web", 1).remove(0);
    let pid = sleepers(&mark)[0];
    assert_eq!(victim["pid"], pid.as_raw_nonzero().get());
    kill_process(pid, Signal::KILL).unwrap();
    let replaced =
        wait_for("another task to run", || node.running("web").into_iter().find(|t| t["id"] != victim["id"]));
    assert_eq!(replaced["slot"], victim["slot"]);
    wait_until("exactly one process to run", || sleepers(&mark).len() == 1);
    let ended = &node.json(&["task", "inspect", victim["id"].as_str().unwrap()])[0];
    assert_eq!((&ended["state"], &ended["exit_code"]), (&"FAILED".into(), &137.into()));
}

#[test]
fn exit_codes_are_reported_as_the_status_of_the_task() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    node.ok(&["service", "create", "--name", "bad", "--restart-condition", "none", "--", "sh", "-c", "exit 3"]);
    let failed = wait_for("the task to fail", || {
        node.json(&["task", "ls", "-a"]).into_iter().find(|task| task["state"] == "FAILED")
    });
    assert_eq!(failed["exit_code"], 3);
    assert_eq!(failed["error"], "task: non-zero exit (3)");
    node.ok(&["service", "create", "--name", "job", "--mode", "replicated-job", "--replicas", "2", "--", "true"]);
    wait_until("the job to complete", || {
        let tasks = node.json(&["task", "ls", "-a"]);
        tasks.iter().filter(|task| task["service"] == "job" && task["state"] == "COMPLETE").count() == 2
    });
    assert!(node.ok(&["service", "ls"]).contains("2/2 completed"));
}

#[test]
fn an_update_replaces_tasks_one_after_the_other() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let (old, new) = (mark(), mark());
    node.ok(&sleep("web", "3", &old));
    node.wait_running("web", 3);
    node.ok(&["service", "update", "web", "--update-parallelism", "1", "--update-delay", "300ms", "--", "sleep", &new]);
    wait_until("the update to be complete", || {
        let news = sleepers(&new).len();
        let olds = sleepers(&old).len();
        assert!(news + olds >= 2, "only one task at a time is replaced, but {olds} and {news} are left");
        news == 3 && olds == 0
    });
    wait_until("the update to be told complete", || {
        node.json(&["service", "inspect", "web"])[0]["update_status"]["state"] == "COMPLETED"
    });
    assert!(node.refused(&["service", "update", "web"]).starts_with("Error: no changes detected\n\nUsage: "));
}

#[test]
fn secrets_and_configs_reach_the_tasks_that_use_them() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    std::fs::write(dir.path().join("hush"), "hush").unwrap();
    let file = dir.path().join("hush");
    let secret = node.ok(&["secret", "create", "token", "-f", file.to_str().unwrap()]);
    node.ok(&["config", "create", "motd", "-f", file.to_str().unwrap()]);
    assert_eq!(node.ok(&["secret", "ls", "-q"]), secret);
    assert!(!node.ok(&["secret", "inspect", "token"]).contains("hush"));
    assert!(node.ok(&["config", "inspect", "motd"]).ends_with("Payload:\nhush"));
    let script = "test \"$(cat $SWARMKIT_SECRETS_DIR/token $SWARMKIT_CONFIGS_DIR/m)\" = hushhush";
    node.ok(&[
        "service",
        "create",
        "--name",
        "check",
        "--mode",
        "replicated-job",
        "--restart-condition",
        "none",
        "--secret",
        "token",
        "--config",
        "motd:m",
        "--",
        "sh",
        "-c",
        script,
    ]);
    let ended = wait_for("the task to end", || {
        node.json(&["task", "ls", "-a"])
            .into_iter()
            .find(|task| task["state"] != "RUNNING" && !task["exit_code"].is_null())
    });
    assert_eq!((&ended["state"], &ended["exit_code"]), (&"COMPLETE".into(), &0.into()), "{ended}");
    assert!(node.refused(&["secret", "rm", "token"]).contains("is in use by the following service: check"));
}

#[test]
fn what_the_cluster_refuses_is_told_and_changes_nothing() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &["--executor", "inert"]);
    let create = |flags: &[&str]| {
        let all = [&["service", "create", "--image", "nginx"], flags].concat();
        node.refused(&all)
    };
    assert_eq!(create(&["--name", ""]), "Error: meta: name must be provided");
    assert_eq!(create(&["--name=-a"]), "Error: name must be valid as a DNS name component");
    assert!(create(&["--name", "a", "--constraint", "node.id"]).contains("constraint"));
    assert!(create(&["--name", "a", "--memory-limit", "1m"]).contains("invalid memory value"));
    assert_eq!(create(&["--name", "a", "--secret", "nope"]), "Error: secret not found: nope");
    assert_eq!(node.ok(&["service", "ls", "-q"]), "");
    node.ok(&["service", "create", "--name", "a", "--image", "nginx"]);
    assert!(create(&["--name", "A"]).contains("service A already exists"));
}

#[test]
fn a_node_is_paused_drained_and_activated() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let mark = mark();
    node.ok(&sleep("web", "2", &mark));
    node.wait_running("web", 2);
    let name = node.json(&["node", "ls"])[0]["hostname"].as_str().unwrap().to_owned();
    assert_eq!(node.refused(&["node", "activate", &name]), format!("Error: Node {name} is already active"));
    assert_eq!(node.ok(&["node", "drain", &name]), "");
    wait_until("the node to be empty", || sleepers(&mark).is_empty());
    assert_eq!(node.refused(&["node", "drain", &name]), format!("Error: Node {name} was already drained"));
    node.ok(&["node", "activate", &name]);
    node.wait_running("web", 2);
    node.ok(&["node", "pause", &name]);
    assert_eq!(node.json(&["node", "inspect", &name])[0]["availability"], "PAUSE");
    node.ok(&["node", "update", &name, "--label", "zone=a,disk=ssd"]);
    assert_eq!(node.json(&["node", "inspect", &name])[0]["labels"], serde_json::json!({"zone": "a", "disk": "ssd"}));
    assert_eq!(
        node.refused(&["node", "update", &name, "--label", "zone=a,disk=ssd"]),
        format!("Error: No change for node {name}")
    );
}

#[test]
fn the_cluster_shows_its_settings_and_tokens() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &["--executor", "inert"]);
    let text = node.ok(&["cluster", "inspect", "default"]);
    assert!(text.contains("  Task history entries: 5") && text.contains("    Worker: SWMTKN-1-"), "{text}");
    let json = &node.json(&["cluster", "inspect"])[0];
    assert_eq!(json["name"], "default");
    assert!(json["manager_join_token"].as_str().unwrap().starts_with("SWMTKN-1-"));
    assert_eq!(node.refused(&["cluster", "inspect", "other"]), "Error: cluster other not found");
}
