//! The manager beside the agent: what it is made from, and how the node hears of its end.

use std::{path::PathBuf, sync::Arc};

use swarmkit_allocator::NetworkProvider;
use swarmkit_ca::{Credentials, RootCa};
use swarmkit_manager::{Begin, FirstLeader, Manager, ManagerConfig};
use swarmkit_raft::{Raft, RaftOptions, RealDisk};
use swarmkit_rpc::{Remote, Remotes, TlsTransport};
use swarmkit_runtime::{Crew, Env, PartError};
use tokio_util::sync::CancellationToken;

use crate::{
    NodeError,
    founding::RAFT,
    log_key,
    state_dir::{StateDir, blocking},
};

/// What a node is set up with as far as its manager is concerned.
pub(crate) struct ManagerSettings {
    pub(crate) listen_remote: String,
    pub(crate) advertise: Option<String>,
    pub(crate) control_socket: PathBuf,
    pub(crate) raft: RaftOptions,
    pub(crate) networks: Arc<dyn NetworkProvider>,
}

/// Gets the manager ready, on the log in the state directory. `founds` is the root of a new cluster; `known` are managers of
/// one that exists, which this one joins if it has no log.
pub(crate) async fn start(
    dir: &StateDir,
    env: &Env,
    credentials: &Credentials,
    transport: Arc<TlsTransport>,
    settings: ManagerSettings,
    founds: Option<RootCa>,
    known: Vec<Remote>,
) -> Result<Manager, NodeError> {
    let path = dir.path().join(RAFT);
    let open = move || RealDisk::open(&path).map_err(|source| NodeError::StateDir { action: "open", path, source });
    let disk = blocking(open).await?;
    let has_log = Raft::has_state(&disk).await?;
    let own = credentials.identity().node;
    let others: Vec<Remote> = known.into_iter().filter(|remote| remote.node.as_ref() != Some(&own)).collect();
    let begin = match founds {
        Some(root) => Begin::Found(FirstLeader { root }),
        None if !others.is_empty() => Begin::Join(Remotes::new(others, env)),
        None if has_log => Begin::Restart,
        None => return Err(NodeError::NoLog { path: dir.path().to_owned() }),
    };
    let (place, clock) = (dir.clone(), env.clone());
    let log_key = blocking(move || log_key::load(place.path(), has_log, &clock)).await?;
    let ManagerSettings { listen_remote, advertise, control_socket, raft, networks } = settings;
    let config = ManagerConfig {
        env: env.clone(),
        credentials: credentials.clone(),
        transport,
        disk: Arc::new(disk),
        log_key,
        raft,
        networks,
        listen_remote,
        advertise,
        control_socket,
        begin,
    };
    // On the heap: futures within futures within futures are more than the compiler will lay out.
    Ok(Box::pin(Manager::start(config)).await?)
}

/// A manager that runs until it is told to stop, or ends by itself. The rest of the node stops before it does, so that
/// what the agent still has to say is heard.
pub(crate) struct Managing {
    crew: Crew,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Managing {
    pub(crate) fn run(manager: Manager) -> Self {
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let mut crew = Crew::under(&stop);
        let when_it_ends = ended.clone().drop_guard();
        crew.spawn("manager", move |stop| async move {
            let _ended = when_it_ends;
            manager.run(stop).await.map_err(NodeError::from)
        });
        Self { crew, stop, ended }
    }

    /// Cancelled when the manager has ended, for whatever reason.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Stops it, and tells how it ended.
    pub(crate) async fn finish(self) -> Result<(), PartError> {
        self.stop.cancel();
        self.crew.finish().await
    }
}
