//! A cluster that is lost, and begins again from its backup.

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
    let token =
        |node: &Daemon| node.json(&["cluster", "inspect"])[0]["manager_join_token"].as_str().unwrap().to_owned();
    let join = ["--join-addr", &addr, "--join-token", &token(&survivor)];
    let mut lost = Daemon::start(second.path(), &join);
    let managers = |node: &Daemon| {
        node.json(&["node", "ls"]).into_iter().filter(|node| node["manager"]["reachability"] == "REACHABLE").count()
    };
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

    let joined = Daemon::start(third.path(), &["--join-addr", &addr, "--join-token", &token(&alone)]);
    wait_until("the new one to be a manager", || managers(&alone) == 2);
    assert_eq!(joined.json(&["service", "ls"]).len(), 2);
}
