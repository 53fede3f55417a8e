//! The node as a whole.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_agent::{Agent, AgentHandle, ClusterManagers, SessionError, TaskUsage};
use swarmkit_api::{
    NodeId, NodeRole,
    wire::{NetworkAttachmentConfig, NodeTlsInfo, control_client::ControlClient},
};
use swarmkit_ca::{Credentials, ManagerLock, UnlockKey};
use swarmkit_executor::DynExecutor;
use swarmkit_manager::{Manager, ManagerHandle};
use swarmkit_rpc::{Channel, ChannelOptions, Channels, OBSERVATION_DEFAULT, Remote, Remotes, TlsTransport, Transport};
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    NodeBuilder, NodeError,
    founding::Founding,
    identity::{self, Established, Wish},
    log_dir,
    managing::{How, Making, Managing},
    peers, removal,
    renewal::Renewal,
    roots,
    state_dir::{StateDir, blocking},
    supervisor::{Posted, Supervisor},
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
    supervisor: Supervisor,
    manager: Option<Manager>,
    agent: Agent,
    remotes: Remotes,
    channels: Channels,
    locked: Arc<Notify>,
    tls_info: watch::Sender<Option<NodeTlsInfo>>,
    crew: Crew,
}

/// What others may ask of a node that runs. Clones share it.
#[derive(Clone)]
pub struct NodeHandle {
    id: NodeId,
    credentials: Credentials,
    control_socket: PathBuf,
    manager: watch::Receiver<Option<ManagerHandle>>,
    agent: AgentHandle,
}

impl NodeHandle {
    /// Who the node is.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The role that it acts in now. The cluster may change it.
    #[must_use]
    pub fn role(&self) -> NodeRole {
        self.credentials.identity().role
    }

    /// When the certificate that it shows now ends. It gets another one long before, as long as it reaches managers.
    #[must_use]
    pub fn certificate_end(&self) -> SystemTime {
        self.credentials.trust().certificate().validity().not_after
    }

    /// Where local clients of a manager connect.
    #[must_use]
    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// The `host:port` at which other nodes reach the manager here. `None` while none runs.
    #[must_use]
    pub fn remote_addr(&self) -> Option<String> {
        self.manager.borrow().as_ref().map(|manager| manager.addr().to_owned())
    }

    /// A client of the control API in this process: no socket lies between. `None` while no manager runs here.
    ///
    /// Calls are answered while the node is a manager, and wait up to five seconds for a leader.
    #[must_use]
    pub fn control(&self) -> Option<ControlClient<Channel>> {
        let channel = self.manager.borrow().as_ref()?.channel();
        Some(ControlClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// The replicated store of the manager here. `None` while none runs.
    #[must_use]
    pub fn store(&self) -> Option<Store> {
        self.manager.borrow().as_ref().map(|manager| manager.store().clone())
    }

    /// What managers of this cluster need after a restart: a secret. `None` while no manager runs here, and where they are not
    /// locked.
    #[must_use]
    pub fn unlock_key(&self) -> Option<UnlockKey> {
        ManagerLock::of(self.store()?.view().cluster()?).ok()?.key
    }

    /// Whether the manager of this node leads the cluster, at this moment. Never while none runs.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.manager.borrow().as_ref().is_some_and(ManagerHandle::leads)
    }

    /// What the tasks of this node that run use, each measured now; at most `limit` of them. A task whose executor cannot
    /// tell is left out.
    pub async fn usage(&self, limit: usize) -> Vec<TaskUsage> {
        self.agent.usage(limit).await
    }

    /// Waits until the node takes part: its manager, while it is one, knows a leader, and its agent has had a session.
    ///
    /// # Errors
    ///
    /// When the node has ended before.
    pub async fn ready(&self) -> Result<(), NodeError> {
        let (mut trust, mut manager) = (self.credentials.subscribe(), self.manager.clone());
        let leads = async {
            let manager = manager.wait_for(Option::is_some).await.map_err(|_| NodeError::Stopped)?.clone();
            match manager {
                Some(manager) => {
                    manager.has_leader().await?;
                    // Before that the others cannot count on it.
                    Ok(manager.has_vote().await?)
                }
                None => Err(NodeError::Stopped),
            }
        };
        tokio::select! { biased; // a worker has no manager to wait for
            _ = trust.wait_for(|trust| trust.identity().role == NodeRole::Worker) => {}
            ended = leads => ended?,
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

    /// Attaches a container that was started outside of the cluster to one of its networks, and gives the attachment's id.
    /// Waits for a session with a manager if there is none.
    ///
    /// # Errors
    ///
    /// As [`AgentHandle::attach_network`].
    pub async fn attach_network(
        &self,
        config: NetworkAttachmentConfig,
        container_id: impl Into<String>,
    ) -> Result<String, SessionError> {
        self.agent.attach_network(config, container_id).await
    }

    /// Ends an attachment of this node. Waits for a session with a manager if there is none.
    ///
    /// # Errors
    ///
    /// As [`AgentHandle::detach_network`].
    pub async fn detach_network(&self, attachment_id: impl Into<String>) -> Result<(), SessionError> {
        self.agent.detach_network(attachment_id).await
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
        let NodeBuilder {
            state_dir,
            executor,
            env,
            hostname,
            volumes,
            join,
            token,
            alone,
            unlock_key,
            autolock,
            external_cas,
            network_options,
            managing,
        } = set_up;
        // A leader that cannot work with these would never lead.
        managing.networks.allocator(&network_options)?;
        let dir = StateDir::open(state_dir, unlock_key, &env).await?;
        let crew = Crew::under(stop);
        let known = match &join {
            Some(target) => vec![Remote { node: None, address: target.address.clone() }],
            // Those that it knew belong to what was lost.
            None if alone => Vec::new(),
            None => {
                let dir = dir.clone();
                blocking(move || peers::load(dir.path())).await?
            }
        };
        let wish = Wish { join, token, known, external_cas, networks: network_options, autolock, alone };
        let Established { credentials, founds } = identity::establish(&dir, &wish, &env, &crew.spawner()).await?;
        let own = credentials.identity();
        let transport = Arc::new(TlsTransport::new(credentials.clone()));
        let (founding, first) = founds.unzip();
        let control_socket = managing.control_socket.clone();
        // Where this node was reached as a manager before need not be where it is reached now.
        let known = wish.known.into_iter().filter(|remote| remote.node.as_ref() != Some(&own.node));
        let remotes = Remotes::new(known, &env);
        let locked = Arc::new(Notify::new());
        let making = Making {
            dir: dir.clone(),
            env: env.clone(),
            credentials: credentials.clone(),
            transport: transport.clone(),
            settings: managing,
            locked: locked.clone(),
            known: remotes.clone(),
        };
        let how = match first {
            Some(first) => How::Founds(first),
            None if alone => How::Alone,
            None => How::Member,
        };
        let (supervisor, manager) = Self::prepare(making, how).await?;

        let channels = Channels::new(transport, ChannelOptions::default(), crew.spawner());
        let tls_info = roots::first(&credentials);
        let managers = ClusterManagers::new(remotes.clone(), channels.clone());
        let managers = Arc::new(managers.preferring(own.node.clone(), supervisor.posted.channel()));
        let agent =
            Agent::builder(env.clone(), executor, managers, dir.path().join(AGENT)).tls_info(tls_info.subscribe());
        let agent = match hostname {
            Some(hostname) => agent.hostname(hostname),
            None => agent,
        };
        let agent = match volumes {
            Some(volumes) => agent.volumes(volumes),
            None => agent,
        };
        let agent = blocking(move || Ok(agent.build()?)).await?;
        let handle = NodeHandle {
            id: own.node,
            credentials: credentials.clone(),
            control_socket,
            manager: supervisor.posted.manager(),
            agent: agent.handle(),
        };
        Ok(Self {
            handle,
            env,
            dir,
            credentials,
            founding,
            supervisor,
            manager,
            agent,
            remotes,
            channels,
            locked,
            tls_info,
            crew,
        })
    }

    /// Gets the manager ready, if the node is one; otherwise nothing is left of one that it was.
    async fn prepare(making: Making, how: How) -> Result<(Supervisor, Option<Manager>), NodeError> {
        let own = making.credentials.identity();
        let (posted, renew) = (Posted::default(), Arc::default());
        if own.role == NodeRole::Worker {
            making.forget_log().await?;
            return Ok((Supervisor { making, posted, renew }, None));
        }
        let place = making.dir.clone();
        blocking(move || log_dir::clear(place.path())).await?;
        let manager = making.start(how).await?;
        let handle = manager.handle();
        making.known.observe(Remote { node: Some(own.node), address: handle.addr().to_owned() }, OBSERVATION_DEFAULT);
        posted.post(&handle);
        Ok((Supervisor { making, posted, renew }, Some(manager)))
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
        let Self { handle, env, dir, credentials, founding, supervisor, manager, .. } = self;
        let Self { agent, remotes, channels, locked, tls_info, mut crew, .. } = self;
        let keys = dir.keys().clone();
        let membership = handle.agent.membership();
        let founder = manager.as_ref().map(Manager::handle);
        let here = supervisor.posted.channel();
        let asked = supervisor.renew.clone();
        let managing = Managing::run(supervisor, manager);
        let spawner = crew.spawner();
        let as_manager = Box::new(|credentials| Arc::new(TlsTransport::new(credentials)) as Arc<dyn Transport>);
        crew.spawn("end", {
            let managers = managing.ended();
            move |crew| until_the_end(crew, stop, managers)
        });
        if let (Some(founding), Some(founder)) = (founding, founder) {
            crew.spawn("founding", |stop| complete(founding, founder, stop));
        }
        crew.spawn("agent", move |stop| async move { agent.run(stop).await.map_err(NodeError::from) });
        crew.spawn("removal", |stop| removal::notice(handle.agent, handle.id, dir.path().to_owned(), stop));
        crew.spawn("managers on disk", |stop| peers::remember(dir.path().to_owned(), remotes.clone(), stop));
        crew.spawn("trust", |stop| {
            roots::follow(env.clone(), credentials.clone(), keys.clone(), membership.clone(), stop)
        });
        crew.spawn("trust told", |stop| roots::tell(credentials.clone(), tls_info, stop));
        let renewal =
            Renewal { env, credentials, keys, remotes, channels, here, locked, as_manager, spawner, membership, asked };
        crew.spawn("certificate renewal", |stop| renewal.run(stop));
        let ended = crew.finish().await;
        // The manager is the cause of whatever followed from it.
        managing.finish().await.map_err(node_error)?;
        ended.map_err(node_error)
    }
}

/// Waits for the first reason to end the node: it is told to, or its manager has ended.
async fn until_the_end(
    crew: CancellationToken,
    stop: CancellationToken,
    managers: CancellationToken,
) -> Result<(), NodeError> {
    tokio::select! { biased; // they lead to the same
        () = crew.cancelled() => {}
        () = stop.cancelled() => {}
        () = managers.cancelled() => {}
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
