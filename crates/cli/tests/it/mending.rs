//! `swarm-rafttool` on nodes that are locked, and on their certificates.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use swarmkit_api::Version;
use swarmkit_ca::{KeyStore, ManagerLock, UnlockKey};
use swarmkit_runtime::Env;

use crate::{
    harness::{Daemon, directory},
    rafttool::{json, ok, rafttool, state},
};

const LOCKED: &str = "Error: node is locked, and needs a valid unlock key\n";

fn key_file(state: &Path) -> String {
    fs::read_to_string(state.join("certificates/swarm-node.key")).unwrap()
}

fn certificate(state: &Path) -> String {
    fs::read_to_string(state.join("certificates/swarm-node.crt")).unwrap()
}

/// The lines of the key file that others keep their data in.
fn headers(state: &Path) -> Vec<String> {
    key_file(state).lines().filter(|line| line.contains(": ")).map(str::to_owned).collect()
}

/// Locks a state directory as a cluster would, and gives the key.
pub(crate) fn lock(state: &Path) -> UnlockKey {
    let (env, keys) = (Env::real(), KeyStore::new(state, &Env::real()));
    let key = UnlockKey::generate(&env);
    keys.set_lock(&ManagerLock { version: Version(1 << 40), key: Some(key.clone()) }).unwrap();
    assert!(key_file(state).contains("ENCRYPTED PRIVATE KEY"));
    key
}

#[tokio::test]
async fn the_log_of_a_locked_manager_is_read_with_its_unlock_key_only() {
    let (dir, state) = state(2, 10_000).await;
    let (key, other) = (lock(&state), UnlockKey::generate(&Env::real()));
    let (key, other) = (key.to_text(), other.to_text());
    let out = dir.path().join("clear");
    let decrypt = ["decrypt", "--output-dir", out.to_str().unwrap()];
    for wrong in [&[][..], &["--unlock-key", &other]] {
        let told = rafttool(&state, &[&decrypt[..], wrong].concat());
        assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (255, "", LOCKED));
        assert!(!out.exists(), "a wrong key writes nothing");
    }
    let told = rafttool(&state, &["verify", "--unlock-key", "SWMKEY-1-abc"]);
    assert!(told.code == 255 && told.err.contains("invalid key string"), "{}", told.err);

    let file = dir.path().join("key");
    fs::write(&file, format!("{}\n", *key)).unwrap();
    assert!(ok(&state, &["verify", "--unlock-key-file", file.to_str().unwrap()]).contains("everything is whole"));
    assert_eq!(json(&state, &["dump-object", "service", "--unlock-key", &key]).len(), 2);
    let mut by_variable = Command::new(env!("CARGO_BIN_EXE_swarm-rafttool"));
    by_variable.args(["verify", "--state-dir"]).arg(&state).env("SWARM_UNLOCK_KEY", &*key);
    assert!(by_variable.output().unwrap().status.success(), "the key is in the environment");
    ok(&state, &[&decrypt[..], &["--unlock-key", &key]].concat());
    assert!(out.join("wal-decrypted").is_dir());
}

#[tokio::test]
async fn a_certificate_is_renewed_from_the_root_key_in_the_log_and_the_node_starts_with_it() {
    let (dir, state) = state(1, 10_000).await;
    let (before, headers_before) = (certificate(&state), headers(&state));
    let told = &json(&state, &["renew-certs"])[0];
    assert_eq!(told["role"], "swarm-manager");
    assert_ne!(certificate(&state), before);
    assert_eq!(headers(&state), headers_before, "the key of the log stays");

    let node = Daemon::start(dir.path(), &[]);
    let nodes = node.json(&["node", "ls"]);
    assert_eq!(nodes.iter().map(|node| &node["id"]).collect::<Vec<_>>(), [&told["node"]], "it is the same node");
    assert_eq!(node.json(&["cluster", "inspect"])[0]["id"], told["cluster"]);
    assert_eq!(node.json(&["service", "ls"]).len(), 1);
    let told = rafttool(&state, &["renew-certs"]);
    assert_eq!((told.code, told.err), (255, format!("Error: {} is in use by another node\n", state.display())));
}

#[tokio::test]
async fn the_certificate_of_a_locked_node_is_renewed_and_stays_locked() {
    let (_dir, state) = state(1, 10_000).await;
    let key = lock(&state).to_text();
    let before = certificate(&state);
    assert_eq!(rafttool(&state, &["renew-certs"]).err, LOCKED);
    assert_eq!(certificate(&state), before);
    let told = ok(&state, &["renew-certs", "--unlock-key", &key]);
    assert!(
        told.starts_with("Node ") && told.contains(" has a new certificate as swarm-manager of cluster "),
        "{told}"
    );
    assert!(certificate(&state) != before && key_file(&state).contains("ENCRYPTED PRIVATE KEY"));
}

#[tokio::test]
async fn a_key_is_downgraded_once_with_its_headers_and_the_node_goes_on_with_it() {
    let (dir, state) = state(1, 10_000).await;
    let before = headers(&state);
    let told: Value = serde_json::from_str(&ok(&state, &["downgrade-key", "--format", "json"])).unwrap();
    assert_eq!(told["downgraded"], true);
    assert!(key_file(&state).starts_with("-----BEGIN EC PRIVATE KEY-----"));
    assert_eq!(headers(&state), before);
    let told = rafttool(&state, &["downgrade-key"]);
    assert!(told.code == 255 && told.err.contains("the key is in its old form already"), "{}", told.err);
    let mut node = Daemon::start(dir.path(), &[]);
    assert_eq!(node.json(&["service", "ls"]).len(), 1);
    node.kill();

    let key = lock(&state).to_text();
    let told = rafttool(&state, &["downgrade-key", "--unlock-key", &key]);
    assert!(told.code == 255 && told.err.contains("a locked key has no old form"), "{}", told.err);
    let told = rafttool(directory().path(), &["downgrade-key"]);
    assert!(told.code == 255 && told.err.contains("no node certificate"), "{}", told.err);
}
