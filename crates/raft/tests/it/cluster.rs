//! What the scenarios share: a member with its store, and how it is started, stopped and killed.

use std::sync::Arc;

use swarmkit_api::{Node, NodeId};
use swarmkit_raft::{
    Begin, Disk, Exchange, LogKey, LogKeys, Messenger, Raft, RaftConfig, RaftError, RaftOptions, RaftParts,
    RaftProposer,
};
use swarmkit_runtime::{Crew, Env};
use swarmkit_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

/// What a member needs to start, and to start again.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) node: NodeId,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: RaftOptions,
    pub(crate) begin: Begin,
    pub(crate) env: Env,
    pub(crate) keys: LogKeys,
    pub(crate) exchange: Exchange,
    /// How it reaches others, if not by the exchange.
    pub(crate) messenger: Option<Arc<dyn Messenger>>,
    pub(crate) addr: String,
}

/// A member that runs.
pub(crate) struct Running {
    pub(crate) raft: Raft,
    pub(crate) store: Store,
    stop: CancellationToken,
    crew: Crew,
}

impl Site {
    pub(crate) fn new(node: &str, disk: impl Disk) -> Self {
        Self {
            node: NodeId::from(node),
            disk: Arc::new(disk),
            options: RaftOptions::default(),
            begin: Begin::Bootstrap,
            env: Env::real(),
            keys: LogKey::new([7; 32]).into(),
            exchange: Exchange::default(),
            messenger: None,
            addr: format!("{node}:2377"),
        }
    }

    pub(crate) async fn start(&self) -> Result<Running, RaftError> {
        let proposer = RaftProposer::new();
        let store = Store::new(self.env.clone(), proposer.clone());
        let stop = CancellationToken::new();
        let config = RaftConfig {
            disk: self.disk.clone(),
            keys: self.keys.clone(),
            env: self.env.clone(),
            options: self.options.clone(),
            node_id: self.node.clone(),
            addr: self.addr.clone(),
            messenger: match &self.messenger {
                Some(messenger) => messenger.clone(),
                None => Arc::new(self.exchange.messenger(self.node.clone())),
            },
            begin: self.begin,
        };
        let (raft, parts): (Raft, RaftParts) = Raft::start(config, &proposer, &stop).await?;
        self.exchange.add(self.node.clone(), raft.receiver());
        let mut crew = Crew::under(&stop);
        crew.spawn("raft", move |_| parts.run());
        Ok(Running { raft, store, stop, crew })
    }
}

/// A group of one, which leads.
pub(crate) async fn alone(disk: impl Disk, options: RaftOptions) -> (Site, Running) {
    let site = Site { options, ..Site::new("n1", disk) };
    let member = site.start().await.expect("a member starts");
    member.lead().await;
    (site, member)
}

impl Running {
    /// Waits until it leads.
    pub(crate) async fn lead(&self) -> u64 {
        self.raft.leadership().lead().await.expect("raft runs")
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.crew.finish().await.expect("raft stops cleanly");
    }

    /// Waits until it ends by itself, and tells why.
    pub(crate) async fn ended(self) -> String {
        self.crew.finish().await.expect_err("raft has failed").to_string()
    }

    /// Dies at once.
    pub(crate) fn kill(self) {
        drop(self.crew);
    }

    /// Creates a node with this id.
    pub(crate) async fn write(&self, id: &str) -> Result<(), StoreError> {
        self.store.update(|tx| tx.create(Node::new(NodeId::from(id)))).await.map(|_| ())
    }

    /// The ids of all nodes.
    pub(crate) fn ids(&self) -> Vec<String> {
        let view = self.store.view();
        view.all::<Node>().map(|node| node.id.to_string()).collect()
    }
}
