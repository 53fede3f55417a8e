//! Drives one task.

mod starting;
mod surroundings;

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::Signal;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{
    Assignment, Controller, Dependencies, ExecCommand, ExecError, ExecInputs, ExecOutputs, LogOptions, LogStream,
    RuntimeStatus, Usage, container_spec, stop_grace,
};
use swarmkit_runtime::Spawner;

use crate::{
    alive::Alive,
    capabilities,
    cgroups::Limits,
    devices, exec,
    executor::{Shared, Supervision, Warned},
    files::{CONFIGS, SECRETS, TaskFiles},
    health::{Entrance, Health, HealthCheck, Unhealthy},
    logs::{self, DirWatch},
    order::Order,
    plan::{Offer, Plan, Planned, Stop},
    removal::{self, Patience, Stage},
    supervisor::{self, Answer, kill_leftovers},
    task_dir::{Claim, Ended, TaskDir},
    usage,
    users::Users,
};
use starting::Starting;

/// The exit code in the status of a task whose exit code nobody knows.
const UNKNOWN_CODE: i32 = -1;

/// How long a supervisor may take to answer when its task is no longer wanted.
const ANSWER: Duration = Duration::from_secs(5);

/// Drives one task, which is a process with a supervisor. Holds nothing that the task needs to run.
pub struct ProcessController {
    shared: Arc<Shared>,
    task: Mutex<Arc<Task>>,
    dependencies: Arc<dyn Dependencies>,
    dir: TaskDir,
    /// An earlier program has prepared the task, so it may also have started something that is not on record.
    inherited: AtomicBool,
    /// What its health checks have told, from when it was first seen to run.
    health: tokio::sync::Mutex<Option<Health>>,
    /// A supervisor that was started and has not yet answered.
    starting: tokio::sync::Mutex<Option<Starting>>,
    /// What was measured last.
    measured: Mutex<Option<Usage>>,
    closed: AtomicBool,
}

impl ProcessController {
    pub(crate) fn new(shared: Arc<Shared>, assignment: Assignment, dir: TaskDir) -> Self {
        let inherited = AtomicBool::new(!matches!(Stage::of(&dir), Ok(Stage::Absent)));
        Self {
            shared,
            inherited,
            task: Mutex::new(assignment.task),
            dependencies: assignment.dependencies,
            dir,
            health: tokio::sync::Mutex::new(None),
            starting: tokio::sync::Mutex::new(None),
            measured: Mutex::new(None),
            closed: AtomicBool::new(false),
        }
    }

    /// The task, unless the controller was closed.
    fn open(&self) -> Result<Arc<Task>, ExecError> {
        if self.closed.load(Ordering::Acquire) { Err(ExecError::Closed) } else { Ok(Arc::clone(&self.task.lock())) }
    }

    fn stage(&self) -> Result<Stage, ExecError> {
        Stage::of(&self.dir).map_err(ExecError::temporary)
    }

    /// Waits for the answer of a supervisor that an earlier call has started. What comes next is on record then.
    async fn settle(starting: &mut Option<Starting>) -> Option<Answer> {
        let answer = starting.as_mut()?.answer().await;
        *starting = None;
        Some(answer)
    }

    /// As [`Self::settle`], for those who want the task gone: a supervisor that does not answer is killed.
    async fn settle_or_kill(starting: &mut Option<Starting>) {
        if tokio::time::timeout(ANSWER, Self::settle(starting)).await.is_err()
            && let Some(mut silent) = starting.take()
        {
            silent.kill().await;
        }
    }

    async fn stop(&self, order: Order) -> Result<(), ExecError> {
        let mut starting = self.starting.lock().await;
        Self::settle_or_kill(&mut starting).await;
        removal::stop(&self.dir, order).await
    }

    /// Starts the task, unless it was started before.
    async fn launch(&self) -> Result<(), ExecError> {
        let mut starting = self.starting.lock().await;
        let mut patience = Patience::new();
        loop {
            if let Some(Answer::Trouble(trouble)) = Self::settle(&mut starting).await {
                return Err(ExecError::temporary(trouble));
            }
            match self.stage()? {
                Stage::Started(_) | Stage::Ended(Ended::Exited { .. } | Ended::Lost { .. }) => return Ok(()),
                Stage::Ended(Ended::NotStarted { reason }) => return Err(ExecError::failed(reason)),
                Stage::Absent => return Err(ExecError::failed("the task is not prepared")),
                // Somebody has it: a supervisor that an earlier program has started, and that is not yet that far.
                Stage::Prepared if self.dir.claim().map_err(ExecError::temporary)?.is_none() => patience.wait().await?,
                Stage::Prepared => {
                    if self.inherited.load(Ordering::Acquire) {
                        self.clear_inherited().await.map_err(ExecError::temporary)?;
                    }
                    *starting = Some(Starting::new(&self.shared, &self.dir)?);
                }
            }
        }
    }

    /// Ends what an earlier program may have started in the moment before it was killed, and its supervisor with it.
    async fn clear_inherited(&self) -> io::Result<()> {
        kill_leftovers(self.dir.task(), self.dir.plan()?.as_ref()).await?;
        self.inherited.store(false, Ordering::Release);
        Ok(())
    }

    /// Waits for the end of the task.
    async fn ended(&self) -> Result<(), ExecError> {
        loop {
            match self.stage()? {
                Stage::Absent | Stage::Prepared => return Err(ExecError::failed("the task does not run")),
                Stage::Ended(Ended::Exited { code: 0, .. }) => return Ok(()),
                Stage::Ended(Ended::Exited { code, reason }) => return Err(ExecError::Exited { code, reason }),
                Stage::Ended(Ended::NotStarted { reason } | Ended::Lost { reason }) => {
                    return Err(ExecError::failed(reason));
                }
                Stage::Started(started) => match Alive::watch(&self.dir.alive()).map_err(ExecError::temporary)? {
                    Some(alive) => alive.gone().await,
                    None => removal::bury_lost(&self.dir, &started).await.map_err(ExecError::temporary)?,
                },
            }
        }
    }

    /// The health check of a task that runs, and what to run it with.
    fn health_check(&self, task: &Task) -> Result<Option<(HealthCheck, Plan)>, ExecError> {
        let spec = container_spec(&task.spec).ok_or_else(|| ExecError::rejected("unsupported runtime"))?;
        let Some(check) = HealthCheck::of(spec).map_err(ExecError::rejected)? else { return Ok(None) };
        match self.stage()? {
            Stage::Started(_) => {
                let plan = self.dir.plan().map_err(ExecError::temporary)?;
                Ok(plan.map(|plan| (check.within(self.entrance(&plan)), plan)))
            }
            Stage::Absent | Stage::Prepared | Stage::Ended(_) => Ok(None),
        }
    }

    /// How to get into the task, if that takes more than being its user.
    fn entrance(&self, plan: &Plan) -> Option<Entrance> {
        match &self.shared.supervision {
            Supervision::Processes(program) if plan.isolation.is_some() || plan.capabilities.is_some() => {
                Some(Entrance { program: program.clone(), dir: self.dir.clone() })
            }
            Supervision::Processes(_) | Supervision::Inside => None,
        }
    }

    /// Stops a task that is not well.
    async fn give_up(&self, task: &Task, unhealthy: Unhealthy) -> Result<(), ExecError> {
        self.stop(polite(task, &self.dir)).await?;
        Err(ExecError::failed(unhealthy))
    }
}

impl fmt::Debug for ProcessController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessController").field("task", &self.task.lock().id).finish_non_exhaustive()
    }
}

impl Controller for ProcessController {
    async fn update(&self, task: Arc<Task>) -> Result<(), ExecError> {
        self.open()?;
        *self.task.lock() = task;
        Ok(())
    }

    async fn prepare(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        let mut patience = Patience::new();
        while !matches!(self.stage()?, Stage::Started(_) | Stage::Ended(_)) {
            self.dir.create().map_err(ExecError::temporary)?;
            let Some(claim) = self.dir.claim().map_err(ExecError::temporary)? else {
                patience.wait().await?;
                continue;
            };
            let (shared, dir, dependencies) = (self.shared.clone(), self.dir.clone(), self.dependencies.clone());
            let isolation = shared.isolation().await.clone();
            let prepared =
                Spawner::blocking(move || prepare(&shared, &dir, &task, &*dependencies, &isolation, &claim)).await;
            return prepared.map_err(ExecError::temporary)?;
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.launch().await?;
        let Some((check, plan)) = self.health_check(&task)? else { return Ok(()) };
        let mut health = self.health.lock().await;
        let health = health.get_or_insert_with(Health::new);
        let verdict = tokio::select! { biased; // what has ended needs no asking
            ended = self.ended() => return ended,
            well = check.until_well(&plan, health) => well,
        };
        match verdict {
            Ok(()) => Ok(()),
            Err(unhealthy) => self.give_up(&task, unhealthy).await,
        }
    }

    async fn wait(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        let mut health = self.health.lock().await;
        // A verdict stands, also after the task was stopped for it.
        if let Some(unhealthy) = health.as_ref().and_then(Health::verdict) {
            return self.give_up(&task, unhealthy.clone()).await;
        }
        let Some((check, plan)) = self.health_check(&task)? else { return self.ended().await };
        let health = health.get_or_insert_with(Health::new);
        let unhealthy = tokio::select! { biased; // what has ended needs no asking
            ended = self.ended() => return ended,
            unhealthy = check.until_unhealthy(&plan, health) => unhealthy,
        };
        self.give_up(&task, unhealthy).await
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.stop(polite(&task, &self.dir)).await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.open()?;
        self.stop(Order::Kill).await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        self.open()?;
        let mut starting = self.starting.lock().await;
        Self::settle_or_kill(&mut starting).await;
        removal::remove(&self.shared, &self.dir).await
    }

    async fn close(&self) -> Result<(), ExecError> {
        if self.closed.swap(true, Ordering::AcqRel) { Err(ExecError::Closed) } else { Ok(()) }
    }

    async fn status(&self) -> Result<RuntimeStatus, ExecError> {
        let task = self.open()?;
        let (pid, exit_code) = match self.stage()? {
            Stage::Absent | Stage::Prepared | Stage::Ended(Ended::NotStarted { .. }) => {
                return Ok(RuntimeStatus::default());
            }
            Stage::Started(started) => (started.pid, 0),
            Stage::Ended(Ended::Exited { code, .. }) => (0, code),
            Stage::Ended(Ended::Lost { .. }) => (0, UNKNOWN_CODE),
        };
        let container = wire::ContainerStatus { container_id: task.id.to_string(), pid, exit_code };
        let ports = (pid != 0).then(|| wire::PortStatus { ports: host_ports(&task) });
        Ok(RuntimeStatus { container: Some(container), ports })
    }

    async fn exec(&self, command: ExecCommand, inputs: ExecInputs) -> Result<ExecOutputs, ExecError> {
        self.open()?;
        let Supervision::Processes(program) = &self.shared.supervision else {
            return Err(ExecError::Unsupported("commands in tasks: the program does not call run_if_requested()"));
        };
        match self.stage()? {
            Stage::Started(_) => exec::start(program, &self.dir, command, inputs),
            Stage::Absent | Stage::Prepared | Stage::Ended(_) => Err(ExecError::failed("the task does not run")),
        }
    }

    async fn logs(&self, options: LogOptions) -> Result<LogStream, ExecError> {
        self.open()?;
        if self.stage()? == Stage::Absent {
            return Err(ExecError::failed("the task is not prepared"));
        }
        let watch = DirWatch::new(&[self.dir.path()]).map_err(ExecError::temporary)?;
        while self.stage()? == Stage::Prepared {
            watch.changed().await.map_err(ExecError::temporary)?;
        }
        let alive = if options.follow { Alive::watch(&self.dir.alive()).map_err(ExecError::temporary)? } else { None };
        logs::read(self.dir.logs(), options, alive).await
    }

    async fn usage(&self) -> Result<Usage, ExecError> {
        self.open()?;
        let nothing = || ExecError::failed("the task does not run");
        let Stage::Started(started) = self.stage()? else { return Err(nothing()) };
        let groups = self.dir.plan().map_err(ExecError::temporary)?.map(|plan| plan.cgroups).unwrap_or_default();
        let now = self.shared.env.now();
        let measured = Spawner::blocking(move || usage::measure(&started, &groups, now)).await;
        let measured = measured.map_err(ExecError::temporary)?.ok_or_else(nothing)?;
        let mut last = self.measured.lock();
        let measured = match &*last {
            Some(last) => usage::not_below(last, measured),
            None => measured,
        };
        Ok(last.insert(measured).clone())
    }
}

/// How to stop a task politely: as it says, or else its image. A specification that cannot be read was not started from
/// either, so that any signal will do.
fn polite(task: &Task, dir: &TaskDir) -> Order {
    let usual = || Stop { signal: Signal::TERM, grace: stop_grace(&task.spec) };
    let stop = Stop::of(task).unwrap_or_else(|_| usual());
    let is_said = container_spec(&task.spec).is_some_and(|spec| !spec.stop_signal.is_empty());
    let of_image = dir.plan().ok().flatten().and_then(|plan| Signal::from_named_raw(plan.stop_signal?));
    match of_image {
        Some(signal) if !is_said => Order::Stop(Stop { signal, ..stop }),
        _ => Order::Stop(stop),
    }
}

/// Puts everything in place for a start. What is there from an earlier attempt is put anew.
///
/// With a claim, so that nobody starts the task meanwhile, and that it is done only once at a time: who asked for it
/// may have gone away and come back.
fn prepare(
    shared: &Shared,
    dir: &TaskDir,
    task: &Task,
    dependencies: &dyn Dependencies,
    isolation: &Result<(), String>,
    _claim: &Claim,
) -> Result<(), ExecError> {
    let spec = container_spec(&task.spec).ok_or_else(|| ExecError::rejected("unsupported runtime"))?;
    let files = TaskFiles(shared.shelf.task(task.id.as_str()));
    let given = shared.devices.of(task)?;
    let Planned { mut plan, directories, texts } = {
        let users = Users::read().map_err(ExecError::temporary)?;
        let image = shared.images.find(&spec.image)?;
        let (secrets_dir, configs_dir) = match image {
            None => (files.secrets(), files.configs()),
            Some(_) => (SECRETS.into(), CONFIGS.into()),
        };
        let offer = Offer {
            own: &shared.own,
            users: &users,
            secrets_dir: &secrets_dir,
            configs_dir: &configs_dir,
            logs: shared.logs,
            ceiling: |resource| rustix::process::getrlimit(resource).maximum,
            mode: shared.mode,
            isolation,
            map: supervisor::own_map(),
            capabilities: capabilities::own(),
            image: image.as_ref(),
            task_dir: dir.path(),
            volumes_dir: &shared.volumes_dir(),
            dependencies,
            devices: &given,
            files: &files.placed(spec)?,
        };
        Plan::decide(task, &offer)?
    };
    devices::check(&given, plan.identity.as_ref())?;
    HealthCheck::of(spec).map_err(ExecError::rejected)?;
    if !spec.secrets.is_empty() && !shared.shelf.is_in_memory() && Warned::first(&shared.warned.secrets) {
        tracing::warn!("this machine offers no place in memory: secrets are in files on a disk while their tasks run");
    }
    if !spec.secrets.is_empty() || !spec.configs.is_empty() {
        shared.shelf.open().map_err(ExecError::temporary)?;
    }
    files.put(spec, dependencies, plan.identity.as_ref())?;
    plan.cgroups = limit(shared, task)
        .map_err(|error| ExecError::temporary(format!("setting the limits of the task: {error}")))?;
    let user = plan.identity.as_ref();
    {
        let _alone = shared.volumes.lock();
        directories
            .iter()
            .try_for_each(|directory| surroundings::make(directory, user))
            .map_err(ExecError::temporary)?;
    }
    texts.iter().try_for_each(|(file, text)| surroundings::write(file, text)).map_err(ExecError::temporary)?;
    dir.put_plan(&plan).map_err(ExecError::temporary)
}

/// Makes the cgroups for the limits of a task, as far as the machine offers them.
fn limit(shared: &Shared, task: &Task) -> io::Result<Vec<PathBuf>> {
    let limits = Limits::of(task);
    if limits == Limits::default() {
        return Ok(Vec::new());
    }
    let cgroups = shared.cgroups()?;
    let beyond = cgroups.beyond(&limits);
    if !beyond.is_empty() && Warned::first(&shared.warned.cgroups) {
        tracing::warn!(limits = ?beyond, "this machine lets us set no such cgroup limits: tasks run without them");
    }
    cgroups.create(task.id.as_str(), &limits)
}

/// The ports of the machine that the task listens on: as it was told to.
fn host_ports(task: &Task) -> Vec<wire::PortConfig> {
    let ports = task.endpoint.as_ref().map(|endpoint| endpoint.ports.as_slice()).unwrap_or_default();
    let host = ports.iter().filter(|port| port.publish_mode() == wire::port_config::PublishMode::Host);
    host.map(|port| wire::PortConfig { published_port: port.target_port, ..port.clone() }).collect()
}
