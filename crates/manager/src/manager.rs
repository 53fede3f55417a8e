//! The manager as a whole: what is started, in which order it stops.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use swarmkit_api::wire;
use swarmkit_ca::Identity;
use swarmkit_control::{HealthApi, Members};
use swarmkit_dispatcher::{Dispatcher, LogBroker};
use swarmkit_exec::ExecBroker;
use swarmkit_raft::{KeyRotation, KeyRotator, LogKeys, RaftError, RaftProposer, RpcMessenger};
use swarmkit_rpc::{
    Authority, Channel, ChannelOptions, Channels, ControlSocket, Forward, Leader, Listener, ServerOptions, Services,
    serve,
};
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    Begin, Error, ManagerConfig,
    address::OwnAddress,
    begin::{Ingredients, Place, Running},
    dirty::is_dirty,
    divergence,
    follow::{self, Followed},
    lead,
    locking::{KeyFileKeeper, Locking},
    membership::MembershipApi,
    reach,
    seat::{Seat, WeakSeat},
    services::{self, CONTROL, Parts},
    standing::Standing,
    term::LeaderTerm,
};

/// How long a leader that stops waits for another one to take over. An election would take longer.
const HAND_OVER: Duration = Duration::from_secs(1);

/// A manager that is ready to serve.
#[must_use = "a manager serves while it is run"]
pub struct Manager {
    handle: ManagerHandle,
    place: Place,
    /// Stops raft, when nothing needs it any more.
    raft_stop: CancellationToken,
    seat: Seat,
    authority: Authority,
    followed: Followed,
    log_keys: LogKeys,
    locking: Locking,
    /// What a member tells the others of itself.
    env: Env,
    hints: Vec<String>,
    channels: Channels,
    /// Connections to other managers. They outlive what is forwarded over them.
    connections: Crew,
    /// Connections of raft. They outlive raft.
    messenger: RpcMessenger,
    links: Crew,
    term: LeaderTerm,
    remote: (Box<dyn Listener>, Services),
    local: (Box<dyn Listener>, Services),
    health: HealthApi,
    /// Ends what callers wait for, which would otherwise hold up the end of their connections.
    waiting: CancellationToken,
}

/// What others may ask of a manager that runs. Clones share it.
#[derive(Clone, Debug)]
pub struct ManagerHandle {
    addr: String,
    control_socket: PathBuf,
    store: Store,
    own: Identity,
    leader: watch::Receiver<Leader>,
    voters: watch::Receiver<Vec<wire::Peer>>,
    seat: WeakSeat,
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

    /// Whether this manager leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        *self.leader.borrow() == Leader::Here
    }

    /// Hands leadership over to another manager, and waits until it leads: before planned work on this machine.
    ///
    /// # Errors
    ///
    /// This manager does not lead, or no other one can take over.
    pub async fn hand_over(&self) -> Result<(), Error> {
        let raft = self.seat.raft().ok_or(RaftError::Stopped)?;
        Ok(raft.transfer_leadership(None).await?)
    }

    /// Whether the cluster holds anything beside this manager: another node, or anything but networks that somebody has
    /// made. To be asked before the cluster is left for another one, since all of that would be lost.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        is_dirty(&self.store.view(), &self.own)
    }

    /// Waits until a leader is known.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when the manager has ended before.
    pub async fn has_leader(&self) -> Result<(), Error> {
        let mut leader = self.leader.clone();
        leader.wait_for(Leader::is_known).await.map(drop).map_err(|_| RaftError::Stopped.into())
    }

    /// Waits until this manager has a vote: one that joins first gets all that was written before.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when the manager has ended before.
    pub async fn has_vote(&self) -> Result<(), Error> {
        let mut voters = self.voters.clone();
        let votes = |voters: &Vec<wire::Peer>| voters.iter().any(|voter| voter.node_id == self.own.node.as_str());
        voters.wait_for(votes).await.map(drop).map_err(|_| RaftError::Stopped.into())
    }
}

impl Manager {
    /// Binds the addresses, mounts the services, and opens the log if there is one or a cluster is founded. Nothing is
    /// answered before [`Manager::run`], so a manager that joins is admitted there.
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
            log_keys,
            keys,
            locked,
            raft: options,
            networks,
            volume_plugins,
            dispatcher: dispatching,
            external_ca,
            listen_remote,
            advertise,
            control_socket,
            begin,
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
        let (raft_stop, links) = (CancellationToken::new(), Crew::under(&CancellationToken::new()));
        let messenger = RpcMessenger::new(transport.clone(), links.spawner());
        let ingredients = Ingredients {
            env: env.clone(),
            own: own.clone(),
            addr: addr.clone(),
            disk,
            log_keys: log_keys.clone(),
            options: options.clone(),
            messenger: Arc::new(messenger.clone()),
            proposer,
            stop: raft_stop.clone(),
        };
        let place = ingredients.begin(&begin).await?;
        let (first, hints) = match begin {
            Begin::Found(first) => (Some(first), Vec::new()),
            Begin::Join(managers) => (None, managers.list().into_iter().map(|remote| remote.address).collect()),
            Begin::Restart | Begin::ForceNew => (None, Vec::new()),
        };

        let (leader, leader_seen) = watch::channel(Leader::unknown());
        let (managers, voters) = watch::channel(Vec::<wire::Peer>::new());
        let (seat, members, health) = (Seat::default(), Members::default(), HealthApi::default());
        let connections = Crew::under(&CancellationToken::new());
        let channels = Channels::new(transport.clone(), ChannelOptions::default(), connections.spawner());
        let secret_drivers = Arc::clone(&dispatching.secret_drivers);
        let dispatcher = Dispatcher::new(env.clone(), store.clone(), own.node.clone(), voters.clone(), dispatching);
        let logs = LogBroker::new(env.clone(), store.clone());
        let exec = ExecBroker::new(env.clone(), store.clone());
        let (authority, waiting) =
            (Authority::of(&credentials).reached_at(addr.parse().ok()), CancellationToken::new());
        let parts = Parts {
            env: &env,
            store: &store,
            authority: &authority,
            forward: &services::fresh(Forward::new(leader_seen.clone(), channels.clone()), seat.weak()),
            members: &members,
            external_ca: &external_ca,
            networks: &networks,
            secret_drivers: &secret_drivers,
            dispatcher: &dispatcher,
            logs: &logs,
            exec: &exec,
            seat: &seat,
            membership: &MembershipApi::new(env.clone(), seat.clone(), store.clone(), transport, connections.spawner()),
            spawner: &connections.spawner(),
            stop: &waiting,
        };
        let remote = (listener, services::remote(&parts)?);
        let local: (Box<dyn Listener>, _) = (Box::new(socket), services::local(&parts, health.clone())?);
        let here = Channel::here(&local.1);
        let followed = Followed { own_addr: addr.clone(), leader, managers, members };
        let rotator = KeyRotator::new();
        let locking = Locking { env: env.clone(), store: store.clone(), keys, rotator, locked };
        let handle = ManagerHandle {
            addr,
            control_socket,
            store: store.clone(),
            own: own.clone(),
            leader: leader_seen,
            voters,
            seat: seat.weak(),
            local: here,
        };
        let term = LeaderTerm {
            env: env.clone(),
            store,
            own,
            first,
            options,
            networks,
            volume_plugins,
            external_ca,
            dispatcher,
            logs,
            exec,
        };
        Ok(Self {
            handle,
            place,
            raft_stop,
            seat,
            authority,
            followed,
            log_keys,
            locking,
            env,
            hints,
            channels,
            connections,
            messenger,
            links,
            term,
            remote,
            local,
            health,
            waiting,
        })
    }

    /// For asking the manager while it runs.
    #[must_use]
    pub fn handle(&self) -> ManagerHandle {
        self.handle.clone()
    }

    /// Serves until `stop`, or until something ends that a manager cannot do without. One that leads hands leadership
    /// over before it stops.
    ///
    /// # Errors
    ///
    /// Why it ended before it was told to: [`Error::Removed`] when the others have removed this member.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Error> {
        let Self {
            handle, place, raft_stop, seat, authority, followed, log_keys, locking, env, hints, channels, ..
        } = self;
        let Self { connections, messenger, links, term, remote, local, health, waiting, .. } = self;
        let store = handle.store;
        let mut serving = Crew::under(&CancellationToken::new());
        serving.spawn("end", {
            let (stop, seat) = (stop.clone(), seat.clone());
            move |crew| until_the_end(crew, stop, seat)
        });
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
        let member = tokio::select! { biased; // who is to stop need not be admitted any more
            () = stop.cancelled() => Ok(None),
            () = serving.stop().cancelled() => Ok(None),
            member = take_part(place, &channels) => member.map(Some),
        };
        let (member, admitted) = match member {
            Ok(member) => (member, Ok(())),
            Err(error) => {
                serving.stop().cancel();
                (None, Err(error))
            }
        };
        let removed = CancellationToken::new();
        let parts = member.map(|(raft, parts)| {
            seat.take(&raft);
            health.set(CONTROL, true);
            let address = OwnAddress {
                env: env.clone(),
                raft: raft.clone(),
                addr: handle.addr.clone(),
                channels: channels.clone(),
                hints: hints.clone(),
            };
            serving.spawn("own address", |stop| address.run(stop));
            let standing = Standing {
                env: env.clone(),
                raft: raft.clone(),
                addr: handle.addr.clone(),
                channels: channels.clone(),
                hints,
                removed: removed.clone(),
            };
            serving.spawn("standing", |stop| standing.run(stop));
            serving.spawn("members", {
                let raft = raft.clone();
                move |stop| follow::raft(raft, followed, stop)
            });
            serving.spawn("divergence", {
                let store = store.clone();
                move |stop| divergence::run(store, stop)
            });
            serving.spawn("cluster", {
                let (store, raft) = (store.clone(), raft.clone());
                move |stop| follow::cluster(store, authority, raft, stop)
            });
            let rotation = KeyRotation {
                raft: raft.clone(),
                keys: log_keys,
                keeper: KeyFileKeeper(locking.keys.clone()),
                requests: locking.rotator.clone(),
                env: env.clone(),
            };
            serving.spawn("log key", |stop| rotation.run(stop));
            serving.spawn("lock", |stop| locking.run(stop));
            serving.spawn("leadership", move |stop| {
                lead::run(raft.leadership(), env, move |stop| term.clone().run(raft.clone(), stop), stop)
            });
            parts
        });
        let served = serving.finish().await;
        tracing::debug!("services and the leader term have ended");
        channels.close();
        connections.stop().cancel();
        connections.join().await;
        tracing::debug!("connections to other managers have ended");
        raft_stop.cancel();
        let replicated = match parts {
            Some(parts) => parts.run().await,
            None => Ok(()),
        };
        tracing::debug!("raft has ended");
        messenger.close();
        links.stop().cancel();
        links.join().await;
        store.close();
        // The log is the cause of whatever followed from it.
        admitted.and(replicated.map_err(Error::from))?;
        if removed.is_cancelled() && !stop.is_cancelled() {
            return Err(Error::Removed);
        }
        served.map_err(Error::Part)
    }
}

/// Gets the raft member, by being admitted if that is necessary.
async fn take_part(place: Place, channels: &Channels) -> Result<Running, Error> {
    match place {
        Place::Member(running) => Ok(*running),
        Place::Applicant(ingredients, managers) => ingredients.join(&managers, channels).await,
    }
}

/// Waits until the manager is to stop, and hands leadership over first, so that the others need not find out.
async fn until_the_end(crew: CancellationToken, stop: CancellationToken, seat: Seat) -> Result<(), PartError> {
    tokio::select! { biased; // a crew that ends has nothing left to hand over
        () = crew.cancelled() => return Ok(()),
        () = stop.cancelled() => {}
    }
    let Some(raft) = seat.leading() else { return Ok(()) };
    if raft.members().iter().filter(|status| status.member.voter).count() < 2 {
        return Ok(());
    }
    let handing = tokio::time::timeout(HAND_OVER, raft.transfer_leadership(None));
    tokio::select! { biased; // as above
        () = crew.cancelled() => {}
        handed = handing => match handed {
            Ok(Ok(())) => tracing::info!("leadership is handed over"),
            Ok(Err(error)) => tracing::warn!(%error, "leadership was not handed over"),
            Err(_) => tracing::warn!("nobody has taken over leadership in time"),
        },
    }
    Ok(())
}
