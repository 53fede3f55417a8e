//! Owns the tasks of this node: takes assignments, keeps one runner for each task, and finds the tasks of an earlier
//! agent again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use swarmkit_api::{Object as _, Task, TaskId, wire};
use swarmkit_executor::ExecError;
use swarmkit_runtime::{Backoff, Env, PartError, Spawner};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use wire::{assignment::Item, assignment_change::AssignmentAction, assignments_message::Type};

use crate::{
    AgentError,
    controller::ControllerCell,
    database::{Change, Fate},
    payloads::PayloadChange,
    runner::{Runner, Tools, Wanted, same_definition},
};

/// How many requests to the worker may wait. Each session has one in flight.
const REQUESTS: usize = 16;
/// How many ended runners may wait to be noted.
const ENDINGS: usize = 64;
/// How long the executor may take to clear what earlier tasks have left. What is not done by then is done later.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(60);
/// The first pause before that is tried again, and the longest.
const CLEAR_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Asks the worker for something. Clones ask the same one.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Assign { message: wire::AssignmentsMessage, done: oneshot::Sender<()> },
    Leave { within: Duration, done: oneshot::Sender<()> },
}

/// See the module's purpose.
pub(crate) struct Worker {
    tools: Tools,
    requests: mpsc::Receiver<Request>,
    tasks: BTreeMap<TaskId, Held>,
    endings: (mpsc::Sender<TaskId>, mpsc::Receiver<TaskId>),
    /// Who waits for the last task to be gone. Once there is anyone, nothing is assigned any more.
    leaving: Vec<oneshot::Sender<()>>,
    left: bool,
    /// What earlier tasks have left could not be cleared, and is tried again.
    uncleared: Option<Uncleared>,
}

/// See [`Worker::clear`].
struct Uncleared {
    backoff: Backoff,
    pause: BoxFuture<'static, ()>,
}

/// A task of this node.
struct Held {
    wanted: watch::Sender<Wanted>,
    /// The managers' latest definition; while it goes away, the one to begin with afterwards, if it was assigned anew.
    task: Option<Arc<Task>>,
}

/// What a message asks for, sorted into what is done together.
#[derive(Default)]
struct Sorted {
    payloads: Vec<PayloadChange>,
    tasks: Vec<Arc<Task>>,
    /// Tasks that are named, readable or not.
    named: BTreeSet<TaskId>,
    gone: Vec<TaskId>,
    /// Volumes, and whether they shall be here.
    volumes: Vec<(wire::VolumeAssignment, bool)>,
}

// === impl WorkerHandle ===

impl WorkerHandle {
    /// Takes a message of the assignments stream. Returns when its tasks are written down and on their way.
    pub(crate) async fn assign(&self, message: wire::AssignmentsMessage) -> Result<(), AgentError> {
        self.ask(|done| Request::Assign { message, done }).await
    }

    /// Stops and removes every task, each within `within`, and takes no more. Returns when all are gone.
    pub(crate) async fn leave(&self, within: Duration) -> Result<(), AgentError> {
        self.ask(|done| Request::Leave { within, done }).await
    }

    async fn ask(&self, request: impl FnOnce(oneshot::Sender<()>) -> Request) -> Result<(), AgentError> {
        let (done, is_done) = oneshot::channel();
        self.requests.send(request(done)).await.map_err(|_| AgentError::Closed)?;
        is_done.await.map_err(|_| AgentError::Closed)
    }
}

// === impl Worker ===

impl Worker {
    pub(crate) fn new(tools: Tools) -> (Self, WorkerHandle) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let endings = mpsc::channel(ENDINGS);
        let (tasks, leaving) = (BTreeMap::new(), Vec::new());
        let worker = Self { tools, requests, tasks, endings, leaving, left: false, uncleared: None };
        (worker, WorkerHandle { requests: sender })
    }

    /// Takes up the tasks of an earlier agent, then serves requests until stopped.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), PartError> {
        let spawner = Spawner::current().ok_or(AgentError::Closed)?;
        match stop.run_until_cancelled(self.resume(&spawner)).await {
            Some(resumed) => resumed?,
            None => return Ok(()),
        }
        loop {
            tokio::select! { biased; // endings first: a request may be about the same task
                () = stop.cancelled() => return Ok(()),
                Some(task) = self.endings.1.recv() => self.ended(task, &spawner),
                Some(request) = self.requests.recv() => self.serve(request, &spawner).await,
                () = due(&mut self.uncleared) => {
                    let known: Vec<_> = self.tasks.keys().cloned().collect();
                    stop.run_until_cancelled(self.clear(&known)).await;
                }
            }
        }
    }

    /// Finds the tasks that an earlier agent had, and goes on with them. One that it had not yet removed is removed.
    async fn resume(&mut self, spawner: &Spawner) -> Result<(), PartError> {
        let records = self.tools.records.load().await?;
        let known: Vec<_> =
            records.iter().filter(|record| record.assigned).map(|record| record.task.id.clone()).collect();
        self.clear(&known).await;
        tracing::info!(tasks = known.len(), "resuming");
        for record in records {
            if record.assigned {
                self.tools.reports.put(&record.task.id, &record.task.status);
                self.begin(record.task, spawner);
            } else {
                self.begin_removal(record.task, spawner);
            }
        }
        Ok(())
    }

    /// Has the executor remove what is left of tasks that nobody knows. As long as it cannot, that is tried again.
    ///
    /// Nothing is begun meanwhile, so that what is begun is not taken for unknown.
    async fn clear(&mut self, known: &[TaskId]) {
        let cleared = tokio::time::timeout(CLEAR_TIMEOUT, self.tools.executor.reconcile(known)).await;
        match cleared.unwrap_or_else(|_| Err(ExecError::temporary("not done in time"))) {
            Ok(()) => self.uncleared = None,
            Err(error) => {
                tracing::warn!(%error, "cannot clear what earlier tasks have left; trying again");
                let env = &self.tools.env;
                let backoff = match self.uncleared.take() {
                    Some(uncleared) => uncleared.backoff,
                    None => Backoff::new(CLEAR_RETRY.0, CLEAR_RETRY.1, env.rng("agent/clear")),
                };
                self.uncleared = Some(Uncleared::new(backoff, env.clone()));
            }
        }
    }

    async fn serve(&mut self, request: Request, spawner: &Spawner) {
        match request {
            Request::Assign { message, done } => {
                if !self.left {
                    self.assign(message, spawner).await;
                }
                done.send(()).ok();
            }
            Request::Leave { within, done } => {
                self.left = true;
                for held in self.tasks.values_mut() {
                    held.task = None;
                    held.wanted.send_replace(Wanted::Gone { within: Some(within) });
                }
                self.leaving.push(done);
                self.tell_if_all_gone();
            }
        }
    }

    /// Payloads first, so that a task finds what it needs; then tasks, written down before anything is done for them.
    async fn assign(&mut self, message: wire::AssignmentsMessage, spawner: &Spawner) {
        let complete = message.r#type() == Type::Complete;
        let Sorted { payloads, tasks, named, mut gone, volumes } = Sorted::of(message, complete);
        if complete {
            self.tools.payloads.replace(payloads);
            gone = self.tasks.keys().filter(|task| !named.contains(*task)).cloned().collect();
        } else {
            self.tools.payloads.amend(payloads);
        }
        let begun: Vec<_> = tasks.into_iter().filter_map(|task| self.admit(task)).collect();
        if !begun.is_empty() {
            self.write_down(&begun).await;
        }
        for task in begun {
            self.tools.reports.note(&task.id, &task.status);
            self.begin(task, spawner);
        }
        for task in gone {
            self.release(&task);
        }
        for (volume, here) in volumes {
            self.tools.payloads.volumes.assign(volume, here, &self.tools.env, &self.tools.payloads, spawner);
        }
    }

    /// Takes the definition of a task. Gives it back if there is no runner for it yet.
    fn admit(&mut self, task: Arc<Task>) -> Option<Arc<Task>> {
        let Some(held) = self.tasks.get_mut(&task.id) else { return Some(task) };
        if matches!(&*held.wanted.borrow(), Wanted::Gone { .. }) {
            held.task = Some(task);
            return None;
        }
        let Some(known) = &held.task else { return None };
        if same_definition(known, &task) {
            return None;
        }
        if task.desired_state < known.desired_state {
            tracing::warn!(task = %task.id, "ignoring a desired state below the present one");
            return None;
        }
        self.tools.records.put(&task.id, Change { task: Some(Arc::clone(&task)), ..Change::default() });
        held.task = Some(Arc::clone(&task));
        held.wanted.send_replace(Wanted::Task(task));
        None
    }

    /// A kill after this finds the tasks. One that cannot be written down is run all the same: a kill then loses its
    /// record, the executor clears what is left of it, and the managers assign it again.
    async fn write_down(&mut self, tasks: &[Arc<Task>]) {
        for task in tasks {
            let (status, fate) = (Some(task.status.clone()), Some(Fate::Assigned));
            self.tools.records.put(&task.id, Change { task: Some(Arc::clone(task)), status, fate });
        }
        if let Err(error) = self.tools.records.commit().await {
            tracing::error!(error, "cannot write down new tasks");
        }
    }

    fn begin(&mut self, task: Arc<Task>, spawner: &Spawner) {
        let wanted = watch::Sender::new(Wanted::Task(Arc::clone(&task)));
        self.run_task(&task, &wanted, spawner);
        self.tasks.insert(task.id.clone(), Held { wanted, task: Some(task) });
    }

    /// Removes what a task of an earlier agent has left.
    fn begin_removal(&mut self, task: Arc<Task>, spawner: &Spawner) {
        let wanted = watch::Sender::new(Wanted::Gone { within: None });
        self.run_task(&task, &wanted, spawner);
        self.tasks.insert(task.id.clone(), Held { wanted, task: None });
    }

    fn run_task(&self, task: &Arc<Task>, wanted: &watch::Sender<Wanted>, spawner: &Spawner) {
        self.tools.payloads.volumes.observe(task, task.status.state);
        let tools = self.tools.clone();
        let controller = ControllerCell::new(Arc::clone(&tools.executor), tools.payloads.clone(), Arc::clone(task));
        self.tools.roster.add(task.id.clone(), controller.clone());
        let mut runner = Runner::new(tools, controller, Arc::clone(task), wanted.subscribe());
        let endings = self.endings.0.clone();
        let stop = spawner.stop().clone();
        drop(spawner.spawn("task", async move {
            if let Some(task) = runner.run(stop).await {
                endings.send(task).await.ok();
            }
        }));
    }

    fn release(&mut self, task: &TaskId) {
        let Some(held) = self.tasks.get_mut(task) else {
            tracing::debug!(%task, "asked to remove a task that is not here");
            return;
        };
        held.task = None;
        if !matches!(&*held.wanted.borrow(), Wanted::Gone { .. }) {
            self.tools.records.put_fate(task, Fate::Released);
            held.wanted.send_replace(Wanted::Gone { within: None });
        }
    }

    /// Nothing is left of a task. If it was assigned anew meanwhile, it begins again.
    fn ended(&mut self, task: TaskId, spawner: &Spawner) {
        self.tools.reports.forget(&task);
        self.tools.roster.remove(&task);
        let again = self.tasks.remove(&task).and_then(|held| held.task);
        match again {
            Some(again) if !self.left => {
                let status = Some(again.status.clone());
                let change = Change { task: Some(Arc::clone(&again)), status, fate: Some(Fate::Assigned) };
                self.tools.records.put(&task, change);
                self.tools.reports.note(&task, &again.status);
                self.begin(again, spawner);
            }
            _ => self.tools.records.put_fate(&task, Fate::Deleted),
        }
        self.tell_if_all_gone();
    }

    fn tell_if_all_gone(&mut self) {
        if self.tasks.is_empty() {
            for waiting in self.leaving.drain(..) {
                waiting.send(()).ok();
            }
        }
    }
}

// === impl Uncleared ===

impl Uncleared {
    fn new(mut backoff: Backoff, env: Env) -> Self {
        let delay = backoff.next_delay();
        Self { backoff, pause: async move { env.sleep(delay).await }.boxed() }
    }
}

/// Waits until it is time to clear again, if there is anything to clear.
async fn due(uncleared: &mut Option<Uncleared>) {
    match uncleared {
        Some(uncleared) => (&mut uncleared.pause).await,
        None => std::future::pending().await,
    }
}

// === impl Sorted ===

impl Sorted {
    /// A complete set names what there is, so removals in it mean nothing; but volumes are no part of it.
    fn of(message: wire::AssignmentsMessage, complete: bool) -> Self {
        let mut sorted = Self::default();
        for change in message.changes {
            let remove = change.action() == AssignmentAction::Remove;
            let Some(item) = change.assignment.and_then(|assignment| assignment.item) else { continue };
            match (item, remove) {
                (item, true) if complete && !matches!(item, Item::Volume(_)) => {}
                (Item::Secret(secret), false) => sorted.payloads.push(PayloadChange::Secret(Box::new(secret))),
                (Item::Secret(secret), true) => sorted.payloads.push(PayloadChange::NoSecret(secret.id)),
                (Item::Config(config), false) => sorted.payloads.push(PayloadChange::Config(Box::new(config))),
                (Item::Config(config), true) => sorted.payloads.push(PayloadChange::NoConfig(config.id)),
                (Item::Task(task), false) => sorted.task(task),
                (Item::Task(task), true) => sorted.gone.push(TaskId::from(task.id)),
                (Item::Volume(volume), remove) => sorted.volumes.push((volume, !remove)),
            }
        }
        sorted
    }

    fn task(&mut self, task: wire::Task) {
        let id = TaskId::from(task.id.as_str());
        match Task::from_wire(task) {
            Ok(task) => self.tasks.push(Arc::new(task)),
            Err(error) => tracing::error!(task = %id, %error, "cannot read an assigned task, leaving it as it is"),
        }
        self.named.insert(id);
    }
}
