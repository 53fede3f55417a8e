//! An executor whose tasks exist and do nothing: for tests, benchmarks and simulations, and as the shortest example.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;
use swarmkit_api::{Task, TaskId, wire};
use swarmkit_runtime::Env;
use tokio::{sync::Notify, time::Instant};

use crate::{
    Assignment, Controller, ExecError, Executor, LogOptions, LogRecord, LogSource, LogStart, LogStream, RuntimeStatus,
    Usage, Workload, describe_node, stop_grace,
};

/// What a task that was stopped politely ends with: 128 + SIGTERM.
const STOPPED: i32 = 143;
/// What a task that was stopped by force ends with: 128 + SIGKILL.
const KILLED: i32 = 137;

/// How an inert task acts. The default prepares and starts at once, writes nothing and runs until it is stopped.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// Why this node cannot run it at all.
    pub impossible: Option<String>,
    /// Why it is not well: it fails as soon as it was started.
    pub unhealthy: Option<String>,
    /// How long preparing takes.
    pub prepare: Duration,
    /// How long starting takes.
    pub start: Duration,
    /// What it writes when it starts, line by line.
    pub output: Vec<(LogSource, String)>,
    /// When it ends by itself.
    pub ending: Ending,
    /// It has to be killed when its grace is over.
    pub ignores_stop: bool,
    /// The code that it ends with when it is stopped politely. `None` for 143, as of SIGTERM.
    pub stopped_with: Option<i32>,
    /// What it says that it uses while it runs, measured when it is asked. `None` for an executor that cannot tell.
    pub usage: Option<Usage>,
}

/// When an inert task ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// It does not.
    #[default]
    Never,
    /// So long after its start, with that exit code.
    After(Duration, i32),
}

/// What inert tasks run on. Clones are one machine: an executor made on it again finds the tasks of an earlier one.
#[derive(Clone)]
pub struct Machine {
    env: Env,
    tasks: Arc<Mutex<BTreeMap<TaskId, Instance>>>,
}

/// A task that was prepared.
struct Instance {
    behaviour: Behaviour,
    state: State,
    /// Told whenever `state` changes.
    changed: Arc<Notify>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Prepared,
    Running { since: Instant, output_at: std::time::SystemTime },
    Ended { code: i32, output_at: std::time::SystemTime },
}

/// See the module's purpose: its tasks reach RUNNING at once and run until they are told to stop.
///
/// It says of itself that it runs every kind of task.
#[derive(Clone)]
pub struct InertExecutor {
    machine: Machine,
    hostname: String,
    resources: wire::Resources,
    behaviour: Arc<dyn Fn(&Task) -> Behaviour + Send + Sync>,
}

/// Drives one inert task.
pub struct InertController {
    machine: Machine,
    task: Mutex<Arc<Task>>,
    behaviour: Behaviour,
    closed: Mutex<bool>,
}

// === impl Machine ===

impl Machine {
    /// A machine without tasks, whose records are stamped by `env`.
    #[must_use]
    pub fn new(env: Env) -> Self {
        Self { env, tasks: Arc::default() }
    }

    /// How many tasks run at this moment.
    #[must_use]
    pub fn running(&self) -> usize {
        let mut tasks = self.tasks.lock();
        tasks.values_mut().map(Instance::settle).filter(|state| matches!(state, State::Running { .. })).count()
    }

    /// Whether there is anything of a task: it was prepared and not removed since.
    #[must_use]
    pub fn knows(&self, task: &TaskId) -> bool {
        self.state(task).is_some()
    }

    /// The state of a task, after it was given the chance to end by itself. `None` if there is nothing of it.
    fn state(&self, task: &TaskId) -> Option<State> {
        self.tasks.lock().get_mut(task).map(Instance::settle)
    }

    /// Ends a running task.
    fn end(&self, task: &TaskId, with: i32) {
        if let Some(instance) = self.tasks.lock().get_mut(task)
            && let State::Running { output_at, .. } = instance.settle()
        {
            instance.turn(State::Ended { code: with, output_at });
        }
    }

    /// Waits until the task runs no more, and gives its exit code. `None` if it never ran or was removed.
    async fn ended(&self, task: &TaskId) -> Option<i32> {
        loop {
            let (changed, deadline) = {
                let mut tasks = self.tasks.lock();
                let instance = tasks.get_mut(task)?;
                let deadline = match (instance.settle(), instance.behaviour.ending) {
                    (State::Prepared, _) => return None,
                    (State::Ended { code, .. }, _) => return Some(code),
                    (State::Running { since, .. }, Ending::After(period, _)) => Some(since + period),
                    (State::Running { .. }, Ending::Never) => None,
                };
                // Listening begins here, under the lock: a change after this is not missed.
                (Arc::clone(&instance.changed).notified_owned(), deadline)
            };
            match deadline {
                None => changed.await,
                // An early end and a due end lead to the same question, so which one is seen first does not matter.
                Some(deadline) => drop(tokio::time::timeout_at(deadline, changed).await),
            }
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("tasks", &self.tasks.lock().len()).finish_non_exhaustive()
    }
}

// === impl Instance ===

impl Instance {
    /// Ends what is due to end, and says how things stand.
    fn settle(&mut self) -> State {
        if let State::Running { since, output_at } = self.state
            && let Ending::After(period, code) = self.behaviour.ending
            && Instant::now() >= since + period
        {
            self.turn(State::Ended { code, output_at });
        }
        self.state
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        self.changed.notify_waiters();
    }
}

// === impl InertExecutor ===

impl Default for InertExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl InertExecutor {
    /// An executor on a machine of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Machine::new(Env::real()))
    }

    /// An executor on `machine`, with what earlier ones left there.
    #[must_use]
    pub fn on(machine: Machine) -> Self {
        Self {
            machine,
            hostname: "inert".into(),
            resources: wire::Resources::default(),
            behaviour: Arc::new(|_| Behaviour::default()),
        }
    }

    /// The name that the node describes itself by; `inert` if not set.
    #[must_use]
    pub fn hostname(self, hostname: impl Into<String>) -> Self {
        Self { hostname: hostname.into(), ..self }
    }

    /// What the node says that it has to give; nothing if not set.
    #[must_use]
    pub fn resources(self, resources: wire::Resources) -> Self {
        Self { resources, ..self }
    }

    /// How each task acts, decided when its controller is made.
    #[must_use]
    pub fn behaving(self, behaviour: impl Fn(&Task) -> Behaviour + Send + Sync + 'static) -> Self {
        Self { behaviour: Arc::new(behaviour), ..self }
    }

    /// The machine below.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
}

impl fmt::Debug for InertExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InertExecutor").field("machine", &self.machine).finish_non_exhaustive()
    }
}

impl Executor for InertExecutor {
    type Controller = InertController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        let node = describe_node(&self.hostname, &[Workload::Container, Workload::Process]);
        Ok(wire::NodeDescription { resources: Some(self.resources.clone()), ..node })
    }

    async fn controller(&self, assignment: Assignment) -> Result<InertController, ExecError> {
        let behaviour = (self.behaviour)(&assignment.task);
        Ok(InertController {
            machine: self.machine.clone(),
            task: Mutex::new(assignment.task),
            behaviour,
            closed: Mutex::new(false),
        })
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        self.machine.tasks.lock().retain(|task, instance| {
            instance.changed.notify_waiters();
            known.contains(task)
        });
        Ok(())
    }
}

// === impl InertController ===

impl InertController {
    /// The id of the task, unless the controller was closed.
    fn open(&self) -> Result<TaskId, ExecError> {
        if *self.closed.lock() { Err(ExecError::Closed) } else { Ok(self.task.lock().id.clone()) }
    }
}

impl fmt::Debug for InertController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InertController").field("task", &self.task.lock().id).finish_non_exhaustive()
    }
}

impl Controller for InertController {
    async fn update(&self, task: Arc<Task>) -> Result<(), ExecError> {
        self.open()?;
        *self.task.lock() = task;
        Ok(())
    }

    async fn prepare(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        if let Some(reason) = &self.behaviour.impossible {
            return Err(ExecError::rejected(reason.clone()));
        }
        if self.machine.state(&task).is_none() {
            tokio::time::sleep(self.behaviour.prepare).await;
            self.machine.tasks.lock().entry(task).or_insert_with(|| Instance {
                behaviour: self.behaviour.clone(),
                state: State::Prepared,
                changed: Arc::default(),
            });
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        if let Some(State::Prepared) = self.machine.state(&task) {
            tokio::time::sleep(self.behaviour.start).await;
        }
        match self.machine.tasks.lock().get_mut(&task) {
            None => return Err(ExecError::failed("the task is not prepared")),
            Some(Instance { state: State::Running { .. } | State::Ended { .. }, .. }) => {}
            Some(prepared) => {
                if let Some(reason) = &prepared.behaviour.unhealthy {
                    let reason = reason.clone();
                    prepared.turn(State::Ended { code: STOPPED, output_at: self.machine.env.now() });
                    return Err(ExecError::failed(reason));
                }
                prepared.turn(State::Running { since: Instant::now(), output_at: self.machine.env.now() });
            }
        }
        Ok(())
    }

    async fn wait(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        match self.machine.ended(&task).await {
            Some(0) => Ok(()),
            Some(code) => Err(ExecError::exited(code)),
            None => Err(ExecError::failed("the task does not run")),
        }
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        if !self.behaviour.ignores_stop {
            self.machine.end(&task, self.behaviour.stopped_with.unwrap_or(STOPPED));
            return Ok(());
        }
        let grace = stop_grace(&self.task.lock().spec);
        drop(tokio::time::timeout(grace, self.machine.ended(&task)).await);
        self.machine.end(&task, KILLED);
        Ok(())
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.machine.end(&self.open()?, KILLED);
        Ok(())
    }

    async fn remove(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        if let Some(instance) = self.machine.tasks.lock().remove(&task) {
            instance.changed.notify_waiters();
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), ExecError> {
        self.open()?;
        *self.closed.lock() = true;
        Ok(())
    }

    async fn status(&self) -> Result<RuntimeStatus, ExecError> {
        let task = self.open()?;
        let exit_code = match self.machine.state(&task) {
            None | Some(State::Prepared) => return Ok(RuntimeStatus::default()),
            Some(State::Running { .. }) => 0,
            Some(State::Ended { code, .. }) => code,
        };
        let container = wire::ContainerStatus { container_id: task.to_string(), pid: 0, exit_code };
        Ok(RuntimeStatus { container: Some(container), ports: None })
    }

    async fn usage(&self) -> Result<Usage, ExecError> {
        let task = self.open()?;
        let Some(usage) = &self.behaviour.usage else { return Err(ExecError::Unsupported("resource usage")) };
        match self.machine.state(&task) {
            Some(State::Running { .. }) => Ok(Usage { taken_at: self.machine.env.now(), ..usage.clone() }),
            None | Some(State::Prepared | State::Ended { .. }) => Err(ExecError::failed("the task does not run")),
        }
    }

    async fn logs(&self, options: LogOptions) -> Result<LogStream, ExecError> {
        let task = self.open()?;
        let timestamp = loop {
            let changed = match self.machine.tasks.lock().get_mut(&task) {
                None => return Err(ExecError::failed("the task is not prepared")),
                Some(Instance { state: State::Prepared, changed, .. }) => Arc::clone(changed).notified_owned(),
                Some(Instance { state: State::Running { output_at, .. } | State::Ended { output_at, .. }, .. }) => {
                    break *output_at;
                }
            };
            changed.await;
        };
        let written = self.behaviour.output.iter().filter(|(source, _)| options.wants(*source));
        let records: Vec<_> = written
            .filter(|_| options.since.is_none_or(|since| timestamp >= since))
            .map(|(source, line)| LogRecord { timestamp, source: *source, data: Bytes::from(format!("{line}\n")) })
            .collect();
        let skip = match options.start {
            LogStart::Oldest => 0,
            LogStart::Skip(skip) => usize::try_from(skip).unwrap_or(usize::MAX),
            LogStart::Last(last) => records.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX)),
        };
        let records = stream::iter(records.into_iter().skip(skip).map(Ok));
        if !options.follow {
            return Ok(records.boxed());
        }
        let machine = self.machine.clone();
        let end = stream::once(async move {
            machine.ended(&task).await;
        });
        Ok(records.chain(end.filter_map(|()| std::future::ready(None))).boxed())
    }
}
