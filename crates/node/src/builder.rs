//! How a node is set up.

use std::{path::PathBuf, sync::Arc, time::Duration};

use swarmkit_allocator::{InertNetworks, NetworkOptions, NetworkProvider};
use swarmkit_api::wire;
use swarmkit_ca::UnlockKey;
use swarmkit_csi::{NoPlugins, VolumePlugins};
use swarmkit_dispatcher::DispatcherConfig;
use swarmkit_executor::{DynExecutor, NodeVolumes};
use swarmkit_raft::RaftOptions;
use swarmkit_runtime::Env;
use swarmkit_secret_drivers::SecretDrivers;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{Node, NodeError, join::Target, managing::ManagerSettings};

/// Where a manager listens for other nodes unless told otherwise: everywhere, on upstream's port.
const LISTEN_REMOTE: &str = "0.0.0.0:4242";
/// The control socket within the state directory, unless told otherwise.
const CONTROL_SOCKET: &str = "control.sock";

/// What a node is set up with. What is not set has a default that suits one machine.
#[must_use = "nothing happens until it is started"]
pub struct NodeBuilder {
    pub(crate) state_dir: PathBuf,
    pub(crate) executor: Arc<dyn DynExecutor>,
    pub(crate) env: Env,
    pub(crate) hostname: Option<String>,
    pub(crate) volumes: Option<Arc<dyn NodeVolumes>>,
    pub(crate) join: Option<Target>,
    pub(crate) token: Option<Zeroizing<String>>,
    pub(crate) alone: bool,
    pub(crate) unlock_key: Option<UnlockKey>,
    pub(crate) autolock: bool,
    pub(crate) external_cas: Vec<wire::ExternalCa>,
    pub(crate) network_options: NetworkOptions,
    pub(crate) managing: ManagerSettings,
}

impl NodeBuilder {
    pub(crate) fn new(state_dir: PathBuf, executor: Arc<dyn DynExecutor>) -> Self {
        let managing = ManagerSettings {
            listen_remote: LISTEN_REMOTE.to_owned(),
            advertise: None,
            control_socket: state_dir.join(CONTROL_SOCKET),
            raft: RaftOptions::default(),
            networks: Arc::new(InertNetworks),
            volume_plugins: Arc::new(NoPlugins),
            dispatcher: DispatcherConfig::default(),
        };
        Self {
            state_dir,
            executor,
            env: Env::real(),
            hostname: None,
            volumes: None,
            join: None,
            token: None,
            alone: false,
            unlock_key: None,
            autolock: false,
            external_cas: Vec::new(),
            network_options: NetworkOptions::default(),
            managing,
        }
    }

    /// Takes time, chance and ids from elsewhere.
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The name that the node goes by, in place of the machine's host name.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Where a manager listens for other nodes, as `host:port`. Port 0 takes any. Default: `0.0.0.0:4242`.
    pub fn listen_remote(mut self, address: impl Into<String>) -> Self {
        self.managing.listen_remote = address.into();
        self
    }

    /// The `host:port` that other nodes are told. Default: one that fits where it listens.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.managing.advertise = Some(address.into());
        self
    }

    /// Where a manager takes local clients. Default: `control.sock` in the state directory.
    pub fn listen_control(mut self, path: impl Into<PathBuf>) -> Self {
        self.managing.control_socket = path.into();
        self
    }

    /// The manager to join, as `host:port`, and the token for it. A node that has a certificate already needs none; it
    /// then only learns of the manager. Without a manager to join, a node with no identity founds a cluster.
    ///
    /// A node whose certificate has expired comes back with its id if the token is one of its role.
    pub fn join(mut self, address: impl Into<String>, token: Option<String>) -> Self {
        self.join = Some(Target { address: address.into(), token: token.map(Zeroizing::new) });
        self
    }

    /// A join token without a manager to join: for a node whose certificate has expired and that remembers managers.
    pub fn join_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Zeroizing::new(token.into()));
        self
    }

    /// Lets a manager go on alone from its log, after the quorum of its cluster was lost for good: it becomes the only one
    /// of a new group with all that it had. The other managers must be stopped, and join with empty state directories.
    /// Not to be repeated: it cuts off whoever has joined since.
    pub fn force_new_cluster(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Opens the keys of a manager that are locked. A node whose keys are not locked, and one that founds a cluster, has no
    /// use for it.
    pub fn unlock_key(mut self, key: Option<UnlockKey>) -> Self {
        self.unlock_key = key;
        self
    }

    /// Locks the managers of a cluster that this node founds, from the first file on, with an unlock key that is made for
    /// it: [`NodeHandle::unlock_key`](crate::NodeHandle::unlock_key). Keep it, since no manager starts again without it. Where
    /// there is a cluster already, its settings count.
    pub fn autolock(mut self, lock: bool) -> Self {
        self.autolock = lock;
        self
    }

    /// The authorities outside of the cluster that sign for one that this node founds. For the cluster to be founded without the
    /// key of its root, the state directory must hold that root with a manager's certificate and key of it, and nothing
    /// else. Where there is a cluster already, its settings count.
    pub fn external_cas(mut self, authorities: Vec<wire::ExternalCa>) -> Self {
        self.external_cas = authorities;
        self
    }

    /// Timing and compaction of a manager's log.
    pub fn raft(mut self, options: RaftOptions) -> Self {
        self.managing.raft = options;
        self
    }

    /// Who knows networks and gives out their addresses, where this node manages. Default: a cluster without networks of
    /// its own.
    pub fn networks(mut self, networks: Arc<dyn NetworkProvider>) -> Self {
        self.managing.networks = networks;
        self
    }

    /// The storage plugins that the volumes of the cluster are made with, where this node manages. Each manager needs them.
    /// Default: none.
    pub fn volume_plugins(mut self, plugins: Arc<dyn VolumePlugins>) -> Self {
        self.managing.volume_plugins = plugins;
        self
    }

    /// Who provides the values of secrets that name a driver, where this node manages. Each manager needs them. Default:
    /// nobody.
    pub fn secret_drivers(mut self, drivers: Arc<dyn SecretDrivers>) -> Self {
        self.managing.dispatcher.secret_drivers = drivers;
        self
    }

    /// How long a node may be down before this manager, while it leads, gives its tasks up for lost. Managers should agree.
    /// Default: 24 hours.
    pub fn node_down_period(mut self, period: Duration) -> Self {
        self.managing.dispatcher.node_down_period = period;
        self
    }

    /// What brings volumes of the cluster to this node, for its tasks. Default: nothing, and tasks that need one are refused
    /// here.
    pub fn node_volumes(mut self, volumes: Arc<dyn NodeVolumes>) -> Self {
        self.volumes = Some(volumes);
        self
    }

    /// The address pools of a cluster that this node founds, and the port that carries its overlays. What is empty or 0 is as
    /// the provider of networks has it. Where there is a cluster already, its settings count.
    pub fn network_options(mut self, options: NetworkOptions) -> Self {
        self.network_options = options;
        self
    }

    /// Finds or gets the node's identity and gets everything ready. Nothing runs before [`Node::run`]. When `stop` is
    /// cancelled, now or later, the node stops.
    ///
    /// # Errors
    ///
    /// What stands in the way, in one line.
    pub async fn start(self, stop: &CancellationToken) -> Result<Node, NodeError> {
        Node::start(self, stop).await
    }
}
