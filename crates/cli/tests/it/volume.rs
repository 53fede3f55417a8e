//! Cluster volumes on a node without plugins: they wait to be made, and so do the tasks that want them.

use crate::harness::{Daemon, directory, wait_until};

#[test]
fn a_volume_is_created_listed_changed_and_removed() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "hush").unwrap();
    node.ok(&["secret", "create", "token", "-f", secret.to_str().unwrap()]);
    let flags = ["--driver", "disks", "--group", "fast", "--sharing", "all", "--secret", "key=token"];
    let id = node.ok(&[&["volume", "create", "data"][..], &flags].concat());
    assert_eq!(node.ok(&["volume", "ls", "-q"]), id);
    let why = "error creating volume: this manager has no storage plugin \"disks\"; each manager needs it";
    let waits = || node.json(&["volume", "inspect", "data"])[0]["waiting"]["message"] == why;
    wait_until("the volume to say what it waits for", waits);
    let shown = &node.json(&["volume", "inspect", "data"])[0];
    assert_eq!(
        (&shown["id"], &shown["group"], &shown["sharing"]),
        (&id.as_str().into(), &"fast".into(), &"ALL".into())
    );
    assert_eq!((&shown["volume_id"], &shown["availability"]), (&serde_json::Value::Null, &"ACTIVE".into()));
    assert!(node.ok(&["volume", "inspect", &id[..8]]).contains("pending creation"));

    assert_eq!(node.refused(&["volume", "update", "data"]), "Error: No change for volume data");
    assert_eq!(node.ok(&["volume", "update", "data", "--availability", "drain", "--label", "a=b"]), id);
    let changed = &node.json(&["volume", "ls"])[0];
    assert_eq!((&changed["availability"], &changed["labels"]["a"]), (&"DRAIN".into(), &"b".into()));

    assert!(node.refused(&[&["volume", "create", "DATA"][..], &flags].concat()).contains("already exists"));
    let nope = ["volume", "create", "logs", "--driver", "disks", "--secret", "key=nope"];
    assert_eq!(node.refused(&nope), "Error: secret nope not found");
    assert_eq!(node.ok(&["volume", "rm", "data"]), id);
    assert_eq!(node.json(&["volume", "inspect", "data"])[0]["removing"], true, "whoever made it deletes it");
    assert_eq!(node.ok(&["volume", "rm", "--force", "data"]), id);
    assert_eq!(node.refused(&["volume", "inspect", "data"]), "Error: volume data not found");
}

#[test]
fn a_task_whose_volume_is_not_made_waits_and_says_so() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    node.ok(&["volume", "create", "data", "--driver", "disks"]);
    let mount = "type=cluster,source=data,target=/data,readonly";
    node.ok(&["service", "create", "--name", "web", "--mount", mount, "--", "sleep", "1000"]);
    let expected = "no suitable node (cannot fulfill requested CSI volume mounts on 1 node)";
    wait_until("the task to say what it waits for", || {
        node.json(&["task", "ls"]).iter().any(|task| task["error"] == expected)
    });
    let service = &node.json(&["service", "inspect", "web"])[0];
    let mounts = serde_json::json!([{"type": "CLUSTER", "source": "data", "target": "/data", "readonly": true}]);
    assert_eq!((&service["mounts"], &service["running"]), (&mounts, &0.into()));
    assert_eq!(node.json(&["task", "ls"])[0]["volumes"], serde_json::json!([]));
}
