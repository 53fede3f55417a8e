//! The managers of this node, one after the other: what they are made from, and how the node hears of their end.

use std::{path::PathBuf, sync::Arc};

use swarmkit_allocator::NetworkProvider;
use swarmkit_ca::Credentials;
use swarmkit_csi::VolumePlugins;
use swarmkit_dispatcher::DispatcherConfig;
use swarmkit_external_ca::CfsslClient;
use swarmkit_manager::{Begin, FirstLeader, Manager, ManagerConfig};
use swarmkit_raft::{Raft, RaftOptions, RealDisk};
use swarmkit_rpc::{Remote, Remotes, TlsTransport};
use swarmkit_runtime::{Crew, Env, PartError};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    NodeError,
    log_dir::{self, RAFT},
    log_key,
    state_dir::{StateDir, blocking},
    supervisor::Supervisor,
};

/// What a node is set up with as far as its manager is concerned.
#[derive(Clone)]
pub(crate) struct ManagerSettings {
    pub(crate) listen_remote: String,
    pub(crate) advertise: Option<String>,
    pub(crate) control_socket: PathBuf,
    pub(crate) raft: RaftOptions,
    pub(crate) networks: Arc<dyn NetworkProvider>,
    pub(crate) volume_plugins: Arc<dyn VolumePlugins>,
    pub(crate) dispatcher: DispatcherConfig,
}

/// How a manager of this node begins.
pub(crate) enum How {
    /// It founds a cluster.
    Founds(FirstLeader),
    /// It goes on alone, after the others were lost for good.
    Alone,
    /// It is one of several, or was.
    Member,
}

/// What the managers of this node are made from.
pub(crate) struct Making {
    pub(crate) dir: StateDir,
    pub(crate) env: Env,
    pub(crate) credentials: Credentials,
    pub(crate) transport: Arc<TlsTransport>,
    pub(crate) settings: ManagerSettings,
    /// Told when the key file has become locked.
    pub(crate) locked: Arc<Notify>,
    /// The managers that this node has heard of, itself perhaps among them.
    pub(crate) known: Remotes,
}

impl Making {
    /// Gets a manager ready, on the log in the state directory. One without a log joins the others that are known: it never gets back the vote that a lost log has cast.
    pub(crate) async fn start(&self, how: How) -> Result<Manager, NodeError> {
        let path = self.dir.path().join(RAFT);
        let open = move || RealDisk::open(&path).map_err(|source| NodeError::StateDir { action: "open", path, source });
        let disk = blocking(open).await?;
        let has_log = Raft::has_state(&disk).await?;
        let others = self.others();
        let begin = match how {
            How::Founds(first) => Begin::Found(first),
            How::Alone if has_log => Begin::ForceNew,
            How::Member if !others.is_empty() => Begin::Join(Remotes::new(others, &self.env)),
            How::Member if has_log => Begin::Restart,
            How::Alone | How::Member => return Err(NodeError::NoLog { path: self.dir.path().to_owned() }),
        };
        let (place, clock) = (self.dir.clone(), self.env.clone());
        let log_keys = blocking(move || log_key::load(&place, has_log, &clock)).await?;
        let ManagerSettings { listen_remote, advertise, control_socket, raft, networks, volume_plugins, dispatcher } =
            self.settings.clone();
        let config = ManagerConfig {
            env: self.env.clone(),
            credentials: self.credentials.clone(),
            transport: self.transport.clone(),
            disk: Arc::new(disk),
            log_keys,
            keys: self.dir.keys().clone(),
            locked: self.locked.clone(),
            raft,
            networks,
            volume_plugins,
            dispatcher,
            external_ca: Arc::new(CfsslClient::new(self.env.clone(), self.credentials.clone())),
            listen_remote,
            advertise,
            control_socket,
            begin,
        };
        // Large, and awaited by larger ones.
        Ok(Box::pin(Manager::start(config)).await?)
    }

    fn others(&self) -> Vec<Remote> {
        let own = self.credentials.identity().node;
        self.known.list().into_iter().filter(|remote| remote.node.as_ref() != Some(&own)).collect()
    }

    /// Forgets the log, when no manager runs on it any more.
    pub(crate) async fn forget_log(&self) -> Result<(), NodeError> {
        let place = self.dir.clone();
        blocking(move || log_dir::forget(&place)).await
    }
}

/// A supervisor that runs until it is told to stop, or ends by itself. The rest of the node stops before it does, so that
/// what the agent still has to say is heard.
pub(crate) struct Managing {
    crew: Crew,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Managing {
    pub(crate) fn run(supervisor: Supervisor, first: Option<Manager>) -> Self {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let mut crew = Crew::under(&stop);
        let when_it_ends = ended.clone().drop_guard();
        crew.spawn("manager", move |stop| async move {
            let _ended = when_it_ends;
            supervisor.run(first, stop).await
        });
        Self { crew, stop, ended }
    }

    /// Cancelled when it has ended, for whatever reason.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Stops it, and tells how it ended.
    pub(crate) async fn finish(self) -> Result<(), PartError> {
        self.stop.cancel();
        self.crew.finish().await
    }
}
