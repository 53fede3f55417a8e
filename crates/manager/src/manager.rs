//! The manager as a whole: what is started, in which order it stops.

use std::{path::PathBuf, sync::Arc, time::Duration};

use swarmkit_api::wire;
use swarmkit_ca::Identity;
use swarmkit_control::Members;
use swarmkit_dispatcher::{Dispatcher, DispatcherConfig};
use swarmkit_raft::{Begin, NoMessenger, Raft, RaftConfig, RaftError, RaftParts, RaftProposer, Role};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, ControlSocket, Forward, Leader, Listener, ServerOptions, Services,
    serve,
};
use swarmkit_runtime::{Backoff, Crew, Env, PartError};
use swarmkit_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, FirstLeader, ManagerConfig, bootstrap,
    follow::{self, Followed},
    reach,
    services::{self, Parts},
    term,
};

/// The shortest and the longest pause before a leader term is built anew that ended with an error.
const TERM_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A manager that is ready to serve.
pub struct Manager {
    handle: ManagerHandle,
    env: Env,
    /// Stops raft, when nothing needs it any more.
    raft_stop: CancellationToken,
    raft: Raft,
    raft_parts: RaftParts,
    authority: Authority,
    followed: Followed,
    channels: Crew,
    dispatcher: Dispatcher,
    first: Option<FirstLeader>,
    remote: (Box<dyn Listener>, Services),
    local: (Box<dyn Listener>, Services),
    /// Ends streams; cancelled together with the listeners.
    serving: CancellationToken,
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
    pub fn control_socket(&self) -> &PathBuf {
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
    pub async fn start(config: ManagerConfig, stop: &CancellationToken) -> Result<Self, Error> {
        let ManagerConfig {
            env,
            credentials,
            transport,
            disk,
            log_key,
            raft,
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
            options: raft,
            node_id: own.node.clone(),
            addr: addr.clone(),
            messenger: Arc::new(NoMessenger),
            begin: Begin::Bootstrap,
        };
        let (raft, raft_parts) = Raft::start(raft_config, &proposer, &raft_stop).await?;

        let (leader, leader_seen) = watch::channel(Leader::Unknown);
        let (managers, managers_seen) = watch::channel(Vec::<wire::Peer>::new());
        let members = Members::default();
        let channels = Crew::under(stop);
        let forward =
            Forward::new(leader_seen.clone(), Channels::new(transport, ChannelOptions::default(), channels.spawner()));
        let dispatcher =
            Dispatcher::new(env.clone(), store.clone(), own.node.clone(), managers_seen, DispatcherConfig::default());
        let authority = Authority::of(&credentials);
        let serving = stop.child_token();
        let parts = Parts {
            env: &env,
            store: &store,
            authority: &authority,
            forward: &forward,
            members: &members,
            dispatcher: &dispatcher,
            stop: &serving,
        };
        let remote = (listener, services::remote(&parts)?);
        let local: (Box<dyn Listener>, _) = (Box::new(socket), services::local(&parts)?);
        let here = Channel::here(&local.1);
        let handle = ManagerHandle { addr, control_socket, store, leader: leader_seen, local: here };
        let followed = Followed { leader, managers, members };
        Ok(Self {
            handle,
            env,
            raft_stop,
            raft,
            raft_parts,
            authority,
            followed,
            channels,
            dispatcher,
            first,
            remote,
            local,
            serving,
        })
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
        let store = self.handle.store.clone();
        let mut serving = Crew::under(&stop);
        for (name, (listener, services)) in [("remote listener", self.remote), ("control socket", self.local)] {
            let spawner = serving.spawner();
            serving.spawn(name, move |_| async move {
                serve(listener, services, ServerOptions::default(), spawner).await;
                Ok::<(), PartError>(())
            });
        }
        serving.spawn("members", {
            let raft = self.raft.clone();
            move |stop| follow::raft(raft, self.followed, stop)
        });
        serving.spawn("leadership", {
            let lead = Lead {
                env: self.env,
                store: store.clone(),
                raft: self.raft.clone(),
                dispatcher: self.dispatcher,
                own: self.authority.own(),
                first: self.first,
            };
            move |stop| lead.run(stop)
        });
        serving.spawn("removed nodes", |stop| follow::removed_nodes(store.clone(), self.authority, stop));
        let ended_streams = self.serving.clone().drop_guard();
        let result = serving.finish().await;
        drop(ended_streams);

        let channels = self.channels;
        channels.stop().cancel();
        channels.join().await;
        self.raft_stop.cancel();
        let raft = self.raft_parts.run().await;
        store.close();
        // The log is the cause of whatever followed from it.
        raft?;
        result.map_err(Error::Part)
    }
}

/// Builds a leader term whenever this manager leads.
struct Lead {
    env: Env,
    store: Store,
    raft: Raft,
    dispatcher: Dispatcher,
    own: Identity,
    first: Option<FirstLeader>,
}

impl Lead {
    async fn run(self, stop: CancellationToken) -> Result<(), PartError> {
        let mut leadership = self.raft.leadership();
        let mut retry = Backoff::new(TERM_RETRY.0, TERM_RETRY.1, self.env.rng("leader term"));
        loop {
            let term = tokio::select! { biased; // stopping comes first
                () = stop.cancelled() => return Ok(()),
                term = leadership.lead() => term?,
            };
            tracing::info!(term, "this manager leads");
            let over = stop.child_token();
            let mut running = std::pin::pin!(self.term(over.clone()));
            let result = loop {
                tokio::select! { biased; // losing ends the term, and what it then says is no error
                    role = leadership.changed(), if !over.is_cancelled() => {
                        if role? != (Role::Leader { term }) {
                            over.cancel();
                        }
                    }
                    result = &mut running => break result,
                }
            };
            match result {
                Err(error) if leadership.current() == (Role::Leader { term }) && !stop.is_cancelled() => {
                    let pause = retry.next_delay();
                    tracing::error!(term, %error, ?pause, "the leader term failed, and is built anew");
                    self.env.sleep(pause).await;
                }
                _ => {
                    retry.reset();
                    tracing::info!(term, "this manager leads no more");
                }
            }
        }
    }

    async fn term(&self, stop: CancellationToken) -> Result<(), PartError> {
        if let Some(first) = &self.first {
            bootstrap::ensure(&self.env, &self.store, &self.own, first).await?;
        }
        term::run(self.env.clone(), self.store.clone(), self.dispatcher.clone(), stop).await
    }
}
