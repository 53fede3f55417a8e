//! The manager as a whole: what is started, in which order it stops.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use swarmkit_api::wire;
use swarmkit_control::Members;
use swarmkit_dispatcher::{Dispatcher, DispatcherConfig, LogBroker};
use swarmkit_raft::{Begin, NoMessenger, Raft, RaftConfig, RaftError, RaftParts, RaftProposer};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, ControlSocket, Forward, Leader, Listener, ServerOptions, Services,
    serve,
};
use swarmkit_runtime::{Crew, PartError};
use swarmkit_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ManagerConfig,
    follow::{self, Followed},
    lead, reach,
    services::{self, Parts},
    term::LeaderTerm,
};

/// A manager that is ready to serve.
#[must_use = "a manager serves while it is run"]
pub struct Manager {
    handle: ManagerHandle,
    /// Stops raft, when nothing needs it any more.
    raft_stop: CancellationToken,
    raft: Raft,
    raft_parts: RaftParts,
    authority: Authority,
    followed: Followed,
    /// Connections to other managers. They outlive what is forwarded over them.
    channels: Crew,
    term: LeaderTerm,
    remote: (Box<dyn Listener>, Services),
    local: (Box<dyn Listener>, Services),
    /// Ends what callers wait for, which would otherwise hold up the end of their connections.
    waiting: CancellationToken,
}

/// What others may ask of a manager that runs. Clones share it.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    addr: String,
    control_socket: PathBuf,
    store: Store,
    leader: watch::Receiver<Leader>,
    local: Channel,
}

impl ManagerHandle {
    /// `host:port` that other nodes are told.
    #[must_use]
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Where local clients connect.
    #[must_use]
    pub fn control_socket(&self) -> &Path {
        &self.control_socket
    }

    /// The replicated store. Writes succeed on the leader only.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The services of the control socket without the socket: calls count as this node's own, and what only the leader
    /// can answer is passed on to it. Answers come while the manager runs.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.local.clone()
    }

    /// Waits until a leader is known.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when the manager has ended before.
    pub async fn has_leader(&self) -> Result<(), Error> {
        let mut leader = self.leader.clone();
        leader.wait_for(|leader| *leader != Leader::Unknown).await.map(drop).map_err(|_| RaftError::Stopped.into())
    }
}

impl Manager {
    /// Opens the log, binds the addresses and mounts the services. Nothing is answered before [`Manager::run`].
    ///
    /// # Errors
    ///
    /// An address is taken, the log cannot be opened, or a service cannot be mounted.
    pub async fn start(config: ManagerConfig) -> Result<Self, Error> {
        let ManagerConfig {
            env,
            credentials,
            transport,
            disk,
            log_key,
            raft: raft_options,
            networks,
            listen_remote,
            advertise,
            control_socket,
            first,
        } = config;
        let own = credentials.identity();
        let refused = |address: &str| {
            let address = address.to_owned();
            move |source| Error::Listen { address, source }
        };
        let listener = transport.listen(&listen_remote).await.map_err(refused(&listen_remote))?;
        let addr = match (advertise, listener.local_addr()) {
            (Some(addr), _) => addr,
            (None, Some(bound)) => reach::advertised(bound).await.to_string(),
            (None, None) => listen_remote,
        };
        let socket = ControlSocket::bind(&control_socket, Some(credentials.clone()))
            .await
            .map_err(refused(&control_socket.display().to_string()))?;

        let proposer = RaftProposer::new();
        let store = Store::new(env.clone(), proposer.clone());
        let raft_stop = CancellationToken::new();
        let raft_config = RaftConfig {
            disk,
            key: log_key,
            env: env.clone(),
            options: raft_options.clone(),
            node_id: own.node.clone(),
            addr: addr.clone(),
            messenger: Arc::new(NoMessenger),
            begin: Begin::Bootstrap,
        };
        let (raft, raft_parts) = Raft::start(raft_config, &proposer, &raft_stop).await?;

        let (leader, leader_seen) = watch::channel(Leader::Unknown);
        let (managers, managers_seen) = watch::channel(Vec::<wire::Peer>::new());
        let members = Members::default();
        let channels = Crew::under(&CancellationToken::new());
        let forward =
            Forward::new(leader_seen.clone(), Channels::new(transport, ChannelOptions::default(), channels.spawner()));
        let dispatcher =
            Dispatcher::new(env.clone(), store.clone(), own.node.clone(), managers_seen, DispatcherConfig::default());
        let logs = LogBroker::new(env.clone(), store.clone());
        let authority = Authority::of(&credentials);
        let waiting = CancellationToken::new();
        let parts = Parts {
            env: &env,
            store: &store,
            authority: &authority,
            forward: &forward,
            members: &members,
            dispatcher: &dispatcher,
            logs: &logs,
            stop: &waiting,
        };
        let remote = (listener, services::remote(&parts)?);
        let local: (Box<dyn Listener>, _) = (Box::new(socket), services::local(&parts)?);
        let here = Channel::here(&local.1);
        let followed = Followed { own_addr: addr.clone(), leader, managers, members };
        let handle = ManagerHandle { addr, control_socket, store: store.clone(), leader: leader_seen, local: here };
        let group = raft.clone();
        let term = LeaderTerm { env, store, own, first, raft: raft_options, group, networks, dispatcher, logs };
        Ok(Self { handle, raft_stop, raft, raft_parts, authority, followed, channels, term, remote, local, waiting })
    }

    /// For asking the manager while it runs.
    #[must_use]
    pub fn handle(&self) -> ManagerHandle {
        self.handle.clone()
    }

    /// Serves until `stop`, or until something ends that a manager cannot do without.
    ///
    /// # Errors
    ///
    /// Why it ended before it was told to.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self { handle, raft_stop, raft, raft_parts, authority, followed, channels, term, remote, local, waiting } =
            self;
        let store = handle.store;
        let mut serving = Crew::under(&stop);
        for (name, (listener, services)) in [("remote listener", remote), ("control socket", local)] {
            let spawner = serving.spawner();
            serving.spawn(name, move |_| async move {
                serve(listener, services, ServerOptions::default(), spawner).await;
                Ok::<(), PartError>(())
            });
        }
        serving.spawn("waiting callers", |stop| async move {
            stop.cancelled().await;
            waiting.cancel();
            Ok::<(), PartError>(())
        });
        serving.spawn("members", {
            let raft = raft.clone();
            move |stop| follow::raft(raft, followed, stop)
        });
        serving.spawn("leadership", {
            let (leadership, env) = (raft.leadership(), term.env.clone());
            move |stop| lead::run(leadership, env, move |stop| term.clone().run(stop), stop)
        });
        serving.spawn("removed nodes", |stop| follow::removed_nodes(store.clone(), authority, stop));
        let served = serving.finish().await;

        channels.stop().cancel();
        channels.join().await;
        raft_stop.cancel();
        let replicated = raft_parts.run().await;
        store.close();
        // The log is the cause of whatever followed from it.
        replicated?;
        served.map_err(Error::Part)
    }
}
