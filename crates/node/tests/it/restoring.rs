//! Clusters that begin again from a backup, in another place.

use std::path::{Path, PathBuf};

use swarmkit_api::{NodeId, NodeRole, Service, wire::node_status::State};
use swarmkit_node::{Node, Restored};
use swarmkit_raft::{Backup, BackupWriter, LogKey};
use swarmkit_runtime::Env;
use tempfile::TempDir;

use crate::world::{Running, cluster, manager, state_of, until, worker};

const SOMEWHERE: &str = "127.0.0.1:1";

/// A cluster with one service that was backed up and is no more.
struct Lost {
    folder: TempDir,
    key: LogKey,
    former: NodeId,
    worker_token: String,
}

impl Lost {
    async fn new() -> Self {
        let (env, folder) = (Env::real(), tempfile::tempdir().unwrap());
        let (_dir, running) = cluster().await;
        let store = running.handle.store().unwrap().clone();
        until(&store, |view| state_of(view, &running.handle) == Some(State::Ready)).await;
        store.update(|tx| tx.create(swarmkit_testing::service("web").replicas(1).build())).await.unwrap();
        let (key, former) = (LogKey::generate(&env), running.handle.id().clone());
        let mut writer = BackupWriter::create(&folder.path().join("backup"), &key, &env).await.unwrap();
        for piece in store.applier().snapshot().chunks() {
            writer.write(&piece).await.unwrap();
        }
        writer.finish().await.unwrap();
        let (worker_token, _) = crate::world::tokens(&store);
        running.end().await.unwrap();
        Self { folder, key, former, worker_token }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    async fn restore(&self, dir: &Path) -> Result<Restored, String> {
        let backup = Backup::open(&self.path(), &self.key, &Env::real()).await.map_err(|error| error.to_string())?;
        Node::restore(dir, &backup, SOMEWHERE, &Env::real()).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn a_new_node_leads_the_cluster_of_a_backup_and_its_old_tokens_are_good() {
    let (lost, dir) = (Lost::new().await, tempfile::tempdir().unwrap());
    let restored = lost.restore(dir.path()).await.unwrap();
    assert_eq!((restored.services, &restored.former_managers), (1, &vec![lost.former.clone()]));
    assert_ne!(restored.node, lost.former);

    let node = Running::start(manager(dir.path())).await.unwrap().ready().await;
    assert_eq!((node.handle.id(), node.handle.role()), (&restored.node, NodeRole::Manager));
    let store = node.handle.store().unwrap().clone();
    until(&store, |view| state_of(view, &node.handle) == Some(State::Ready)).await;
    assert_eq!(store.view().count::<Service>(), 1);
    assert!(store.view().version() > restored.version);

    let other = tempfile::tempdir().unwrap();
    let set_up = worker(other.path(), &node.handle.remote_addr().unwrap(), &lost.worker_token);
    let joined = Running::start(set_up).await.unwrap().ready().await;
    joined.end().await.unwrap();
    node.end().await.unwrap();
}

#[tokio::test]
async fn a_directory_with_anything_in_it_is_left_alone() {
    let (lost, dir) = (Lost::new().await, tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("notes"), "mine").unwrap();
    let told = lost.restore(dir.path()).await.unwrap_err();
    assert_eq!(told, format!("{} is not empty: restore into an empty directory", dir.path().display()));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn an_interrupted_restore_is_no_cluster_and_is_run_again() {
    let (lost, dir) = (Lost::new().await, tempfile::tempdir().unwrap());
    lost.restore(dir.path()).await.unwrap();
    std::fs::write(dir.path().join("restoring"), "").unwrap();
    let told = Running::start(manager(dir.path())).await.err().expect("refused").to_string();
    assert_eq!(told, format!("the restore into {} was interrupted: run it again", dir.path().display()));

    let again = lost.restore(dir.path()).await.unwrap();
    let node = Running::start(manager(dir.path())).await.unwrap().ready().await;
    assert_eq!(*node.handle.id(), again.node);
    node.end().await.unwrap();
}

#[tokio::test]
async fn a_damaged_backup_begins_nothing() {
    let (lost, dir) = (Lost::new().await, tempfile::tempdir().unwrap());
    let mut bytes = std::fs::read(lost.path()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(lost.path(), bytes).unwrap();
    let told = lost.restore(dir.path()).await.unwrap_err();
    assert!(told.contains("backup") && told.contains("checksum"), "{told}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
