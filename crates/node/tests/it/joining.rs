//! Machines that join a cluster.

use std::{net::TcpListener, os::unix::fs::PermissionsExt as _, sync::Arc, time::Duration};

use swarmkit_api::{NodeRole, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;

use crate::world::{Running, cluster, state_of, tokens, until, worker};

#[tokio::test]
async fn a_worker_joins_with_a_token_and_comes_back_without_one() {
    let (_dir, manager) = cluster().await;
    let store = manager.handle.store().unwrap().clone();
    let address = manager.handle.remote_addr().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let first = Running::start(worker(dir.path(), &address, &tokens(&store).0)).await.unwrap().ready().await;
    assert_eq!(first.handle.role(), NodeRole::Worker);
    until(&store, |view| state_of(view, &first.handle) == Some(State::Ready)).await;
    let id = first.handle.id().clone();
    first.end().await.unwrap();

    // It remembers where the managers are.
    let again = Node::builder(dir.path(), Arc::new(InertExecutor::new()));
    let second = Running::start(again).await.unwrap().ready().await;
    assert_eq!(*second.handle.id(), id);
    until(&store, |view| state_of(view, &second.handle) == Some(State::Ready)).await;
    second.end().await.unwrap();
    manager.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_address_where_nobody_listens_is_tried_a_few_times_and_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let digest = "1".repeat(50);
    let token = format!("SWMTKN-1-{digest}-{}", "1".repeat(25));
    let dir = tempfile::tempdir().unwrap();
    let begin = tokio::time::Instant::now();
    let error = Running::start(worker(dir.path(), &nobody, &token)).await.err().expect("nobody is there").to_string();
    assert!(error.contains(&nobody), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(60), "it gives up");
}

#[tokio::test]
async fn a_manager_joins_with_the_managers_token_and_comes_back_without_one() {
    let (_dir, founder) = cluster().await;
    let store = founder.handle.store().unwrap();
    let (_, token) = tokens(&store);
    let address = founder.handle.remote_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let set_up = || Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0");
    let first = Running::start(set_up().join(address, Some(token))).await.unwrap().ready().await;
    assert_eq!(first.handle.role(), NodeRole::Manager);
    until(&store, |view| state_of(view, &first.handle) == Some(State::Ready)).await;
    let id = first.handle.id().clone();
    first.end().await.unwrap();

    let second = Running::start(set_up()).await.unwrap().ready().await;
    assert_eq!((second.handle.id(), second.handle.role()), (&id, NodeRole::Manager));
    until(&store, |view| state_of(view, &second.handle) == Some(State::Ready)).await;
    second.end().await.unwrap();
    founder.end().await.unwrap();
}

#[tokio::test]
async fn what_a_cluster_gave_is_kept_as_upstream_keeps_it() {
    let (_dir, manager) = cluster().await;
    let address = manager.handle.remote_addr().unwrap().to_owned();
    let token = tokens(&manager.handle.store().unwrap()).0;
    let dir = tempfile::tempdir().unwrap();
    let joined = Running::start(worker(dir.path(), &address, &token)).await.unwrap().ready().await;
    let read = |name: &str| std::fs::read_to_string(dir.path().join("certificates").join(name)).unwrap();
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join("certificates").join(name)).unwrap().permissions().mode() & 0o777
    };
    let root = &manager.handle.store().unwrap().view().cluster().unwrap().root_ca.ca_cert.clone();
    assert_eq!(read("swarm-root-ca.crt").as_bytes(), root.as_ref());
    assert!(read("swarm-node.key").contains("BEGIN PRIVATE KEY"), "in clear");
    assert_eq!((mode("swarm-root-ca.crt"), mode("swarm-node.crt"), mode("swarm-node.key")), (0o644, 0o644, 0o600));
    assert!(!dir.path().join("raft").exists(), "a worker has no log");
    joined.end().await.unwrap();
    manager.end().await.unwrap();
}

#[tokio::test]
async fn managers_that_are_remembered_badly_are_told() {
    let (_dir, manager) = cluster().await;
    let address = manager.handle.remote_addr().unwrap().to_owned();
    let token = tokens(&manager.handle.store().unwrap()).0;
    let dir = tempfile::tempdir().unwrap();
    let joined = Running::start(worker(dir.path(), &address, &token)).await.unwrap().ready().await;
    let id = joined.handle.id().clone();
    joined.end().await.unwrap();
    std::fs::write(dir.path().join("state.json"), "{").unwrap();
    let again = Node::builder(dir.path(), Arc::new(InertExecutor::new()));
    let error = Running::start(again).await.err().expect("refused").to_string();
    assert!(error.contains("state.json is damaged"), "{error}");

    // Whoever is named counts more than whoever is remembered, and no token is needed any more.
    let again = Node::builder(dir.path(), Arc::new(InertExecutor::new())).join(address, None);
    let joined = Running::start(again).await.unwrap().ready().await;
    assert_eq!(*joined.handle.id(), id);
    joined.end().await.unwrap();
    manager.end().await.unwrap();
}
