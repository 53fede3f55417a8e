//! The node as a whole.

use std::{
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use swarmkit_agent::{Agent, AgentHandle, ClusterManagers};
use swarmkit_api::{
    NodeId, NodeRole,
    wire::{NodeTlsInfo, control_client::ControlClient},
};
use swarmkit_ca::{Credentials, KeyStore};
use swarmkit_executor::DynExecutor;
use swarmkit_manager::{FirstLeader, Manager, ManagerConfig, ManagerHandle};
use swarmkit_raft::{Raft, RealDisk};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, Remote, Remotes, TlsTransport};
use swarmkit_runtime::{Crew, Env, PartError, Spawner};
use swarmkit_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    NodeBuilder, NodeError,
    founding::Founding,
    identity::{self, Established},
    log_key, peers,
    renewal::Renewal,
    roots,
};

/// The largest answer that a client in this process takes: as much as the wire can say. It is in memory anyway.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// A node that is ready to run.
pub struct Node {
    handle: NodeHandle,
    env: Env,
    state_dir: PathBuf,
    credentials: Credentials,
    founding: Option<Founding>,
    manager: Option<Manager>,
    agent: Agent,
    remotes: Remotes,
    channels: Channels,
    tls_info: watch::Sender<Option<NodeTlsInfo>>,
    crew: Crew,
}

/// What others may ask of a node that runs. Clones share it.
#[derive(Clone)]
pub struct NodeHandle {
    id: NodeId,
    role: NodeRole,
    control_socket: PathBuf,
    manager: Option<ManagerHandle>,
    agent: AgentHandle,
}

impl NodeHandle {
    /// Who the node is.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The role that it acts in.
    #[must_use]
    pub fn role(&self) -> NodeRole {
        self.role
    }

    /// Where local clients of a manager connect.
    #[must_use]
    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// The `host:port` at which other nodes reach a manager. `None` for workers.
    #[must_use]
    pub fn remote_addr(&self) -> Option<&str> {
        self.manager.as_ref().map(ManagerHandle::addr)
    }

    /// A client of the control API in this process, for a manager: no socket lies between. `None` for workers.
    ///
    /// Calls are answered while the node runs, and wait up to five seconds for a leader.
    #[must_use]
    pub fn control(&self) -> Option<ControlClient<Channel>> {
        let channel = self.manager.as_ref()?.channel();
        Some(ControlClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The replicated store of a manager. `None` for workers.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.manager.as_ref().map(ManagerHandle::store)
    }

    /// Waits until the node takes part: its manager, if it is one, knows a leader, and its agent has a session.
    ///
    /// # Errors
    ///
    /// When the node has ended before.
    pub async fn ready(&self) -> Result<(), NodeError> {
        if let Some(manager) = &self.manager {
            manager.has_leader().await?;
        }
        Ok(self.agent.ready().await?)
    }

    /// Stops every task of this node, by force when that takes longer than `within`, and takes no more.
    ///
    /// # Errors
    ///
    /// When the node has ended before.
    pub async fn leave(&self, within: Duration) -> Result<(), NodeError> {
        Ok(self.agent.leave(within).await?)
    }
}

impl Node {
    /// Sets up a node that keeps its state in `state_dir` and runs tasks with `executor`.
    pub fn builder(state_dir: impl Into<PathBuf>, executor: Arc<dyn DynExecutor>) -> NodeBuilder {
        NodeBuilder::new(state_dir.into(), executor)
    }

    pub(crate) async fn start(set_up: NodeBuilder, stop: &CancellationToken) -> Result<Self, NodeError> {
        let NodeBuilder {
            state_dir,
            executor,
            env,
            hostname,
            listen_remote,
            advertise,
            control_socket,
            join,
            raft,
            networks,
        } = set_up;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state_dir);
        made.map_err(|source| NodeError::StateDir { action: "create", path: state_dir.clone(), source })?;
        let crew = Crew::under(stop);
        let Established { credentials, founds } =
            identity::establish(&state_dir, join.as_ref(), &env, &crew.spawner()).await?;
        let own = credentials.identity();
        let transport = Arc::new(TlsTransport::new(credentials.clone()));
        let (founding, root) = founds.unzip();

        let manager = match own.role {
            NodeRole::Worker => None,
            NodeRole::Manager => {
                let raft_dir = state_dir.join("raft");
                let disk = RealDisk::open(&raft_dir).map_err(|source| NodeError::StateDir {
                    action: "open",
                    path: raft_dir,
                    source,
                })?;
                let has_log = Raft::has_state(&disk).await?;
                if !has_log && root.is_none() {
                    return Err(NodeError::NoLog { path: state_dir });
                }
                let config = ManagerConfig {
                    env: env.clone(),
                    credentials: credentials.clone(),
                    transport: transport.clone(),
                    disk: Arc::new(disk),
                    log_key: log_key::load(&KeyStore::new(&state_dir), has_log, &env)?,
                    raft,
                    networks,
                    listen_remote,
                    advertise,
                    control_socket: control_socket.clone(),
                    first: root.map(|root| FirstLeader { root }),
                };
                Some(Manager::start(config).await?)
            }
        };

        let remotes = Remotes::new(known_managers(&state_dir, &own.node, manager.as_ref(), join.as_ref())?, &env);
        let channels = Channels::new(transport, ChannelOptions::default(), crew.spawner());
        let tls_info = roots::first(&credentials);
        let managers = Arc::new(ClusterManagers::new(remotes.clone(), channels.clone()));
        let agent =
            Agent::builder(env.clone(), executor, managers, state_dir.join("worker")).tls_info(tls_info.subscribe());
        let agent = match hostname {
            Some(hostname) => agent.hostname(hostname),
            None => agent,
        }
        .build()?;
        let handle = NodeHandle {
            id: own.node,
            role: own.role,
            control_socket,
            manager: manager.as_ref().map(Manager::handle),
            agent: agent.handle(),
        };
        Ok(Self { handle, env, state_dir, credentials, founding, manager, agent, remotes, channels, tls_info, crew })
    }

    /// For asking the node while it runs.
    #[must_use]
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Runs until `stop`, or until something ends that the node cannot do without.
    ///
    /// Tasks go on: a node that is started again on the same state directory finds them. To end them, call
    /// [`NodeHandle::leave`] first.
    ///
    /// # Errors
    ///
    /// Why it ended before it was told to.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NodeError> {
        let keys = KeyStore::new(&self.state_dir);
        let membership = self.handle.agent.membership();
        // The agent goes first and the manager last, so that what the agent still has to say is heard.
        let managing = CancellationToken::new();
        let manager = self.manager.map(|manager| {
            let mut crew = Crew::under(&managing);
            crew.spawn("manager", |stop| async move { manager.run(stop).await.map_err(NodeError::from) });
            crew
        });

        let mut crew = self.crew;
        if let (Some(founding), Some(manager)) = (self.founding, self.handle.manager.clone()) {
            crew.spawn("founding", |stop| complete(founding, manager, stop));
        }
        if let Some(manager) = &manager {
            let ended = manager.stop().clone();
            crew.spawn("manager's end", move |stop| async move {
                tokio::select! { biased; // either ends the node
                    () = stop.cancelled() => {}
                    () = ended.cancelled() => {}
                }
                Ok::<(), NodeError>(())
            });
        }
        crew.spawn("agent", move |stop| async move { self.agent.run(stop).await.map_err(NodeError::from) });
        crew.spawn("managers on disk", |stop| peers::remember(self.state_dir.clone(), self.remotes.clone(), stop));
        crew.spawn("trust", |stop| {
            roots::follow(self.env.clone(), self.credentials.clone(), keys.clone(), membership.clone(), stop)
        });
        crew.spawn("trust told", |stop| roots::tell(self.credentials.clone(), self.tls_info, stop));
        let renewal = Renewal {
            env: self.env.clone(),
            credentials: self.credentials.clone(),
            keys: keys.clone(),
            remotes: self.remotes.clone(),
            channels: self.channels,
            membership: membership.clone(),
        };
        crew.spawn("certificate renewal", |stop| renewal.run(stop));
        let ended = crew.finish().await;
        managing.cancel();
        // The manager is the cause of whatever followed from it.
        if let Some(manager) = manager {
            manager.finish().await.map_err(node_error)?;
        }
        drop(stop);
        ended.map_err(node_error)
    }
}

/// Gives a part's error as it was, where it was one of a node.
fn node_error(error: PartError) -> NodeError {
    match error.downcast::<NodeError>() {
        Ok(error) => *error,
        Err(error) => NodeError::Part(error),
    }
}

/// Takes the mark of the founding away once the cluster is in the store, then waits for the end.
async fn complete(founding: Founding, manager: ManagerHandle, stop: CancellationToken) -> Result<(), NodeError> {
    let mut updates = manager.store().watch(swarmkit_api::Kind::Cluster);
    loop {
        let update = tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => update,
        };
        match update {
            Ok(update) if update.view().cluster().is_some() => break,
            Ok(_) => {}
            Err(_) => return Ok(()),
        }
    }
    Spawner::blocking(move || founding.complete()).await.map_err(|error| NodeError::Part(error.into()))??;
    stop.cancelled().await;
    Ok(())
}

/// The managers that this node begins with: itself if it is one, the one that it joins, or those it remembers.
fn known_managers(
    state_dir: &Path,
    own: &NodeId,
    manager: Option<&Manager>,
    join: Option<&crate::join::Target>,
) -> Result<Vec<Remote>, NodeError> {
    if let Some(manager) = manager {
        return Ok(vec![Remote { node: Some(own.clone()), address: manager.handle().addr().to_owned() }]);
    }
    match join {
        Some(target) => Ok(vec![Remote { node: None, address: target.address.clone() }]),
        None => peers::load(state_dir),
    }
}
