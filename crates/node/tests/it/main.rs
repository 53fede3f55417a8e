//! Nodes over real sockets on the loopback: founding, joining, coming back.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{net::TcpListener, path::Path, sync::Arc, time::Duration};

use swarmkit_api::{Node as NodeObject, NodeRole, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::{Node, NodeBuilder, NodeError, NodeHandle};
use swarmkit_runtime::{Crew, PartError};
use swarmkit_store::{Store, Update};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Everything here happens in less than a second; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that runs until it is dropped or stopped.
struct Running {
    handle: NodeHandle,
    stop: CancellationToken,
    crew: Crew,
}

impl Running {
    async fn start(set_up: NodeBuilder) -> Result<Self, NodeError> {
        let stop = CancellationToken::new();
        let node = set_up.start(&stop).await?;
        let handle = node.handle();
        let mut crew = Crew::under(&stop);
        crew.spawn("node", |stop| node.run(stop));
        Ok(Self { handle, stop, crew })
    }

    async fn ready(self) -> Self {
        tokio::time::timeout(PATIENCE, self.handle.ready()).await.expect("in time").expect("ready");
        self
    }

    async fn end(self) -> Result<(), PartError> {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.crew.finish()).await.expect("a node stops in time")
    }
}

fn manager(dir: &Path) -> NodeBuilder {
    Node::builder(dir, Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0")
}

fn worker(dir: &Path, address: &str, token: &str) -> NodeBuilder {
    Node::builder(dir, Arc::new(InertExecutor::new())).join(address, Some(token.to_owned()))
}

fn tokens(store: &Store) -> (String, String) {
    let view = store.view();
    let tokens = view.cluster().expect("the cluster is there").root_ca.join_tokens.clone().expect("tokens");
    (tokens.worker, tokens.manager)
}

/// Waits until the store holds what is asked for.
async fn until(store: &Store, holds: impl Fn(&swarmkit_store::View) -> bool) {
    let mut updates = store.watch(swarmkit_store::Interest::all());
    let wait = async {
        loop {
            let update = updates.next().await.expect("the store is open");
            let view = match &update {
                Update::Snapshot(view) => view,
                Update::Delta(delta) => &delta.view,
            };
            if holds(view) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("in time");
}

fn state_of(view: &swarmkit_store::View, handle: &NodeHandle) -> Option<State> {
    view.get::<NodeObject>(handle.id()).map(|node| node.status.state())
}

async fn cluster() -> (TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let manager = Running::start(manager(dir.path())).await.unwrap().ready().await;
    (dir, manager)
}

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
    assert_eq!(tokens(second.handle.store().unwrap()), tokens_before);
    second.end().await.unwrap();
}

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

#[tokio::test]
async fn a_join_that_cannot_work_names_its_cause_at_once() {
    let (_dir, manager) = cluster().await;
    let (token, _) = tokens(manager.handle.store().unwrap());
    let address = manager.handle.remote_addr().unwrap().to_owned();
    let refused = async |address: &str, token: &str| {
        let dir = tempfile::tempdir().unwrap();
        let started = Running::start(worker(dir.path(), address, token));
        let error = tokio::time::timeout(PATIENCE, started).await.expect("at once").err().expect("refused");
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        error.to_string()
    };
    let error = refused(&address, "SWMTKN-1-nonsense").await;
    assert_eq!(error, "cannot join the cluster: invalid join token");

    let (head, secret) = token.rsplit_once('-').unwrap();
    let other_secret: String = secret.chars().rev().collect();
    let error = refused(&address, &format!("{head}-{other_secret}")).await;
    assert!(error.contains("A valid join token is necessary to join this cluster"), "{error}");

    let (prefix, digest) = head.rsplit_once('-').unwrap();
    let other_digest: String = format!("0{}", &digest[1..]).chars().map(|c| if c == 'a' { 'b' } else { c }).collect();
    let other_digest = if other_digest == digest { format!("1{}", &digest[1..]) } else { other_digest };
    let error = refused(&address, &format!("{prefix}-{other_digest}-{secret}")).await;
    assert!(error.contains("remote CA does not match fingerprint"), "{error}");
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
    assert!(error.contains("raft"), "{error}");
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
async fn a_second_manager_is_refused_in_plain_words() {
    let (_dir, manager) = cluster().await;
    let (_, token) = tokens(manager.handle.store().unwrap());
    let address = manager.handle.remote_addr().unwrap().to_owned();
    let dir = tempfile::tempdir().unwrap();
    let error = Running::start(worker(dir.path(), &address, &token)).await.err().expect("refused").to_string();
    assert!(error.contains("join with the worker's token"), "{error}");
    manager.end().await.unwrap();
}
