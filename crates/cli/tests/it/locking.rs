//! Managers whose keys are locked at rest.

use std::path::Path;

use rustix::process::Signal;

use crate::harness::{Daemon, directory, free_port, wait_until};

const LOCKED: &str = "Managers auto-locked.  Unlock key: ";

/// The key that `swarmctl` shows.
fn shown(line: &str) -> Option<String> {
    if line == "Managers not auto-locked" {
        return None;
    }
    let key = line.strip_prefix(LOCKED).unwrap_or_else(|| panic!("{line}"));
    assert!(key.starts_with("SWMKEY-1-") && key.len() == 52, "{key}");
    Some(key.to_owned())
}

#[test]
fn the_unlock_key_appears_with_locking_changes_with_a_rotation_and_goes_with_unlocking() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    let key = || shown(&node.ok(&["cluster", "unlock-key", "default"]));
    let id = node.ok(&["cluster", "ls", "-q"]);
    assert_eq!(key(), None);
    assert_eq!(
        node.ok(&["cluster", "update", "default", "--rotate-unlock-key"]),
        format!("{id}\nManagers not auto-locked")
    );

    let told = node.ctl(&["cluster", "update", "default", "--autolock"]);
    assert_eq!(String::from_utf8(told.stdout).unwrap(), format!("{id}\n"), "programs read the id");
    assert!(String::from_utf8(told.stderr).unwrap().contains("swarmctl cluster unlock-key"));
    let first = key().unwrap();
    assert_eq!(node.json(&["cluster", "inspect"])[0]["auto_lock"], true);
    assert_eq!(node.ok(&["cluster", "update", "--taskhistory", "3"]), id);
    assert_eq!(key().unwrap(), first, "an unrelated change keeps it");

    let told = node.ok(&["cluster", "update", "default", "--rotate-unlock-key"]);
    let second = shown(told.strip_prefix(&format!("{id}\n")).unwrap()).unwrap();
    assert_ne!(second, first);
    assert_eq!(node.json(&["cluster", "unlock-key"])[0]["unlock_key"], second);

    assert_eq!(node.ok(&["cluster", "update", "default", "--autolock=false"]), id);
    assert_eq!(key(), None);
    let cluster = &node.json(&["cluster", "inspect"])[0];
    assert!(cluster["auto_lock"] == false && cluster["task_history_limit"] == 3, "{cluster}");
}

#[test]
fn a_cluster_that_is_not_there_has_no_unlock_key_and_no_settings() {
    let dir = directory();
    let node = Daemon::start(dir.path(), &[]);
    for command in [&["cluster", "unlock-key", "other"][..], &["cluster", "update", "other", "--autolock"]] {
        assert_eq!(node.refused(command), "Error: cluster other not found");
    }
    let told = node.refused(&["cluster", "update", "--certexpiry", "59m"]);
    assert_eq!(told, "Error: minimum certificate expiry time is: 1h0m0s");
    let tokens = |node: &Daemon| {
        let cluster = node.json(&["cluster", "inspect"]).remove(0);
        (cluster["worker_join_token"].clone(), cluster["manager_join_token"].clone())
    };
    let before = tokens(&node);
    node.ok(&["cluster", "update", "--rotate-join-token", "worker"]);
    let after = tokens(&node);
    assert!(after.0 != before.0 && after.1 == before.1);
}

fn is_encrypted(dir: &Path) -> bool {
    let file = std::fs::read_to_string(dir.join("state/certificates/swarm-node.key")).unwrap();
    file.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----")
}

/// Starts a node that must not come up, and gives what it says.
fn refused(dir: &Path, flags: &[&str]) -> String {
    let mut node = Daemon::launch(dir, &[flags, &["--log-level", "error"]].concat());
    node.clear_log();
    assert_eq!(node.wait_end().code(), Some(1), "{}", node.log());
    node.log().trim_end().to_owned()
}

const NEEDS_KEY: &str = "swarmd: node is locked, and needs a valid unlock key";

#[test]
fn a_cluster_that_begins_locked_comes_back_with_its_key_only() {
    let dir = directory();
    let mut node = Daemon::start(dir.path(), &["--autolock"]);
    assert!(is_encrypted(dir.path()));
    let key = shown(&node.ok(&["cluster", "unlock-key"])).unwrap();
    assert_eq!(node.json(&["cluster", "inspect"])[0]["auto_lock"], true);
    node.ok(&["service", "create", "--name", "web", "--replicas", "0", "--", "sleep", "1"]);
    assert!(node.stop(Signal::TERM).success());

    let other = format!("SWMKEY-1-{}", "A".repeat(43));
    assert_eq!(refused(dir.path(), &["--exit-when-locked"]), NEEDS_KEY);
    assert!(refused(dir.path(), &["--unlock-key", "SWMKEY-1-"]).contains("invalid key string"));
    assert_eq!(refused(dir.path(), &["--unlock-key", &other]), NEEDS_KEY);
    let file = dir.path().join("key");
    std::fs::write(&file, &key).unwrap();
    node.clear_log();
    let node = Daemon::start(dir.path(), &["--unlock-key-file", file.to_str().unwrap()]);
    assert_eq!(node.json(&["service", "ls"]).len(), 1);
    assert_eq!(shown(&node.ok(&["cluster", "unlock-key"])).unwrap(), key);
}

#[test]
fn a_running_cluster_is_locked_gets_another_key_and_is_unlocked_again() {
    let dir = directory();
    let mut node = Daemon::start(dir.path(), &[]);
    assert!(!is_encrypted(dir.path()));
    node.ok(&["cluster", "update", "--autolock"]);
    wait_until("the key file to be encrypted", || is_encrypted(dir.path()));
    let first = shown(&node.ok(&["cluster", "unlock-key"])).unwrap();
    let content = || std::fs::read(dir.path().join("state/certificates/swarm-node.key")).unwrap();
    let locked = content();
    node.ok(&["cluster", "update", "--rotate-unlock-key"]);
    let second = shown(&node.ok(&["cluster", "unlock-key"])).unwrap();
    // A rotation of the log's own key may write the file as well, so it is the old key that tells.
    wait_until("the key file to be encrypted anew", || content() != locked && !opens(dir.path(), &first));
    node.kill();
    assert_eq!(refused(dir.path(), &["--unlock-key", &first]), NEEDS_KEY);

    node.clear_log();
    let mut node = Daemon::start(dir.path(), &["--unlock-key", &second]);
    node.ok(&["cluster", "update", "--autolock=false"]);
    wait_until("the key file to be in clear", || !is_encrypted(dir.path()));
    node.kill();
    node.clear_log();
    let node = Daemon::start(dir.path(), &[]);
    assert_eq!(node.ok(&["cluster", "unlock-key"]), "Managers not auto-locked");
}

#[test]
fn a_locked_manager_waits_for_its_key_says_so_to_whoever_calls_and_starts_with_it() {
    let dir = directory();
    let remote = format!("127.0.0.1:{}", free_port().unwrap());
    let flags = ["--autolock", "--listen-remote-api", &remote];
    let mut node = Daemon::start(dir.path(), &flags);
    let key = shown(&node.ok(&["cluster", "unlock-key"])).unwrap();
    assert_eq!(node.refused(&["cluster", "unlock"]), "Error: this node is not locked");
    let token = node.json(&["cluster", "inspect"])[0]["worker_join_token"].as_str().unwrap().to_owned();
    assert!(node.stop(Signal::TERM).success());

    node.clear_log();
    let mut node = Daemon::launch(dir.path(), &flags);
    let waits = "this manager is locked, and waits for its unlock key";
    wait_until("the node to wait for its key", || node.log().contains(waits));
    assert_eq!(
        node.refused(&["node", "ls"]),
        "Error: this node is locked; to give it its key: swarmctl cluster unlock"
    );
    let worker = directory();
    let joining = Daemon::launch(worker.path(), &["--join-addr", &remote, "--join-token", &token]);
    let door = format!("{remote}: the manager there is locked, and waits for its unlock key; trying again in 2 s");
    wait_until("the worker to hear of it", || joining.log().contains(&door));

    let file = dir.path().join("key");
    let with_file = ["cluster", "unlock", "--unlock-key-file", file.to_str().unwrap()];
    std::fs::write(&file, format!("SWMKEY-1-{}", "A".repeat(43))).unwrap();
    let wrong = "Error: that is not the unlock key of this node; it waits on";
    assert_eq!(node.refused(&with_file), wrong);
    assert_eq!(node.refused(&["cluster", "unlock"]), "Error: invalid key string", "standard input is empty");
    std::fs::write(&file, &key).unwrap();
    assert_eq!(node.ok(&with_file), "The node is unlocked, and starts.");
    node.wait_ready();
    joining.wait_ready();
    assert_eq!(shown(&node.ok(&["cluster", "unlock-key"])).unwrap(), key);
    assert!(node.stop(Signal::TERM).success());
}

#[test]
fn a_locked_manager_that_waits_ends_when_it_is_told_to() {
    let dir = directory();
    let mut node = Daemon::start(dir.path(), &["--autolock"]);
    assert!(node.stop(Signal::TERM).success());
    node.clear_log();
    let mut node = Daemon::launch(dir.path(), &[]);
    wait_until("the node to wait for its key", || node.log().contains("waits for its unlock key"));
    assert!(node.stop(Signal::TERM).success(), "{}", node.log());
    assert!(!node.socket.exists(), "nothing is left behind");
}

/// Whether a key opens the node's key file.
fn opens(dir: &Path, key: &str) -> bool {
    let key = swarmkit_ca::UnlockKey::parse(key).unwrap();
    swarmkit_node::log_keys(&dir.join("state"), Some(&key)).is_ok()
}
