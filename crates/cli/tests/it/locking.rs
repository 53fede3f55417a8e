//! Managers whose keys are locked at rest.

use crate::harness::{Daemon, directory};

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
