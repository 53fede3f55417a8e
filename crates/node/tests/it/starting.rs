//! Managers that found a cluster, and come back to it.

use std::{net::TcpListener, sync::Arc};

use swarmkit_api::{Service, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::Node;
use swarmkit_runtime::Clock as _;

use crate::world::{PATIENCE, Running, Wall, cluster, manager, state_of, tokens, until, worker};

#[tokio::test]
async fn a_founder_is_ready_and_comes_back_as_the_same_node() {
    let (dir, first) = cluster().await;
    let id = first.handle.id().clone();
    let store = first.handle.store().unwrap().clone();
    until(&store, |view| state_of(view, &first.handle) == Some(State::Ready)).await;
    let tokens_before = tokens(&store);
    assert!(!dir.path().join("founding").exists());
    first.end().await.unwrap();

    let second = Running::start(manager(dir.path())).await.unwrap().ready().await;
    assert_eq!(*second.handle.id(), id);
    assert_eq!(tokens(&second.handle.store().unwrap()), tokens_before);
    second.end().await.unwrap();
}

#[tokio::test]
async fn a_survivor_whose_certificate_has_run_out_goes_on_alone_and_gets_another_one() {
    let (dir, first) = cluster().await;
    let id = first.handle.id().clone();
    let store = first.handle.store().unwrap();
    until(&store, |view| state_of(view, &first.handle) == Some(State::Ready)).await;
    store.update(|tx| tx.create(swarmkit_testing::service("web").replicas(1).build())).await.unwrap();
    first.end().await.unwrap();

    let wall = Wall::default();
    wall.go_ahead(120);
    let later = || manager(dir.path()).env(wall.env());
    let refused = Running::start(later()).await.err().expect("expired").to_string();
    assert!(refused.contains("not valid after"), "{refused}");
    let node = Running::start(later().force_new_cluster()).await.unwrap().ready().await;
    assert_eq!(*node.handle.id(), id);
    assert_eq!(node.handle.store().unwrap().view().count::<Service>(), 1);
    node.renewed(wall.now()).await;
    node.end().await.unwrap();
    let node = Running::start(later()).await.unwrap().ready().await;
    node.end().await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let set_up = Node::builder(dir.path(), Arc::new(InertExecutor::new())).listen_remote(&address);
    let error = Running::start(set_up).await.err().expect("taken").to_string();
    assert!(error.contains("cannot listen on") && error.contains(&address), "{error}");
}

#[tokio::test]
async fn a_second_node_on_the_same_state_is_refused() {
    let (dir, first) = cluster().await;
    let error = Running::start(manager(dir.path())).await.err().expect("in use").to_string();
    assert_eq!(error, format!("{} is in use by another node", dir.path().display()));
    first.end().await.unwrap();
}

#[tokio::test]
async fn a_manager_whose_log_is_gone_does_not_found_another_cluster() {
    let (dir, first) = cluster().await;
    let store = first.handle.store().unwrap().clone();
    until(&store, |view| state_of(view, &first.handle) == Some(State::Ready)).await;
    first.end().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("raft")).unwrap();
    let error = Running::start(manager(dir.path())).await.err().expect("refused").to_string();
    assert!(error.contains("a manager's certificate and no log"), "{error}");
}

#[tokio::test]
async fn a_manager_that_comes_back_elsewhere_tells_its_new_address() {
    let (dir, first) = cluster().await;
    let old = first.handle.remote_addr().unwrap().to_owned();
    // Still taken when it comes back, so it has to go elsewhere.
    first.end().await.unwrap();
    let taken = TcpListener::bind(&old).unwrap();
    let second = Running::start(manager(dir.path())).await.unwrap().ready().await;
    let new = second.handle.remote_addr().unwrap().to_owned();
    assert_ne!(new, old);

    let dir = tempfile::tempdir().unwrap();
    let store = second.handle.store().unwrap().clone();
    let worker = Running::start(worker(dir.path(), &new, &tokens(&store).0)).await.unwrap().ready().await;
    until(&store, |view| state_of(view, &worker.handle) == Some(State::Ready)).await;
    let remembered = || std::fs::read_to_string(dir.path().join("state.json")).unwrap_or_default();
    let noted = async {
        while !remembered().contains("node_id") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("in time");
    assert!(remembered().contains(&new) && !remembered().contains(&old), "{}", remembered());
    worker.end().await.unwrap();
    second.end().await.unwrap();
    drop(taken);
}
