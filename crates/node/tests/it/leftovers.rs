//! Nodes whose state directory has lost something, or holds what is left of another cluster.

use std::{fs, path::Path, sync::Arc};

use swarmkit_api::{Node as NodeObject, NodeRole, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;

use crate::world::{Running, cluster, manager, state_of, tokens, until, worker};

const ROOT: &str = "certificates/swarm-root-ca.crt";

async fn failure(started: impl Future<Output = Result<Running, swarmkit_node::NodeError>>) -> String {
    let error = started.await.err().expect("refused").to_string();
    assert!(!error.contains('\n'), "one line: {error}");
    error
}

#[tokio::test]
async fn a_node_that_has_lost_its_root_gets_it_again_from_the_manager_that_it_is_given_and_keeps_its_id() {
    let (_dir, founder) = cluster().await;
    let store = founder.handle.store().unwrap();
    let address = founder.handle.remote_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = Running::start(worker(dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    let id = first.handle.id().clone();
    first.end().await.unwrap();
    let root = fs::read(dir.path().join(ROOT)).unwrap();
    fs::remove_file(dir.path().join(ROOT)).unwrap();

    // The root that it is told is believed because it has signed the certificate.
    let again = Node::builder(dir.path(), Arc::new(InertExecutor::new())).join(address, None);
    let second = Running::start(again).await.unwrap().ready().await;
    assert_eq!(*second.handle.id(), id);
    assert_eq!(fs::read(dir.path().join(ROOT)).unwrap(), root);
    until(&store, |view| state_of(view, &second.handle) == Some(State::Ready)).await;
    second.end().await.unwrap();
    founder.end().await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_another_cluster_is_replaced_by_a_join_unless_it_holds_a_log() {
    let (_dir, founder) = cluster().await;
    let store = founder.handle.store().unwrap();
    let address = founder.handle.remote_addr().unwrap();
    let (token, _) = tokens(&store);
    let (dir, other) = cluster().await;
    let old = other.handle.id().clone();
    other.end().await.unwrap();

    // Without a root, the certificate could be one of the cluster that is joined.
    fs::remove_file(dir.path().join(ROOT)).unwrap();
    let log = dir.path().join("raft");
    let told = failure(Running::start(worker(dir.path(), &address, &token))).await;
    assert!(told.contains("holds the log of a cluster and no certificate"), "{told}");
    assert!(log.exists(), "nothing is lost");

    fs::remove_dir_all(log).unwrap();
    let told = failure(Running::start(Node::builder(dir.path(), Arc::new(InertExecutor::new())).join(&address, None)));
    assert!(told.await.contains("a join token is necessary"));
    let joined = Running::start(worker(dir.path(), &address, &token)).await.unwrap().ready().await;
    assert_ne!(*joined.handle.id(), old);
    assert_eq!(joined.handle.role(), NodeRole::Worker);
    assert!(store.view().get::<NodeObject>(joined.handle.id()).is_some());
    joined.end().await.unwrap();
    founder.end().await.unwrap();
}

#[tokio::test]
async fn a_root_that_the_token_does_not_pin_is_not_used_for_joining() {
    let (founders_dir, founder) = cluster().await;
    let address = founder.handle.remote_addr().unwrap();
    let (token, _) = tokens(&founder.handle.store().unwrap());
    let (other_dir, other) = cluster().await;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("certificates")).unwrap();
    fs::copy(other_dir.path().join(ROOT), dir.path().join(ROOT)).unwrap();
    other.end().await.unwrap();
    let joined = Running::start(worker(dir.path(), &address, &token)).await.unwrap().ready().await;
    assert_eq!(fs::read(dir.path().join(ROOT)).unwrap(), fs::read(founders_dir.path().join(ROOT)).unwrap());
    joined.end().await.unwrap();
    founder.end().await.unwrap();
}

/// The files of a log: garbage in each of them, at its beginning, is a log that cannot be opened.
fn spoil(log: &Path) {
    for file in fs::read_dir(log).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().take(64).for_each(|byte| *byte = !*byte);
        fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test]
async fn a_log_that_is_damaged_or_no_folder_is_told_in_one_line() {
    let (dir, founder) = cluster().await;
    founder.end().await.unwrap();
    let log = dir.path().join("raft");
    spoil(&log);
    let told = failure(Running::start(manager(dir.path()))).await;
    assert!(told.starts_with("manager stopped: ") && told.contains("is damaged at byte 0"), "{told}");
    spoil(&log);
    Running::start(manager(dir.path())).await.unwrap().ready().await.end().await.unwrap();

    fs::remove_dir_all(&log).unwrap();
    fs::write(&log, "a file").unwrap();
    let told = failure(Running::start(manager(dir.path()))).await;
    assert!(told.starts_with(&format!("cannot open {}: ", log.display())), "{told}");
}

#[tokio::test]
async fn a_task_database_that_is_damaged_costs_the_node_nothing_but_what_it_held() {
    let (dir, founder) = cluster().await;
    let id = founder.handle.id().clone();
    founder.end().await.unwrap();
    let database = dir.path().join("worker/tasks.redb");
    fs::write(&database, "garbage").unwrap();
    let again = Running::start(manager(dir.path())).await.unwrap().ready().await;
    assert_eq!(*again.handle.id(), id);
    assert!(dir.path().join("worker/tasks.redb.damaged").exists());
    again.end().await.unwrap();

    fs::remove_dir_all(dir.path().join("worker")).unwrap();
    fs::write(dir.path().join("worker"), "a file").unwrap();
    let told = failure(Running::start(manager(dir.path()))).await;
    assert!(told.contains(&dir.path().join("worker").display().to_string()), "{told}");
}
