//! The agent: its parts, put together, and the loop that keeps it in touch with a manager.

use std::{path::PathBuf, sync::Arc, time::Duration};

use swarmkit_api::wire;
use swarmkit_executor::{DynExecutor, NodeVolumes};
use swarmkit_runtime::{Crew, Env, PartError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    AgentError, ConnectError, SessionError, TaskUsage,
    attachments::Present,
    backoff::{Pulse, SessionBackoff},
    database::Database,
    describe::Describer,
    exec, logs,
    manager::{Experience, ManagerClient, Managers},
    membership::{Contact, Herald, Membership},
    payloads::Payloads,
    records::Records,
    reports::Reports,
    roster::Roster,
    runner::Tools,
    session::{ANSWER_TIMEOUT, Session, open},
    usage,
    volumes::Volumes,
    worker::{Worker, WorkerHandle},
};

/// Builds an [`Agent`].
pub struct AgentBuilder {
    env: Env,
    executor: Arc<dyn DynExecutor>,
    managers: Arc<dyn Managers>,
    state_dir: Option<PathBuf>,
    hostname: Option<String>,
    tls_info: watch::Receiver<Option<wire::NodeTlsInfo>>,
    fips: bool,
    volumes: Option<Arc<dyn NodeVolumes>>,
}

/// Runs the tasks of a node. See [`Agent::builder`].
pub struct Agent {
    records: Records,
    worker: Worker,
    handle: AgentHandle,
    liaison: Liaison,
}

/// Talks to an agent that runs. Clones talk to the same one.
#[derive(Clone)]
pub struct AgentHandle {
    worker: WorkerHandle,
    membership: watch::Receiver<Membership>,
    contact: watch::Receiver<Contact>,
    pub(crate) present: watch::Receiver<Present>,
    roster: Roster,
}

/// Keeps the agent in a session.
struct Liaison {
    env: Env,
    managers: Arc<dyn Managers>,
    worker: WorkerHandle,
    reports: Reports,
    roster: Roster,
    volumes: Volumes,
    herald: Herald,
    describer: Describer,
    contact: watch::Sender<Contact>,
    present: watch::Sender<Present>,
    backoff: SessionBackoff,
    pulse: Pulse,
    /// The last session, to be taken up again if the manager still knows it.
    session: String,
}

/// Why a session is over.
enum SessionEnd {
    /// The node has to describe itself anew.
    NewDescription,
    /// Something went wrong.
    Failed(SessionError),
    /// The agent is about to end.
    Stopped,
}

// === impl AgentBuilder ===

impl AgentBuilder {
    /// The name that the node goes by, in place of the one that the executor gives.
    #[must_use]
    pub fn hostname(self, hostname: impl Into<String>) -> Self {
        Self { hostname: Some(hostname.into()), ..self }
    }

    /// What the node says of its certificate. Whenever it changes, managers are told.
    #[must_use]
    pub fn tls_info(self, tls_info: watch::Receiver<Option<wire::NodeTlsInfo>>) -> Self {
        Self { tls_info, ..self }
    }

    /// The node uses validated cryptography only.
    #[must_use]
    pub fn fips(self, fips: bool) -> Self {
        Self { fips, ..self }
    }

    /// What brings volumes of the cluster to this node. Without it, tasks that need one are refused here.
    #[must_use]
    pub fn volumes(self, volumes: Arc<dyn NodeVolumes>) -> Self {
        Self { volumes: Some(volumes), ..self }
    }

    /// Keeps the task database in memory: when the process ends, the agent forgets its tasks.
    #[must_use]
    pub fn without_disk(self) -> Self {
        Self { state_dir: None, ..self }
    }

    /// Opens the task database.
    ///
    /// # Errors
    ///
    /// When the state directory cannot be used, or another agent uses it.
    pub fn build(self) -> Result<Agent, AgentError> {
        let database = match &self.state_dir {
            Some(dir) => Database::open(dir)?,
            None => Database::in_memory()?,
        };
        let records = Records::new(database);
        let (membership, contact) = (watch::Sender::default(), watch::Sender::default());
        let present = watch::Sender::default();
        let volumes = Volumes::with(self.volumes);
        let payloads = Payloads::with(volumes.clone());
        let said = payloads.node.clone();
        let tools = Tools {
            env: self.env.clone(),
            executor: Arc::clone(&self.executor),
            payloads,
            records: records.clone(),
            reports: Reports::default(),
            roster: Roster::default(),
        };
        let (reports, roster) = (tools.reports.clone(), tools.roster.clone());
        let (worker, worker_handle) = Worker::new(tools);
        let handle = AgentHandle {
            worker: worker_handle.clone(),
            membership: membership.subscribe(),
            contact: contact.subscribe(),
            present: present.subscribe(),
            roster: roster.clone(),
        };
        let describer = Describer {
            env: self.env.clone(),
            executor: Arc::clone(&self.executor),
            hostname: self.hostname,
            tls_info: self.tls_info,
            fips: self.fips,
            volumes: volumes.clone(),
            said,
        };
        let liaison = Liaison {
            backoff: SessionBackoff::new(self.env.rng("agent/session")),
            herald: Herald::new(self.executor, Arc::clone(&self.managers), membership),
            env: self.env,
            managers: self.managers,
            worker: worker_handle,
            reports,
            roster,
            volumes,
            describer,
            contact,
            present,
            pulse: Pulse::default(),
            session: String::new(),
        };
        Ok(Agent { records, worker, handle, liaison })
    }
}

// === impl Agent ===

impl Agent {
    /// An agent that runs tasks with `executor`, is told what to run by `managers`, and keeps what it has to remember
    /// across a kill in `state_dir`, which is made if it is not there.
    pub fn builder(
        env: Env,
        executor: Arc<dyn DynExecutor>,
        managers: Arc<dyn Managers>,
        state_dir: impl Into<PathBuf>,
    ) -> AgentBuilder {
        let (_, tls_info) = watch::channel(None);
        let state_dir = Some(state_dir.into());
        AgentBuilder { env, executor, managers, state_dir, hostname: None, tls_info, fips: false, volumes: None }
    }

    /// For talking to the agent while it runs.
    #[must_use]
    pub fn handle(&self) -> AgentHandle {
        self.handle.clone()
    }

    /// Runs until `stop`. The node's tasks go on: an agent that is started again on the same state finds them. To end
    /// them, call [`AgentHandle::leave`] first.
    ///
    /// # Errors
    ///
    /// The error of the part that failed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AgentError> {
        let Self { records, worker, handle, mut liaison } = self;
        drop(handle);
        // The templates of the first tasks may want to know the node.
        tokio::select! { biased; // an agent that ends asks nothing
            () = stop.cancelled() => {}
            _ = liaison.describer.announce() => {}
        }
        let mut crew = Crew::under(&stop);
        let writer = records.clone();
        crew.spawn("task records", |stop| writer.run(stop));
        crew.spawn("worker", |stop| worker.run(stop));
        crew.spawn("session", |stop| liaison.run(stop));
        let end = crew.finish().await;
        records.finish().await;
        end.map_err(AgentError::Part)
    }
}

// === impl AgentHandle ===

impl AgentHandle {
    /// What managers say about this node and its cluster, now and later.
    #[must_use]
    pub fn membership(&self) -> watch::Receiver<Membership> {
        self.membership.clone()
    }

    /// How the agent gets on with managers, now and later.
    #[must_use]
    pub fn contact(&self) -> watch::Receiver<Contact> {
        self.contact.clone()
    }

    /// Waits for the first session.
    ///
    /// # Errors
    ///
    /// When the agent has ended before.
    pub async fn ready(&self) -> Result<(), AgentError> {
        let mut contact = self.contact.clone();
        contact.wait_for(|contact| contact.sessions > 0).await.map(drop).map_err(|_| AgentError::Closed)
    }

    /// What the tasks of this node that run use, each measured now; at most `limit` of them, by their ids. A task whose
    /// executor cannot tell is left out.
    pub async fn usage(&self, limit: usize) -> Vec<TaskUsage> {
        usage::measure(&self.roster, limit, |_| true).await.tasks
    }

    /// Stops and removes every task of this node, by force when it takes longer than `within`, and takes no more.
    /// Returns when nothing is left.
    ///
    /// # Errors
    ///
    /// When the agent has ended before.
    pub async fn leave(&self, within: Duration) -> Result<(), AgentError> {
        self.worker.leave(within).await
    }
}

// === impl Liaison ===

impl Liaison {
    /// Opens one session after the other, until stopped.
    async fn run(mut self, stop: CancellationToken) -> Result<(), PartError> {
        loop {
            let delay = self.backoff.delay(&self.pulse);
            tokio::select! { biased; // an agent that ends opens no session
                () = stop.cancelled() => return Ok(()),
                () = self.env.sleep(delay) => {}
            }
            match self.one_session(&stop).await {
                SessionEnd::Stopped => return Ok(()),
                SessionEnd::NewDescription => tracing::debug!("the node has changed, announcing it"),
                SessionEnd::Failed(error) => {
                    // A session ends with every change of the leader; that the next one cannot be opened is worth a word.
                    if self.contact.borrow().established {
                        tracing::info!(%error, "the session with a manager has ended");
                    } else {
                        tracing::warn!(%error, "no session with a manager");
                    }
                    self.backoff.failed();
                    self.contact.send_modify(|contact| {
                        contact.established = false;
                        contact.failures = contact.failures.saturating_add(1);
                        contact.error = Some(Arc::new(error));
                    });
                }
            }
        }
    }

    async fn one_session(&mut self, stop: &CancellationToken) -> SessionEnd {
        let connecting = tokio::time::timeout(ANSWER_TIMEOUT, self.managers.connect());
        let connection = match stop.run_until_cancelled(connecting).await {
            Some(Ok(Ok(connection))) => connection,
            Some(Ok(Err(error))) => return SessionEnd::Failed(error.into()),
            Some(Err(_)) => return SessionEnd::Failed(ConnectError::TimedOut.into()),
            None => return SessionEnd::Stopped,
        };
        let end = self.converse(connection.client(), stop).await;
        self.present.send_replace(None);
        connection.close(match &end {
            SessionEnd::NewDescription | SessionEnd::Stopped => Experience::Neutral,
            SessionEnd::Failed(_) => Experience::Bad,
        });
        end
    }

    async fn converse(&mut self, manager: Arc<dyn ManagerClient>, stop: &CancellationToken) -> SessionEnd {
        let opening = async {
            let description = self.describer.announce().await;
            open(manager.as_ref(), description, self.session.clone()).await
        };
        let (first, mut messages) = match stop.run_until_cancelled(opening).await {
            Some(Ok(opened)) => opened,
            Some(Err(error)) => return SessionEnd::Failed(error),
            None => return SessionEnd::Stopped,
        };
        self.session.clone_from(&first.session_id);
        self.backoff.reset();
        let Self { env, worker, reports, volumes, roster, herald, describer, contact, present, pulse, .. } = self;
        let id = self.session.clone();
        let session = Session { env, manager: &manager, id, worker, reports, volumes, pulse };
        let hear = async {
            herald.absorb(first).await;
            contact.send_modify(|contact| {
                *contact = Contact { established: true, sessions: contact.sessions + 1, failures: 0, error: None };
            });
            present.send_replace(Some(Arc::clone(&manager)));
            herald.listen(&mut messages).await
        };
        let end = tokio::select! { biased; // stopping, then the session's own word: it may say why the rest is about to end
            () = stop.cancelled() => SessionEnd::Stopped,
            error = hear => SessionEnd::Failed(error),
            error = session.heartbeats() => SessionEnd::Failed(error),
            error = session.assignments() => SessionEnd::Failed(error),
            error = session.report() => SessionEnd::Failed(error),
            error = session.report_volumes() => SessionEnd::Failed(error),
            error = logs::serve(env, &manager, roster) => SessionEnd::Failed(error),
            error = exec::serve(env, &manager, roster) => SessionEnd::Failed(error),
            () = describer.changed() => SessionEnd::NewDescription,
        };
        if matches!(end, SessionEnd::Stopped) {
            session.flush().await;
        }
        end
    }
}
