//! How a node is set up.

use std::{path::PathBuf, sync::Arc};

use swarmkit_allocator::{InertNetworks, NetworkProvider};
use swarmkit_executor::DynExecutor;
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::Env;
use tokio_util::sync::CancellationToken;

use crate::{Node, NodeError, join::Target};

/// Where a manager listens for other nodes unless told otherwise: everywhere, on upstream's port.
const LISTEN_REMOTE: &str = "0.0.0.0:4242";
/// The control socket within the state directory, unless told otherwise.
const CONTROL_SOCKET: &str = "control.sock";

/// What a node is set up with. What is not set has a default that suits one machine.
pub struct NodeBuilder {
    pub(crate) state_dir: PathBuf,
    pub(crate) executor: Arc<dyn DynExecutor>,
    pub(crate) env: Env,
    pub(crate) hostname: Option<String>,
    pub(crate) listen_remote: String,
    pub(crate) advertise: Option<String>,
    pub(crate) control_socket: PathBuf,
    pub(crate) join: Option<Target>,
    pub(crate) raft: RaftOptions,
    pub(crate) networks: Arc<dyn NetworkProvider>,
}

impl NodeBuilder {
    pub(crate) fn new(state_dir: PathBuf, executor: Arc<dyn DynExecutor>) -> Self {
        Self {
            control_socket: state_dir.join(CONTROL_SOCKET),
            state_dir,
            executor,
            env: Env::real(),
            hostname: None,
            listen_remote: LISTEN_REMOTE.to_owned(),
            advertise: None,
            join: None,
            raft: RaftOptions::default(),
            networks: Arc::new(InertNetworks),
        }
    }

    /// Takes time, chance and ids from elsewhere.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The name that the node goes by, in place of the machine's host name.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Where a manager listens for other nodes, as `host:port`. Port 0 takes any. Default: `0.0.0.0:4242`.
    #[must_use]
    pub fn listen_remote(mut self, address: impl Into<String>) -> Self {
        self.listen_remote = address.into();
        self
    }

    /// The `host:port` that other nodes are told. Default: one that fits where it listens.
    #[must_use]
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Where a manager takes local clients. Default: `control.sock` in the state directory.
    #[must_use]
    pub fn listen_control(mut self, path: impl Into<PathBuf>) -> Self {
        self.control_socket = path.into();
        self
    }

    /// The manager to join, as `host:port`, and the token for it. A node that has a certificate already needs none; it
    /// then only learns of the manager. Without a manager to join, a node with no identity founds a cluster.
    #[must_use]
    pub fn join(mut self, address: impl Into<String>, token: Option<String>) -> Self {
        self.join = Some(Target { address: address.into(), token });
        self
    }

    /// Timing and compaction of a manager's log.
    #[must_use]
    pub fn raft(mut self, options: RaftOptions) -> Self {
        self.raft = options;
        self
    }

    /// Who knows networks and gives out their addresses, where this node manages. Default: a cluster without networks of
    /// its own.
    #[must_use]
    pub fn networks(mut self, networks: Arc<dyn NetworkProvider>) -> Self {
        self.networks = networks;
        self
    }

    /// Finds or gets the node's identity and gets everything ready. Nothing runs before [`Node::run`].
    ///
    /// # Errors
    ///
    /// What stands in the way, in one line.
    pub async fn start(self, stop: &CancellationToken) -> Result<Node, NodeError> {
        Node::start(self, stop).await
    }
}
