//! The node as a whole.

use std::{
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
use swarmkit_manager::{Manager, ManagerHandle};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, Remote, Remotes, TlsTransport};
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    NodeBuilder, NodeError,
    founding::Founding,
    identity::{self, Established},
    managing::{self, Managing},
    peers,
    renewal::Renewal,
    roots,
    state_dir::{StateDir, blocking},
};

/// The agent's folder in the state directory, as upstream names it.
const AGENT: &str = "worker";
/// The largest answer that a client in this process takes: as much as the wire can say. It is in memory anyway.
const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;

/// A node that is ready to run.
#[must_use = "a node does nothing until it is run"]
pub struct Node {
    handle: NodeHandle,
    env: Env,
    dir: StateDir,
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

    /// Waits until the node takes part: its manager, if it is one, knows a leader and has a vote, and its agent has a
    /// session.
    ///
    /// # Errors
    ///
    /// When the node has ended before.
    pub async fn ready(&self) -> Result<(), NodeError> {
        if let Some(manager) = &self.manager {
            manager.has_leader().await?;
            manager.has_vote().await?;
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
        tokio::select! { biased; // whoever wants to stop does not want to wait for a manager
            () = stop.cancelled() => Err(NodeError::Stopped),
            node = Self::get_ready(set_up, stop) => node,
        }
    }

    async fn get_ready(set_up: NodeBuilder, stop: &CancellationToken) -> Result<Self, NodeError> {
        let NodeBuilder { state_dir, executor, env, hostname, join, managing } = set_up;
        let dir = StateDir::open(state_dir).await?;
        let crew = Crew::under(stop);
        let Established { credentials, founds } =
            identity::establish(&dir, join.as_ref(), &env, &crew.spawner()).await?;
        let own = credentials.identity();
        let transport = Arc::new(TlsTransport::new(credentials.clone()));
        let (founding, root) = founds.unzip();
        let control_socket = managing.control_socket.clone();
        let known = match join {
            Some(target) => vec![Remote { node: None, address: target.address }],
            None => {
                let dir = dir.clone();
                blocking(move || peers::load(dir.path())).await?
            }
        };
        let manager = match own.role {
            NodeRole::Worker => None,
            NodeRole::Manager => {
                let known = known.clone();
                Some(managing::start(&dir, &env, &credentials, transport.clone(), managing, root, known).await?)
            }
        };
        let known = match &manager {
            Some(manager) => vec![Remote { node: Some(own.node.clone()), address: manager.handle().addr().to_owned() }],
            None => known,
        };
        let remotes = Remotes::new(known, &env);
        let channels = Channels::new(transport, ChannelOptions::default(), crew.spawner());
        let tls_info = roots::first(&credentials);
        let managers = Arc::new(ClusterManagers::new(remotes.clone(), channels.clone()));
        let agent =
            Agent::builder(env.clone(), executor, managers, dir.path().join(AGENT)).tls_info(tls_info.subscribe());
        let agent = match hostname {
            Some(hostname) => agent.hostname(hostname),
            None => agent,
        };
        let agent = blocking(move || Ok(agent.build()?)).await?;
        let handle = NodeHandle {
            id: own.node,
            role: own.role,
            control_socket,
            manager: manager.as_ref().map(Manager::handle),
            agent: agent.handle(),
        };
        Ok(Self { handle, env, dir, credentials, founding, manager, agent, remotes, channels, tls_info, crew })
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
        let Self { handle, env, dir, credentials, founding, manager, agent, remotes, channels, tls_info, mut crew } =
            self;
        let keys = KeyStore::new(dir.path());
        let membership = handle.agent.membership();
        let managing = manager.map(Managing::run);
        crew.spawn("end", {
            let manager = managing.as_ref().map(Managing::ended);
            move |crew| until_the_end(crew, stop, manager)
        });
        if let (Some(founding), Some(manager)) = (founding, handle.manager) {
            crew.spawn("founding", |stop| complete(founding, manager, stop));
        }
        crew.spawn("agent", move |stop| async move { agent.run(stop).await.map_err(NodeError::from) });
        crew.spawn("managers on disk", |stop| peers::remember(dir.path().to_owned(), remotes.clone(), stop));
        crew.spawn("trust", |stop| {
            roots::follow(env.clone(), credentials.clone(), keys.clone(), membership.clone(), stop)
        });
        crew.spawn("trust told", |stop| roots::tell(credentials.clone(), tls_info, stop));
        let suspicion = Arc::new(Notify::new());
        let renewal = Renewal { env, credentials, keys, remotes, channels, membership, suspicion };
        crew.spawn("certificate renewal", |stop| renewal.run(stop));
        let ended = crew.finish().await;
        // The manager is the cause of whatever followed from it.
        if let Some(managing) = managing {
            managing.finish().await.map_err(node_error)?;
        }
        ended.map_err(node_error)
    }
}

/// Waits for the first reason to end the node: it is told to, or its manager has ended.
async fn until_the_end(
    crew: CancellationToken,
    stop: CancellationToken,
    manager: Option<CancellationToken>,
) -> Result<(), NodeError> {
    let manager = async {
        match &manager {
            Some(ended) => ended.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! { biased; // they lead to the same
        () = crew.cancelled() => {}
        () = stop.cancelled() => {}
        () = manager => {}
    }
    Ok(())
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
    blocking(move || founding.complete()).await?;
    stop.cancelled().await;
    Ok(())
}
