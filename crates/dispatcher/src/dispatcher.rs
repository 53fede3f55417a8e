//! The dispatcher as a manager has it: mounted once, serving while a term runs.

use std::{collections::BTreeMap, pin::pin, sync::Arc};

use futures_util::{StreamExt as _, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_api::{NodeId, Task, TaskId, TaskState, TaskStatus, VolumeId, wire};
use swarmkit_rpc::{Peer, ServiceError as _};
use swarmkit_runtime::{Crew, Env, PartError};
use swarmkit_store::Store;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::{
    DispatcherConfig, DispatcherError,
    config::{TERM_WAIT, WAITING_WRITES},
    secrets::SecretDesk,
    sessions::Session,
    streams,
    term::{Owner, Term, Visit},
    writer::{What, Writer},
};

/// Talks to the agents of a cluster, while its manager leads. Clones are one dispatcher.
///
/// It is the service itself: `wire::dispatcher_server::DispatcherServer::new(dispatcher)`. Outside of
/// [`Dispatcher::run`] every call is refused with [`DispatcherError::Stopped`]; the opening of a session waits a moment
/// before, since nodes learn who leads no later than the leader itself.
#[derive(Clone)]
pub struct Dispatcher(Arc<Shared>);

struct Shared {
    env: Env,
    store: Store,
    manager: NodeId,
    managers: watch::Receiver<Vec<wire::Peer>>,
    config: DispatcherConfig,
    term: Mutex<Option<Term>>,
    /// Told when a term begins.
    begun: Notify,
}

/// Makes the dispatcher refuse calls again when the term is over, however it ends.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.term.lock() = None;
    }
}

impl Dispatcher {
    /// A dispatcher of the manager `manager`, which tells its agents of `managers`: all members of the raft group with
    /// the addresses that agents can reach.
    #[must_use]
    pub fn new(
        env: Env,
        store: Store,
        manager: NodeId,
        managers: watch::Receiver<Vec<wire::Peer>>,
        config: DispatcherConfig,
    ) -> Self {
        Self(Arc::new(Shared { env, store, manager, managers, config, term: Mutex::new(None), begun: Notify::new() }))
    }

    /// Serves one leader term, until `stop`. Every session is over then, and nothing more is written.
    ///
    /// # Errors
    ///
    /// [`DispatcherError::AlreadyRunning`], or the error of the part that failed.
    pub async fn run(&self, stop: CancellationToken) -> Result<(), PartError> {
        let shared = &self.0;
        let (writes, waiting) = mpsc::channel(WAITING_WRITES);
        let (env, store) = (shared.env.clone(), shared.store.clone());
        let config = shared.config.clone();
        let mut crew = Crew::under(&stop);
        let secrets = SecretDesk::new(env.clone(), Arc::clone(&config.secret_drivers), crew.spawner());
        let (owner, term) =
            Owner::new(env.clone(), store.clone(), config, shared.managers.clone(), writes, Arc::new(secrets));
        {
            let mut running = shared.term.lock();
            if running.is_some() {
                return Err(DispatcherError::AlreadyRunning.into());
            }
            *running = Some(term);
        }
        shared.begun.notify_waiters();
        let _running = Running(shared);
        let writer = Writer { env, store, manager: shared.manager.clone() };
        crew.spawn("sessions", |stop| owner.run(stop));
        crew.spawn("reports", |stop| writer.run(waiting, stop));
        crew.finish().await
    }

    fn term(&self) -> Result<Term, DispatcherError> {
        self.0.term.lock().clone().ok_or(DispatcherError::Stopped)
    }

    /// The term that runs, or that begins within a moment.
    async fn next_term(&self) -> Result<Term, DispatcherError> {
        let mut begun = pin!(self.0.begun.notified());
        begun.as_mut().enable();
        match self.term() {
            Ok(term) => Ok(term),
            // Whichever comes first, the same question is asked again.
            Err(_) => {
                drop(tokio::time::timeout(TERM_WAIT, begun).await);
                self.term()
            }
        }
    }

    async fn session_of(&self, node: NodeId, session: String) -> Result<(Term, Arc<Session>), DispatcherError> {
        let term = self.term()?;
        let session = term.check(node, session).await?;
        Ok((term, session))
    }

    async fn open(&self, peer: &Peer, request: wire::SessionRequest) -> Result<Arc<Session>, Status> {
        let node = peer.identity()?.node.clone();
        let addr = peer.addr.map(|addr| addr.ip().to_string());
        let visit = Visit { node, addr, description: request.description.map(Arc::new) };
        let opened = async { self.next_term().await?.open(visit, request.session_id).await };
        opened.await.map_err(|error: DispatcherError| error.to_status())
    }

    /// Records what a node reports of its tasks. Returns when it is committed.
    async fn report(&self, node: NodeId, request: wire::UpdateTaskStatusRequest) -> Result<(), DispatcherError> {
        let (term, _) = self.session_of(node.clone(), request.session_id).await?;
        let updates = self.readable(&node, request.updates)?;
        if updates.is_empty() {
            return Ok(());
        }
        term.write(What::Statuses(node, updates.into_iter().collect())).await
    }

    /// The statuses of a request that can be recorded. One of another node's task refuses all of them; one that says
    /// nothing, or of a task that is gone, is left out.
    fn readable(
        &self,
        node: &NodeId,
        updates: Vec<wire::update_task_status_request::TaskStatusUpdate>,
    ) -> Result<BTreeMap<TaskId, TaskStatus>, DispatcherError> {
        let view = self.0.store.view();
        let mut readable: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
        for update in updates {
            let Some(task) = view.get::<Task>(&update.task_id.as_str().into()) else { continue };
            if task.node_id.as_ref() != Some(node) {
                return Err(DispatcherError::ForeignTask(task.id.clone()));
            }
            let Some(status) = read_status(&task.id, update.status) else { continue };
            let kept = readable.entry(task.id.clone()).or_insert_with(|| status.clone());
            if status.state >= kept.state {
                *kept = status;
            }
        }
        Ok(readable)
    }

    async fn unpublished(&self, node: NodeId, request: wire::UpdateVolumeStatusRequest) -> Result<(), DispatcherError> {
        let (term, _) = self.session_of(node.clone(), request.session_id).await?;
        let gone = request.updates.into_iter().filter(|update| update.unpublished);
        let volumes: Vec<_> = gone.map(|update| VolumeId::from(update.id)).collect();
        if volumes.is_empty() { Ok(()) } else { term.write(What::Unpublished(node, volumes)).await }
    }
}

/// What an agent may say of a task. REMOVE and ORPHANED are for managers to say.
fn read_status(task: &TaskId, status: Option<wire::TaskStatus>) -> Option<TaskStatus> {
    match status.map(TaskStatus::from_wire) {
        Some(Ok(status)) if status.state < TaskState::Remove => Some(status),
        Some(Ok(status)) => {
            tracing::warn!(%task, state = ?status.state, "no agent may report this state");
            None
        }
        Some(Err(error)) => {
            tracing::warn!(%task, %error, "unreadable status");
            None
        }
        None => {
            tracing::warn!(%task, "report without a status");
            None
        }
    }
}

fn node_of<T>(request: &Request<T>) -> Result<NodeId, Status> {
    Ok(Peer::of(request)?.identity()?.node.clone())
}

fn refused(error: DispatcherError) -> Status {
    error.to_status()
}

#[tonic::async_trait]
impl wire::dispatcher_server::Dispatcher for Dispatcher {
    type SessionStream = BoxStream<'static, Result<wire::SessionMessage, Status>>;
    type TasksStream = BoxStream<'static, Result<wire::TasksMessage, Status>>;
    type AssignmentsStream = BoxStream<'static, Result<wire::AssignmentsMessage, Status>>;

    async fn session(&self, request: Request<wire::SessionRequest>) -> Result<Response<Self::SessionStream>, Status> {
        let session = self.open(&Peer::of(&request)?, request.into_inner()).await?;
        Ok(Response::new(streams::session(&self.0.store, session).boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<wire::HeartbeatRequest>,
    ) -> Result<Response<wire::HeartbeatResponse>, Status> {
        let node = node_of(&request)?;
        let beat = async { self.term()?.beat(node, request.into_inner().session_id).await };
        let period = beat.await.map_err(refused)?;
        // A period is far from the limits of the wire's durations.
        let period = prost_types::Duration::try_from(period).unwrap_or_default();
        Ok(Response::new(wire::HeartbeatResponse { period: Some(period) }))
    }

    async fn update_task_status(
        &self,
        request: Request<wire::UpdateTaskStatusRequest>,
    ) -> Result<Response<wire::UpdateTaskStatusResponse>, Status> {
        let node = node_of(&request)?;
        self.report(node, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(wire::UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        request: Request<wire::UpdateVolumeStatusRequest>,
    ) -> Result<Response<wire::UpdateVolumeStatusResponse>, Status> {
        let node = node_of(&request)?;
        self.unpublished(node, request.into_inner()).await.map_err(refused)?;
        Ok(Response::new(wire::UpdateVolumeStatusResponse {}))
    }

    async fn tasks(&self, request: Request<wire::TasksRequest>) -> Result<Response<Self::TasksStream>, Status> {
        let node = node_of(&request)?;
        let (_, session) = self.session_of(node, request.into_inner().session_id).await.map_err(refused)?;
        Ok(Response::new(streams::tasks(&self.0.store, session).boxed()))
    }

    async fn assignments(
        &self,
        request: Request<wire::AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let node = node_of(&request)?;
        let (term, session) = self.session_of(node, request.into_inner().session_id).await.map_err(refused)?;
        Ok(Response::new(streams::assignments(&self.0.store, session, term.secrets).boxed()))
    }
}
