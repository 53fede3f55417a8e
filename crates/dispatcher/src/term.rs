//! One leader term: the owner of the session table, and what callers ask of it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Cluster, Kind, Node, NodeId, wire};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, ClusterBy, DEFAULT_CLUSTER, State, Store, Update, WatchEnded};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wire::node_status::State as NodeState;

use crate::{
    DispatcherConfig, DispatcherError,
    config::{MANAGER_WEIGHT, WAITING_CALLS},
    secrets::SecretDesk,
    sessions::{Due, ManagerList, Registering, Session, Sessions},
    writer::{NodeWrite, What, Write},
};

/// What a node is told that was there before this term. As upstream.
const UNKNOWN: &str = "Node moved to \"unknown\" state due to leadership change in cluster";
/// Why a node is down that had a session. As upstream.
const SILENT: &str = "heartbeat failure";
/// Why a node is down that never came back. As upstream.
const SILENT_UNKNOWN: &str = "heartbeat failure for node in \"unknown\" state";

/// A running term, as the service reaches it. Clones reach the same one.
#[derive(Clone)]
pub(crate) struct Term {
    calls: mpsc::Sender<Call>,
    pub(crate) writes: mpsc::Sender<Write>,
    pub(crate) secrets: Arc<SecretDesk>,
}

/// What callers ask of the owner of the session table.
enum Call {
    /// Opens the session with that id again, or begins to register.
    Open {
        visit: Visit,
        session: String,
        answer: Answer<Opening>,
    },
    /// Ends a registration whose write was committed.
    Register {
        node: NodeId,
        answer: Answer<Arc<Session>>,
    },
    Check {
        node: NodeId,
        session: String,
        answer: Answer<Arc<Session>>,
    },
    Beat {
        node: NodeId,
        session: String,
        answer: Answer<Duration>,
    },
}

type Answer<T> = oneshot::Sender<Result<T, DispatcherError>>;

/// A node that wants a session, and what it says of itself.
pub(crate) struct Visit {
    pub(crate) node: NodeId,
    pub(crate) addr: Option<String>,
    pub(crate) description: Option<Arc<wire::NodeDescription>>,
}

/// A session on its way. It stands when the node is written down as ready.
struct Opening {
    /// The session that the node has; otherwise a new one has to be registered.
    resumed: Option<Arc<Session>>,
    written: oneshot::Receiver<Result<(), DispatcherError>>,
    /// Keeps a node that registers alive.
    registering: Option<Registering>,
}

/// Owns the session table.
pub(crate) struct Owner {
    env: Env,
    store: Store,
    config: DispatcherConfig,
    sessions: Sessions,
    managers: watch::Receiver<Vec<wire::Peer>>,
    list: ManagerList,
    calls: mpsc::Receiver<Call>,
    writes: mpsc::Sender<Write>,
    /// What has to be written, in order, and does not yet fit into the writer's queue: for each node one write of this
    /// term's own, and one for each call that waits for it.
    outbox: VecDeque<Write>,
}

// === impl Term ===

impl Term {
    /// A session for a node: the one that it has, if it says so, or a new one, when the node is written down as ready.
    pub(crate) async fn open(&self, visit: Visit, session: String) -> Result<Arc<Session>, DispatcherError> {
        let node = visit.node.clone();
        let Opening { resumed, written, registering } =
            self.ask(|answer| Call::Open { visit, session, answer }).await?;
        written.await.map_err(|_| DispatcherError::Stopped)??;
        let session = match resumed {
            Some(session) => Ok(session),
            None => self.ask(|answer| Call::Register { node, answer }).await,
        };
        drop(registering);
        session
    }

    /// The session of a node, if it has that id.
    pub(crate) async fn check(&self, node: NodeId, session: String) -> Result<Arc<Session>, DispatcherError> {
        self.ask(|answer| Call::Check { node, session, answer }).await
    }

    /// A node is alive. Gives when it shall say so again.
    pub(crate) async fn beat(&self, node: NodeId, session: String) -> Result<Duration, DispatcherError> {
        self.ask(|answer| Call::Beat { node, session, answer }).await
    }

    /// Has something written, and waits until it is committed.
    pub(crate) async fn write(&self, what: What) -> Result<(), DispatcherError> {
        let (done, is_done) = oneshot::channel();
        self.writes.send(Write { what, done: Some(done) }).await.map_err(|_| DispatcherError::Stopped)?;
        is_done.await.map_err(|_| DispatcherError::Stopped)?
    }

    async fn ask<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<T, DispatcherError> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(call(answer)).await.map_err(|_| DispatcherError::Stopped)?;
        answered.await.map_err(|_| DispatcherError::Stopped)?
    }
}

// === impl Owner ===

impl Owner {
    pub(crate) fn new(
        env: Env,
        store: Store,
        config: DispatcherConfig,
        managers: watch::Receiver<Vec<wire::Peer>>,
        writes: mpsc::Sender<Write>,
        secrets: Arc<SecretDesk>,
    ) -> (Self, Term) {
        let (sender, calls) = mpsc::channel(WAITING_CALLS);
        let term = Term { calls: sender, writes: writes.clone(), secrets };
        let sessions = Sessions::new(config.clone(), env.rng("dispatcher/periods"));
        let list = Arc::from([]);
        let owner = Self { env, store, config, sessions, managers, list, calls, writes, outbox: VecDeque::new() };
        (owner, term)
    }

    /// Serves until stopped. Then all sessions are over.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), WatchEnded> {
        let end = self.serve(stop).await;
        self.sessions.end_all();
        end
    }

    async fn serve(&mut self, stop: CancellationToken) -> Result<(), WatchEnded> {
        let mut watch = self.store.watch([Kind::Node, Kind::Cluster]);
        self.begin(&watch.next().await?);
        let writes = self.writes.clone();
        loop {
            let due = self.sessions.next_due();
            tokio::select! { biased; // calls before deadlines: a heartbeat that waits here is in time
                () = stop.cancelled() => return Ok(()),
                permit = writes.reserve(), if !self.outbox.is_empty() => {
                    if let (Ok(permit), Some(write)) = (permit, self.outbox.pop_front()) {
                        permit.send(write);
                    }
                }
                Some(call) = self.calls.recv() => self.answer(call),
                update = watch.next() => self.absorb(&update?),
                Ok(()) = self.managers.changed() => {
                    self.list_managers();
                    self.sessions.announce(&self.list);
                }
                () = sleep_until(due), if due.is_some() => self.expire(),
            }
        }
    }

    /// Takes over from the last leader: its sessions are gone, so nobody knows which nodes live.
    fn begin(&mut self, update: &Update) {
        self.list_managers();
        self.absorb_clusters(update.view());
        let (now, wall) = (Instant::now(), self.env.now());
        for node in update.view().all::<Node>() {
            if node.status.state() == NodeState::Down {
                self.sessions.expect_down(&node.id, self.down_for(node, wall), now);
            } else {
                self.sessions.expect(&node.id, now);
                self.write_node(&node.id, NodeState::Unknown, UNKNOWN);
            }
        }
    }

    /// How much longer a node may be down. Where nobody wrote since when it is, its last write was the one that said so, or a
    /// later one.
    fn down_for(&self, node: &Node, now: SystemTime) -> Duration {
        let since = node.status.down_since.or(node.meta.updated_at).and_then(|at| SystemTime::try_from(at).ok());
        let gone = since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
        // Timers have no finer grain, and a clock that jumps must not make it longer than it ever is.
        Duration::from_secs(self.config.node_down_period.saturating_sub(gone).as_secs())
    }

    fn answer(&mut self, call: Call) {
        let now = Instant::now();
        match call {
            Call::Open { visit, session, answer } => drop(answer.send(self.open(visit, &session, now))),
            Call::Register { node, answer } => {
                let id = self.env.new_id();
                drop(answer.send(self.sessions.register(&node, id, &self.list, now)));
            }
            Call::Check { node, session, answer } => {
                drop(answer.send(self.sessions.check(&node, &session).cloned()));
            }
            Call::Beat { node, session, answer } => drop(answer.send(self.sessions.beat(&node, &session, now))),
        }
    }

    fn open(&mut self, visit: Visit, session: &str, now: Instant) -> Result<Opening, DispatcherError> {
        let Visit { node, addr, description } = visit;
        let resumed = self.sessions.check(&node, session).ok().cloned();
        let registering = match &resumed {
            Some(_) => None,
            None => Some(self.sessions.admit(&node, || self.store.view().get::<Node>(&node).is_some(), now)?),
        };
        let write = NodeWrite { node, state: NodeState::Ready, message: "", addr, description };
        let (done, written) = oneshot::channel();
        self.outbox.push_back(Write { what: What::Node(write), done: Some(done) });
        Ok(Opening { resumed, written, registering })
    }

    fn absorb(&mut self, update: &Update) {
        match update {
            // Fell behind: whoever is not there any more has left meanwhile.
            Update::Snapshot(view) => {
                self.absorb_clusters(view);
                let gone: Vec<_> =
                    self.sessions.known().filter(|node| view.get::<Node>(node).is_none()).cloned().collect();
                gone.iter().for_each(|node| self.sessions.remove(node));
            }
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Node(edit) if edit.deleted().is_some() => self.sessions.remove(edit.id()),
                        Change::Cluster(_) => self.absorb_clusters(&delta.view),
                        _ => {}
                    }
                }
            }
        }
    }

    fn absorb_clusters(&mut self, state: &State) {
        let cluster = state.find(ClusterBy::Name(DEFAULT_CLUSTER)).next();
        self.sessions.set_period(cluster.map(|cluster| heartbeat_period(cluster)).unwrap_or_default());
    }

    fn list_managers(&mut self) {
        let managers = self.managers.borrow_and_update();
        let weigh = |peer: &wire::Peer| wire::WeightedPeer { peer: Some(peer.clone()), weight: MANAGER_WEIGHT };
        self.list = managers.iter().map(weigh).collect();
    }

    fn expire(&mut self) {
        for due in self.sessions.due(Instant::now()) {
            match due {
                Due::Down { node, unknown } => {
                    tracing::info!(%node, unknown, "node is down");
                    self.write_node(&node, NodeState::Down, if unknown { SILENT_UNKNOWN } else { SILENT });
                }
                Due::Lost(node) => {
                    tracing::info!(%node, "node was down for too long, giving up its tasks");
                    self.outbox.push_back(Write { what: What::Lost(node), done: None });
                }
            }
        }
    }

    fn write_node(&mut self, node: &NodeId, state: NodeState, message: &'static str) {
        let write = NodeWrite { node: node.clone(), state, message, addr: None, description: None };
        self.outbox.push_back(Write { what: What::Node(write), done: None });
    }
}

fn heartbeat_period(cluster: &Cluster) -> Duration {
    let period = cluster.spec.dispatcher.as_ref().and_then(|dispatcher| dispatcher.heartbeat_period);
    period.and_then(|period| Duration::try_from(period).ok()).unwrap_or_default()
}

/// Waits until then, for ever if that is never.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
