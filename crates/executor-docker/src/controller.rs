//! Drives one task through its container.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, OptionFuture};
use parking_lot::Mutex;
use swarmkit_api::{Task, wire};
use swarmkit_executor::{
    Assignment, Controller, Dependencies, DeviceFile, ExecError, LogOptions, LogStream, RuntimeStatus, Usage,
    stop_grace,
};
use swarmkit_runtime::Spawner;
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    doing::Doing,
    engine::{Container, Engine, EngineError, Stage, Wellness},
    executor::Shared,
    files::{self, TaskFile},
    labels::container_name,
    logs,
    request::{Offer, Request, container_of, networks_of},
    usage,
};

/// How long to wait before a container is looked at again, when the engine did not answer and no event came since.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An operation on a container that goes on when nobody waits for it.
type Operation = JoinHandle<Option<Result<(), ExecError>>>;

/// Drives one task. Everything about it is asked of the engine each time.
pub struct DockerController {
    shared: Arc<Shared>,
    task: Mutex<Arc<Task>>,
    dependencies: Arc<dyn Dependencies>,
    /// The name of the container.
    name: String,
    /// The operation that was begun last. Dropping the future that began it does not end it, since the engine would
    /// not end it either: whoever comes next waits for it, so that a container that was stopped or removed is not
    /// started or created after all.
    begun: tokio::sync::Mutex<Option<Operation>>,
    /// Why the task was given up. It stands, also after the container was stopped for it.
    verdict: Mutex<Option<String>>,
    /// What is done for it at the moment.
    doing: Doing,
    closed: AtomicBool,
}

impl DockerController {
    pub(crate) fn new(shared: Arc<Shared>, assignment: Assignment) -> Self {
        Self {
            shared,
            name: container_name(&assignment.task),
            task: Mutex::new(assignment.task),
            dependencies: assignment.dependencies,
            begun: tokio::sync::Mutex::new(None),
            verdict: Mutex::new(None),
            doing: Doing::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// The task, unless the controller was closed.
    fn open(&self) -> Result<Arc<Task>, ExecError> {
        if self.closed.load(Ordering::Acquire) { Err(ExecError::Closed) } else { Ok(self.task.lock().clone()) }
    }

    fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// The task's container. One that has the name and belongs to somebody else is none.
    async fn look(&self) -> Result<Option<Container>, EngineError> {
        let found = self.engine().inspect(&self.name).await?;
        Ok(found.filter(|container| container.task == self.task.lock().id.as_str()))
    }

    /// Does something to the container that goes on to its end, whatever becomes of this future. What was begun before
    /// is ended first.
    async fn carry_out(&self, operation: BoxFuture<'static, Result<(), ExecError>>) -> Result<(), ExecError> {
        let mut begun = self.begun.lock().await;
        Self::settle(&mut begun).await;
        let running = begun.insert(self.shared.crew.spawner().spawn("container", operation));
        let ended = running.await;
        *begun = None;
        match ended {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => Err(ExecError::temporary("the node stops")),
        }
    }

    /// Waits for what was begun before. Its result is of no interest any more: what is so, the engine says.
    async fn settle(begun: &mut Option<Operation>) {
        if let Some(operation) = begun {
            drop(operation.await);
            *begun = None;
        }
    }

    /// Waits for what was begun before, so that what is looked at then stays so.
    async fn settled(&self) {
        Self::settle(&mut *self.begun.lock().await).await;
    }

    /// Where the task's secrets and configs are.
    fn shelf(&self, task: &Task) -> PathBuf {
        self.shared.shelf.task(task.id.as_str())
    }

    /// The files of the devices that the task was given, all of which are there.
    async fn devices(&self, task: &Arc<Task>) -> Result<Vec<DeviceFile>, ExecError> {
        let (devices, task) = (self.shared.devices.clone(), task.clone());
        Spawner::blocking(move || devices.of(&task)).await.map_err(ExecError::temporary)?
    }

    /// Writes down the task's secrets and configs.
    async fn put_files(&self, task: &Task) -> Result<Vec<TaskFile>, ExecError> {
        let dir = self.shelf(task);
        let files = files::of(container_of(task)?, &dir).map_err(ExecError::rejected)?;
        if files.is_empty() {
            return Ok(files);
        }
        let (shelf, dependencies, written) = (self.shared.shelf.clone(), self.dependencies.clone(), files.clone());
        let put = Spawner::blocking(move || {
            shelf.open().map_err(ExecError::temporary)?;
            files::put(&dir, shelf.is_in_memory(), &written, &*dependencies)
        });
        put.await.map_err(ExecError::temporary)??;
        Ok(files)
    }

    /// Puts a container that was made before, and not started yet, into those of its networks that it is not in.
    async fn join_networks(&self, task: &Task) -> Result<(), ExecError> {
        let networks = networks_of(task, &self.shared.owner);
        if networks.is_empty() {
            return Ok(());
        }
        let (ours, name) = (self.shared.networks.clone(), self.name.clone());
        let joining = async move {
            let _there = ours.provide(&networks).await?;
            ours.connect(&name, &networks).await
        };
        self.carry_out(Box::pin(joining)).await
    }

    /// Stops the container of a task that is not well, and says so.
    async fn give_up(&self, task: &Task, reason: &str) -> Result<(), ExecError> {
        let text =
            if reason.is_empty() { "unhealthy container".to_owned() } else { format!("unhealthy container: {reason}") };
        *self.verdict.lock() = Some(text.clone());
        self.engine().stop(&self.name, stop_grace(&task.spec)).await.map_err(EngineError::failed)?;
        Err(ExecError::failed(text))
    }

    /// Waits until there may be something new to see.
    async fn news(&self, watch: &mut watch::Receiver<()>, look: &Result<Option<Container>, EngineError>) {
        let pause = match look {
            Ok(_) => None,
            Err(error) => {
                tracing::debug!(container = self.name, %error, "cannot be looked at");
                Some(self.shared.env.sleep(LOOK_AGAIN))
            }
        };
        tokio::select! { biased; // an event means that the engine is there
            _ = watch.changed() => {}
            Some(()) = OptionFuture::from(pause) => {}
        }
    }

    /// Waits until the container is up, as far as something says how to tell.
    async fn until_up(&self, task: &Task) -> Result<(), ExecError> {
        let mut watch = self.shared.watchers.watch(task.id.as_str());
        loop {
            watch.mark_unchanged();
            let look = self.look().await;
            if let Ok(container) = &look {
                match container {
                    None => return Err(ExecError::failed("container destroyed")),
                    Some(Container { stage: Stage::Created, .. }) => {
                        return Err(ExecError::failed("the container was not started"));
                    }
                    // What ended later than it was up is for `wait` to tell.
                    Some(Container { wellness: None | Some(Wellness::Well), .. }) => return Ok(()),
                    Some(Container { stage: Stage::Ended { code, reason }, .. }) => {
                        // A stop that was begun for it was cut off, and came to its end all the same.
                        let verdict = self.verdict.lock().clone();
                        return verdict
                            .map_or_else(|| ended(*code, reason.clone()), |text| Err(ExecError::failed(text)));
                    }
                    Some(Container { wellness: Some(Wellness::Unwell(reason)), .. }) => {
                        return self.give_up(task, reason).await;
                    }
                    Some(Container { wellness: Some(Wellness::NotYet), .. }) => {
                        self.doing.say("waiting for the first health check that goes well");
                    }
                }
            }
            self.news(&mut watch, &look).await;
        }
    }

    /// Ends the container: one that runs by `stop`, one that was never started by taking it away, so that nobody
    /// starts it later.
    async fn end(&self, stop: impl AsyncFnOnce(&Engine, &str) -> Result<(), EngineError>) -> Result<(), ExecError> {
        self.settled().await;
        match self.look().await.map_err(EngineError::failed)? {
            None | Some(Container { stage: Stage::Ended { .. }, .. }) => Ok(()),
            Some(Container { stage: Stage::Created, id, .. }) => {
                self.engine().remove(&id).await.map_err(EngineError::failed)
            }
            Some(Container { stage: Stage::Running { .. }, id, .. }) => {
                stop(self.engine(), &id).await.map_err(EngineError::failed)
            }
        }
    }
}

/// How the end of a container is told.
fn ended(code: i32, reason: Option<String>) -> Result<(), ExecError> {
    if code == 0 { Ok(()) } else { Err(ExecError::Exited { code, reason }) }
}

impl fmt::Debug for DockerController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerController").field("container", &self.name).finish_non_exhaustive()
    }
}

impl Controller for DockerController {
    async fn update(&self, task: Arc<Task>) -> Result<(), ExecError> {
        self.open()?;
        *self.task.lock() = task;
        Ok(())
    }

    async fn prepare(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.settled().await;
        match self.look().await.map_err(EngineError::rejected)? {
            None => {}
            // It may not be in all its networks yet.
            Some(Container { stage: Stage::Created, .. }) => return self.join_networks(&task).await,
            Some(_) => return Ok(()),
        }
        let files = files::of(container_of(&task)?, &self.shelf(&task)).map_err(ExecError::rejected)?;
        let shared = &self.shared;
        let dependencies = &*self.dependencies;
        let devices = self.devices(&task).await?;
        let (api, owner) = (shared.engine.api(), &*shared.owner);
        let offer = Offer { api, owner, files: &files, devices: &devices, dependencies };
        let Request { name, pull, body, networks } = Request::new(&task, &offer)?;
        let spawner = shared.crew.spawner();
        shared.pulls.provide(&shared.engine, &spawner, shared.policy, &pull, &self.doing).await?;
        self.doing.say("making the container");
        self.put_files(&task).await?;
        let (engine, task) = (shared.engine.clone(), task.id.to_string());
        let ours = shared.networks.clone();
        let making = async move {
            if networks.is_empty() {
                return create(&engine, &task, &name, &pull.platform, *body).await;
            }
            let _there = ours.provide(&networks).await?;
            create(&engine, &task, &name, &pull.platform, *body).await?;
            ours.connect(&name, &networks).await
        };
        self.carry_out(Box::pin(making)).await
    }

    async fn start(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.settled().await;
        match self.look().await.map_err(EngineError::failed)? {
            None => return Err(ExecError::failed("the task is not prepared")),
            Some(Container { stage: Stage::Created, id, .. }) => {
                // They are in memory, and the machine may have been started anew since they were put there.
                self.put_files(&task).await?;
                let engine = self.engine().clone();
                self.carry_out(Box::pin(async move { engine.start(&id).await.map_err(EngineError::failed) })).await?;
            }
            Some(Container { stage: Stage::Running { .. }, .. }) => {}
            Some(Container { stage: Stage::Ended { .. }, .. }) => {
                // What has ended was started; but what was never well did not come up, however it ended.
                return self.verdict.lock().clone().map_or(Ok(()), |text| Err(ExecError::failed(text)));
            }
        }
        self.until_up(&task).await
    }

    async fn wait(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        let mut watch = self.shared.watchers.watch(task.id.as_str());
        loop {
            watch.mark_unchanged();
            let look = self.look().await;
            if let Ok(container) = &look {
                // A stop that was begun for it may not have come to its end.
                let verdict = self.verdict.lock().clone();
                match container {
                    Some(Container {
                        stage: Stage::Running { .. }, wellness: Some(Wellness::Unwell(reason)), ..
                    }) => {
                        return self.give_up(&task, reason).await;
                    }
                    Some(Container { stage: Stage::Running { .. }, .. }) => {}
                    _ if verdict.is_some() => return Err(ExecError::failed(verdict.unwrap_or_default())),
                    Some(Container { stage: Stage::Ended { code, reason }, .. }) => {
                        return ended(*code, reason.clone());
                    }
                    Some(Container { stage: Stage::Created, .. }) | None => {
                        return Err(ExecError::failed("the task does not run"));
                    }
                }
            }
            self.news(&mut watch, &look).await;
        }
    }

    async fn shutdown(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.end(async |engine, id| engine.stop(id, stop_grace(&task.spec)).await).await
    }

    async fn terminate(&self) -> Result<(), ExecError> {
        self.open()?;
        self.end(async |engine, id| engine.kill(id).await).await
    }

    async fn remove(&self) -> Result<(), ExecError> {
        let task = self.open()?;
        self.settled().await;
        if let Some(container) = self.look().await.map_err(EngineError::failed)? {
            self.shared.remove(task.id.as_str(), &container.id).await?;
        }
        if !networks_of(&task, &self.shared.owner).is_empty() {
            self.shared.networks.sweep().await?;
        }
        let dir = self.shelf(&task);
        let removed = Spawner::blocking(move || files::remove(&dir)).await;
        removed.map_err(ExecError::temporary)?.map_err(ExecError::temporary)
    }

    async fn close(&self) -> Result<(), ExecError> {
        if self.closed.swap(true, Ordering::AcqRel) { Err(ExecError::Closed) } else { Ok(()) }
    }

    async fn status(&self) -> Result<RuntimeStatus, ExecError> {
        self.open()?;
        let Some(container) = self.look().await.map_err(ExecError::temporary)? else {
            return Ok(RuntimeStatus::default());
        };
        let (pid, exit_code) = match container.stage {
            Stage::Created => return Ok(RuntimeStatus::default()),
            Stage::Running { pid } => (pid, 0),
            Stage::Ended { code, .. } => (0, code),
        };
        let status = wire::ContainerStatus { container_id: container.id, pid, exit_code };
        let ports = (pid != 0).then_some(wire::PortStatus { ports: container.ports });
        Ok(RuntimeStatus { container: Some(status), ports })
    }

    async fn progress(&self) -> String {
        self.doing.news().await
    }

    async fn logs(&self, options: LogOptions) -> Result<LogStream, ExecError> {
        let task = self.open()?;
        let mut watch = self.shared.watchers.watch(task.id.as_str());
        loop {
            watch.mark_unchanged();
            let look = self.look().await;
            match &look {
                Ok(None) => return Err(ExecError::failed("the task is not prepared")),
                Ok(Some(Container { stage: Stage::Running { .. } | Stage::Ended { .. }, id, .. })) => {
                    return Ok(logs::read(self.engine(), id, options));
                }
                Ok(Some(Container { stage: Stage::Created, .. })) | Err(_) => {}
            }
            self.news(&mut watch, &look).await;
        }
    }

    async fn usage(&self) -> Result<Usage, ExecError> {
        let task = self.open()?;
        let nothing = || ExecError::failed("the task does not run");
        let Some(Container { stage: Stage::Running { .. }, id, .. }) =
            self.look().await.map_err(ExecError::temporary)?
        else {
            return Err(nothing());
        };
        let answer = match self.engine().stats(&id).await {
            Err(EngineError::NotFound(_)) => return Err(nothing()),
            answer => answer.map_err(ExecError::temporary)?,
        };
        let limits = task.spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let limited = limits.is_some_and(|limits| limits.memory_bytes > 0);
        usage::read(answer, limited, self.shared.env.now()).ok_or_else(nothing)
    }
}

/// Creates a container, unless it is there.
async fn create(
    engine: &Engine,
    task: &str,
    name: &str,
    platform: &str,
    body: bollard::models::ContainerCreateBody,
) -> Result<(), ExecError> {
    let refused = match engine.create(name, platform, body).await {
        Ok(warnings) => {
            warnings.iter().for_each(|warning| tracing::warn!(container = name, warning, "the engine warns"));
            return Ok(());
        }
        Err(EngineError::Conflict(text)) => text,
        Err(error) => return Err(error.rejected()),
    };
    match engine.inspect(name).await.map_err(EngineError::rejected)? {
        Some(container) if container.task == task => Ok(()),
        _ => Err(ExecError::rejected(refused)),
    }
}
