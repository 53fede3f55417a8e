//! Managers whose keys are locked: found so, locked and unlocked as they run, joined by others.

use std::{fs, path::Path, sync::Arc, time::Duration};

use swarmkit_api::{Cluster, Service, wire, wire::node_status::State};
use swarmkit_ca::{DataKeys, KeyStore, UnlockKey};
use swarmkit_node::{Node, NodeError, log_keys};
use swarmkit_raft::{Backup, BackupWriter, LogKey};
use swarmkit_runtime::Env;
use swarmkit_store::Store;

use crate::{
    team::Team,
    world::{PATIENCE, Running, cluster, manager, state_of, until},
};

/// How often a file is looked at, of which nobody tells.
const POLL: Duration = Duration::from_millis(20);

/// What is in the key file of a node, for somebody who has this unlock key.
fn found(dir: &Path, key: Option<&UnlockKey>) -> Result<DataKeys, swarmkit_ca::Error> {
    KeyStore::new(dir, &Env::real()).with_unlock_key(key.cloned()).data_keys()
}

fn is_clear(dir: &Path) -> bool {
    fs::read_to_string(dir.join("certificates/swarm-node.key")).unwrap().contains("BEGIN PRIVATE KEY")
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} in time"));
}

async fn lock(store: &Store, key: Option<&UnlockKey>) {
    let id = store.view().cluster().unwrap().id.clone();
    let edited = store.update(|tx| {
        tx.edit::<Cluster>(&id, |cluster: &mut Cluster| {
            let spec = Arc::make_mut(&mut cluster.spec);
            spec.encryption_config = Some(wire::EncryptionConfig { auto_lock_managers: key.is_some() });
            let managers = |key: &UnlockKey| wire::EncryptionKey {
                subsystem: "swarm-manager".to_owned(),
                key: key.as_bytes().to_vec().into(),
                ..Default::default()
            };
            cluster.unlock_keys = key.into_iter().map(managers).collect();
        })
    });
    edited.await.unwrap();
}

async fn write(store: &Store, name: &str) {
    store.update(|tx| tx.create(swarmkit_testing::service(name).replicas(1).build())).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_is_founded_locked_starts_again_with_its_key_only_and_has_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let node = Running::start(manager(dir.path()).autolock(true)).await.unwrap().ready().await;
    assert!(!is_clear(dir.path()));
    let store = node.handle.store().unwrap();
    let key = node.handle.unlock_key().unwrap();
    write(&store, "web").await;
    node.end().await.unwrap();

    assert_eq!(log_keys(dir.path(), Some(&key)).unwrap().len(), 1);
    let other = UnlockKey::generate(&Env::real());
    for wrong in [None, Some(other)] {
        assert!(matches!(log_keys(dir.path(), wrong.as_ref()), Err(NodeError::Locked)));
        let refused = Running::start(manager(dir.path()).unlock_key(wrong)).await.err().expect("locked");
        assert_eq!(refused.to_string(), "node is locked, and needs a valid unlock key");
    }
    let node = Running::start(manager(dir.path()).unlock_key(Some(key))).await.unwrap().ready().await;
    let store = node.handle.store().unwrap();
    until(&store, |view| view.count::<Service>() == 1 && state_of(view, &node.handle) == Some(State::Ready)).await;
    node.end().await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_runs_is_locked_and_unlocked_and_what_had_been_in_clear_is_replaced() {
    let (dir, node) = cluster().await;
    let store = node.handle.store().unwrap();
    until(&store, |view| state_of(view, &node.handle) == Some(State::Ready)).await;
    let certificate = || fs::read(dir.path().join("certificates/swarm-node.crt")).unwrap();
    assert_eq!(node.handle.unlock_key(), None);
    let (before, old) = (found(dir.path(), None).unwrap(), certificate());
    let key = UnlockKey::generate(&Env::real());
    lock(&store, Some(&key)).await;
    let rotated = |keys: &DataKeys| keys.pending.is_none() && !keys.needs_rotation && keys.current != before.current;
    eventually("another key of the log", || found(dir.path(), Some(&key)).is_ok_and(|keys| rotated(&keys))).await;
    eventually("another certificate", || certificate() != old).await;
    assert!(!is_clear(dir.path()));
    write(&store, "web").await;
    let locked = found(dir.path(), Some(&key)).unwrap();
    node.end().await.unwrap();
    let refused = Running::start(manager(dir.path())).await.err().expect("locked");
    assert!(matches!(refused, NodeError::Locked), "{refused}");

    let node = Running::start(manager(dir.path()).unlock_key(Some(key.clone()))).await.unwrap().ready().await;
    let store = node.handle.store().unwrap();
    lock(&store, None).await;
    eventually("a key file in clear", || is_clear(dir.path())).await;
    assert_eq!(found(dir.path(), None).unwrap(), locked, "the key of the log is the same");
    node.end().await.unwrap();
    let node = Running::start(manager(dir.path())).await.unwrap().ready().await;
    until(&node.handle.store().unwrap(), |view| view.count::<Service>() == 1).await;
    node.end().await.unwrap();
}

#[tokio::test]
async fn who_becomes_a_manager_of_a_locked_cluster_is_locked_and_who_ceases_to_be_one_is_not() {
    // The second one that joins has been locked from its first file on: there is nothing to replace in it.
    let mut team = Team::locked(2).await;
    let key = team.nodes[0].running.handle.unlock_key().unwrap();
    let joined = team.nodes[1].dir.path();
    let kept = found(joined, Some(&key)).unwrap();
    assert!(!is_clear(joined) && !kept.needs_rotation && kept.pending.is_none());

    // A worker is not locked, until it is promoted, and is not any more when it is demoted.
    let worker = team.add_worker().await;
    assert!(is_clear(team.nodes[worker].dir.path()));
    team.promote(worker).await;
    team.until_managers(3).await;
    let dir = team.nodes[worker].dir.path();
    assert!(found(dir, Some(&key)).unwrap().current.is_some());
    assert!(!is_clear(dir) && matches!(found(dir, None), Err(swarmkit_ca::Error::Locked)));

    team.demote(worker).await;
    team.until_managers(2).await;
    team.until_worker(worker).await;
    let dir = team.nodes[worker].dir.path();
    assert!(is_clear(dir));
    let headers = KeyStore::new(dir, &Env::real()).headers().unwrap();
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["kek-version"]);
    assert_ne!(headers["kek-version"], "0");
    team.end().await;
}

#[tokio::test]
async fn every_manager_of_a_cluster_that_is_locked_is_locked_and_changes_the_key_of_its_log() {
    let team = Team::new(3).await;
    let dirs: Vec<_> = team.nodes.iter().map(|node| node.dir.path()).collect();
    let before: Vec<_> = dirs.iter().map(|dir| found(dir, None).unwrap()).collect();
    let key = UnlockKey::generate(&Env::real());
    lock(&team.leader_store().await, Some(&key)).await;
    for (dir, before) in dirs.iter().zip(&before) {
        let replaced = |keys: DataKeys| keys.pending.is_none() && keys.current != before.current;
        eventually("another key of the log", || found(dir, Some(&key)).is_ok_and(replaced)).await;
        assert!(!is_clear(dir));
    }
    team.end().await;
}

#[tokio::test]
async fn what_is_restored_of_a_locked_cluster_starts_without_its_key_and_is_locked_with_it_then() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
    let node = Running::start(manager(dir.path()).autolock(true)).await.unwrap().ready().await;
    let store = node.handle.store().unwrap();
    let (key, backup_key) = (node.handle.unlock_key().unwrap(), LogKey::generate(&env));
    let path = dir.path().join("backup");
    let mut writer = BackupWriter::create(&path, &backup_key, &env).await.unwrap();
    for piece in store.applier().snapshot().chunks() {
        writer.write(&piece).await.unwrap();
    }
    writer.finish().await.unwrap();
    node.end().await.unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let backup = Backup::open(&path, &backup_key, &env).await.unwrap();
    Node::restore(elsewhere.path(), &backup, "127.0.0.1:1", &env).await.unwrap();
    let in_clear = found(elsewhere.path(), None).unwrap();
    let node = Running::start(manager(elsewhere.path())).await.unwrap().ready().await;
    let replaced = |keys: DataKeys| keys.pending.is_none() && keys.current != in_clear.current;
    eventually("another key of the log", || found(elsewhere.path(), Some(&key)).is_ok_and(replaced)).await;
    assert_eq!(node.handle.unlock_key(), Some(key));
    node.end().await.unwrap();
    let refused = Running::start(manager(elsewhere.path())).await.err().expect("locked");
    assert!(matches!(refused, NodeError::Locked), "{refused}");
}
