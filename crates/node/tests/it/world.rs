//! Nodes that run in this process, each with a state directory of its own.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use swarmkit_api::{Node as NodeObject, wire::node_status::State};
use swarmkit_executor::InertExecutor;
use swarmkit_node::{Node, NodeBuilder, NodeError, NodeHandle};
use swarmkit_runtime::{Clock, Crew, Env, PartError};
use swarmkit_store::{Store, Update};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Everything here happens in a few seconds; a test that waits longer has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that shows the time of this machine, and goes ahead when it is told to.
#[derive(Clone, Default)]
pub(crate) struct Wall {
    ahead_secs: Arc<AtomicU64>,
    nodes: Arc<AtomicU64>,
}

impl Wall {
    pub(crate) fn go_ahead(&self, days: u64) {
        self.ahead_secs.fetch_add(days * 24 * 3600, Ordering::SeqCst);
    }

    /// What a node takes the time from.
    pub(crate) fn env(&self) -> Env {
        Env::seeded(self.nodes.fetch_add(1, Ordering::SeqCst), self.clone())
    }
}

impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "a clock")]
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.ahead_secs.load(Ordering::SeqCst))
    }
}

/// A node that runs until it is dropped or stopped.
pub(crate) struct Running {
    pub(crate) handle: NodeHandle,
    stop: CancellationToken,
    crew: Option<Crew>,
}

impl Running {
    pub(crate) async fn start(set_up: NodeBuilder) -> Result<Self, NodeError> {
        let stop = CancellationToken::new();
        let node = set_up.start(&stop).await?;
        let handle = node.handle();
        let mut crew = Crew::under(&stop);
        crew.spawn("node", |stop| node.run(stop));
        Ok(Self { handle, stop, crew: Some(crew) })
    }

    pub(crate) async fn ready(self) -> Self {
        tokio::time::timeout(PATIENCE, self.handle.ready()).await.expect("in time").expect("ready");
        self
    }

    /// Waits until it shows a certificate that ends later than that.
    pub(crate) async fn renewed(&self, end: SystemTime) {
        let renewed = async {
            while self.handle.certificate_end() <= end {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, renewed).await.expect("in time");
    }

    /// Waits for an end that nobody asked for.
    pub(crate) async fn failure(mut self) -> PartError {
        let crew = self.crew.take().expect("it runs");
        tokio::time::timeout(PATIENCE, crew.finish()).await.expect("in time").expect_err("it has failed")
    }

    pub(crate) fn runs(&self) -> bool {
        self.crew.is_some()
    }

    /// Ends it, if it runs still.
    pub(crate) async fn stop(&mut self) -> Result<(), PartError> {
        self.stop.cancel();
        let Some(crew) = self.crew.take() else { return Ok(()) };
        tokio::time::timeout(PATIENCE, crew.finish()).await.expect("a node stops in time")
    }

    pub(crate) async fn end(mut self) -> Result<(), PartError> {
        self.stop().await
    }
}

pub(crate) fn manager(dir: &Path) -> NodeBuilder {
    Node::builder(dir, Arc::new(InertExecutor::new())).listen_remote("127.0.0.1:0")
}

pub(crate) fn worker(dir: &Path, address: &str, token: &str) -> NodeBuilder {
    Node::builder(dir, Arc::new(InertExecutor::new())).join(address, Some(token.to_owned()))
}

pub(crate) fn tokens(store: &Store) -> (String, String) {
    let view = store.view();
    let tokens = view.cluster().expect("the cluster is there").root_ca.join_tokens.clone().expect("tokens");
    (tokens.worker, tokens.manager)
}

/// Waits until the store holds what is asked for.
pub(crate) async fn until(store: &Store, holds: impl Fn(&swarmkit_store::View) -> bool) {
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

pub(crate) fn state_of(view: &swarmkit_store::View, handle: &NodeHandle) -> Option<State> {
    view.get::<NodeObject>(handle.id()).map(|node| node.status.state())
}

pub(crate) async fn cluster() -> (TempDir, Running) {
    let dir = tempfile::tempdir().unwrap();
    let manager = Running::start(manager(dir.path())).await.unwrap().ready().await;
    (dir, manager)
}
