//! What a manager is made of.

use std::{path::PathBuf, sync::Arc};

use swarmkit_allocator::{NetworkOptions, NetworkProvider};
use swarmkit_api::wire;
use swarmkit_ca::{Credentials, ExternalCa, KeyStore, RootCa, UnlockKey};
use swarmkit_csi::VolumePlugins;
use swarmkit_dispatcher::DispatcherConfig;
use swarmkit_raft::{Disk, LogKeys, RaftOptions};
use swarmkit_rpc::{Remotes, Transport};
use swarmkit_runtime::Env;
use tokio::sync::Notify;

/// What a manager is made of.
#[derive(Clone)]
pub struct ManagerConfig {
    /// Time, chance and ids.
    pub env: Env,
    /// Who this node is, for as long as it runs.
    pub credentials: Credentials,
    /// How nodes reach each other.
    pub transport: Arc<dyn Transport>,
    /// Where the log and the snapshots lie.
    pub disk: Arc<dyn Disk>,
    /// What encrypts them.
    pub log_keys: LogKeys,
    /// Where `log_keys` are kept, beside this node's private key: locked, as long as the cluster wants that.
    pub keys: KeyStore,
    /// Told when the private key in `keys` has become locked, and is to be replaced: it had been on the disk in clear.
    pub locked: Arc<Notify>,
    /// Timing and compaction of the log.
    pub raft: RaftOptions,
    /// Who knows networks and gives out their addresses.
    pub networks: Arc<dyn NetworkProvider>,
    /// The storage plugins that the volumes of the cluster are made with.
    pub volume_plugins: Arc<dyn VolumePlugins>,
    /// How nodes are treated while it leads, and who provides the values of secrets that lie outside of the cluster.
    pub dispatcher: DispatcherConfig,
    /// Asks the authorities outside of the cluster that its settings name.
    pub external_ca: Arc<dyn ExternalCa>,
    /// `host:port` to listen on for other nodes; port 0 takes any.
    pub listen_remote: String,
    /// `host:port` that other nodes are told. `None` finds one that fits `listen_remote`.
    pub advertise: Option<String>,
    /// Where local clients connect.
    pub control_socket: PathBuf,
    /// How it begins.
    pub begin: Begin,
}

/// How a manager begins. Where its disk holds a log it goes on from there in any case.
#[derive(Clone)]
pub enum Begin {
    /// Founds a cluster: what its first leader writes into the empty store.
    Found(FirstLeader),
    /// Joins the cluster of these managers, whichever of them answers. With a log it does not join again; it tells them
    /// where it is reached now. A damaged log is set aside, and at the next start the manager joins as one that has none.
    Join(Remotes),
    /// Goes on from its log, and does not start without one.
    Restart,
    /// Goes on alone from its log, after the quorum of its group was lost for good. The other members must be stopped, and
    /// join anew. As [`swarmkit_raft::Begin::ForceNew`].
    ForceNew,
}

/// What a new cluster starts from.
#[derive(Clone)]
pub struct FirstLeader {
    /// The root of trust, with its key: without it where authorities outside of the cluster sign.
    pub root: RootCa,
    /// What locks its managers, if they are to be locked from the first on.
    pub lock: Option<UnlockKey>,
    /// The authorities outside of the cluster that sign for it.
    pub external_cas: Vec<wire::ExternalCa>,
    /// Where its networks get their addresses from, and the port that carries them.
    pub networks: NetworkOptions,
}
