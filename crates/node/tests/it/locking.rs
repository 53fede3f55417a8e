//! Managers whose keys are locked: found so, locked and unlocked as they run, joined by others.

use std::{fs, path::Path, sync::Arc, time::Duration};

use swarmkit_api::{Cluster, NodeRole, Service, wire, wire::node_status::State};
use swarmkit_ca::{DataKeys, KeyStore, UnlockKey};
use swarmkit_node::{Node, NodeError, log_keys};
use swarmkit_raft::{Backup, BackupWriter, LogKey};
use swarmkit_runtime::Env;
use swarmkit_store::Store;

use crate::world::{PATIENCE, Running, cluster, manager, state_of, tokens, until, worker};

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

/// The unlock key of a cluster, as its managers have it in their store.
fn unlock_key(store: &Store) -> UnlockKey {
    UnlockKey::from_bytes(&store.view().cluster().unwrap().unlock_keys[0].key).unwrap()
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
    let key = unlock_key(&store);
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
    let dir = tempfile::tempdir().unwrap();
    let first = Running::start(manager(dir.path()).autolock(true)).await.unwrap().ready().await;
    let store = first.handle.store().unwrap();
    let (key, (worker_token, manager_token)) = (unlock_key(&store), tokens(&store));
    let address = first.handle.remote_addr().unwrap();

    // One that joins as a manager has been locked from its first file on: there is nothing to replace in it.
    let second_dir = tempfile::tempdir().unwrap();
    let second = manager(second_dir.path()).join(&address, Some(manager_token));
    let second = Running::start(second).await.unwrap().ready().await;
    let kept = found(second_dir.path(), Some(&key)).unwrap();
    assert!(!is_clear(second_dir.path()) && !kept.needs_rotation && kept.pending.is_none());

    // A worker is not locked, until it is promoted, and is not any more when it is demoted.
    let third_dir = tempfile::tempdir().unwrap();
    let third = worker(third_dir.path(), &address, &worker_token).listen_remote("127.0.0.1:0");
    let third = Running::start(third).await.unwrap().ready().await;
    assert!(is_clear(third_dir.path()));
    let wish = async |role: NodeRole| {
        let id = third.handle.id();
        let edit = |node: &mut swarmkit_api::Node| Arc::make_mut(&mut node.spec).desired_role = role.into();
        store.update(|tx| tx.edit(id, edit)).await.unwrap();
        eventually("the other role", || third.handle.role() == role).await;
    };
    wish(NodeRole::Manager).await;
    eventually("a log with a key", || found(third_dir.path(), Some(&key)).is_ok_and(|keys| keys.current.is_some()))
        .await;
    assert!(!is_clear(third_dir.path()));
    eventually("a vote", || third.handle.remote_addr().is_some()).await;
    wish(NodeRole::Worker).await;
    eventually("no key of the log", || found(third_dir.path(), None).is_ok_and(|keys| keys == DataKeys::default()))
        .await;
    assert!(is_clear(third_dir.path()));
    let headers = KeyStore::new(third_dir.path(), &Env::real()).headers().unwrap();
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["kek-version"]);
    assert_ne!(headers["kek-version"], "0");
    for node in [third, second, first] {
        node.end().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_restored_of_a_locked_cluster_starts_without_its_key_and_is_locked_with_it_then() {
    let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
    let node = Running::start(manager(dir.path()).autolock(true)).await.unwrap().ready().await;
    let store = node.handle.store().unwrap();
    let (key, backup_key) = (unlock_key(&store), LogKey::generate(&env));
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
    assert_eq!(unlock_key(&node.handle.store().unwrap()), key);
    node.end().await.unwrap();
    let refused = Running::start(manager(elsewhere.path())).await.err().expect("locked");
    assert!(matches!(refused, NodeError::Locked), "{refused}");
}
