//! The executor: opened on a state directory and an engine, it makes controllers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    fs::File,
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use rustix::fs::FlockOperation;
use swarmkit_api::{TaskId, wire};
use swarmkit_executor::{Assignment, DEFAULT_STOP_GRACE, Devices, ExecError, Executor, Shelf};
use swarmkit_runtime::{Crew, Env, Spawner};
use tokio_util::sync::CancellationToken;

use crate::{
    DockerController, PullPolicy, describe,
    engine::{Engine, EngineError},
    events::{self, Watchers},
    files,
    networks::Networks,
    pull::{DEFAULT_PULL_TRIES, Pulls},
    request::container_of,
};

/// Where an engine listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/docker.sock";

/// How many containers are removed at a time by [`Executor::reconcile`]. Most of that is waiting for those that run.
const REMOVALS: usize = 32;

/// How often, and how long apart, a removal is tried while the engine says that one is under way.
const REMOVAL_TRIES: u32 = 60;
const BETWEEN_REMOVALS: Duration = Duration::from_secs(1);

/// The file with the executor's name, within its state directory.
const OWNER: &str = "owner";

/// Runs tasks as containers of an engine.
///
/// Dropping it stops no task.
#[derive(Clone)]
pub struct DockerExecutor(pub(crate) Arc<Shared>);

/// What an executor and its controllers have in common.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) env: Env,
    /// What containers of this executor are marked with. It is kept as long as the state directory.
    pub(crate) owner: String,
    pub(crate) shelf: Shelf,
    pub(crate) watchers: Arc<Watchers>,
    pub(crate) pulls: Pulls,
    pub(crate) networks: Networks,
    pub(crate) policy: PullPolicy,
    /// Owns what goes on when nobody asks: events, fetches, operations on containers.
    pub(crate) crew: Crew,
    labels: BTreeMap<String, String>,
    generic: Vec<wire::GenericResource>,
    pub(crate) devices: Arc<Devices>,
    _lock: File,
}

/// Why an executor could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another executor is open on this state directory: it has to end first.
    #[error("{} is in use by another executor", .0.display())]
    InUse(PathBuf),
    /// The state directory cannot be read or written.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no engine, or none that will do: it has to be started, or another socket named.
    #[error("no Docker Engine at {}: {reason}", .socket.display())]
    Engine {
        /// Where it was looked for.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// How an executor shall be. See [`DockerExecutor::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    state_dir: PathBuf,
    socket: PathBuf,
    env: Env,
    policy: PullPolicy,
    pull_tries: u32,
    labels: BTreeMap<String, String>,
    generic: Vec<wire::GenericResource>,
    devices: Devices,
}

// === impl Builder ===

impl Builder {
    /// The engine's unix socket. Default: [`DEFAULT_SOCKET`].
    #[must_use]
    pub fn socket(self, socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), ..self }
    }

    /// Where time, chance and ids come from; the machine if not set.
    #[must_use]
    pub fn env(self, env: Env) -> Self {
        Self { env, ..self }
    }

    /// When images are fetched. Default: [`PullPolicy::Always`].
    #[must_use]
    pub fn pull(self, policy: PullPolicy) -> Self {
        Self { policy, ..self }
    }

    /// How often a fetch is tried before the task is rejected, at least once. Default: [`DEFAULT_PULL_TRIES`]. What a
    /// registry refuses is not asked for again, and an image that is on the node does not wait for its registry.
    #[must_use]
    pub fn pull_tries(self, pull_tries: u32) -> Self {
        Self { pull_tries, ..self }
    }

    /// Labels beside those of the engine, which placement constraints can ask for.
    #[must_use]
    pub fn labels(self, labels: BTreeMap<String, String>) -> Self {
        Self { labels, ..self }
    }

    /// Generic resources that this node has to give.
    #[must_use]
    pub fn generic_resources(self, generic: Vec<wire::GenericResource>) -> Self {
        Self { generic, ..self }
    }

    /// Devices that this node has to give: advertised while they are there, and handed to the tasks that were given them.
    #[must_use]
    pub fn devices(self, devices: Devices) -> Self {
        Self { devices, ..self }
    }

    /// Opens the executor. Containers that an earlier one has started run on, and are adopted when they are asked for.
    ///
    /// # Errors
    ///
    /// When the state directory is in use or cannot be written to, or there is no engine that will do. Once it is
    /// open, an engine that goes away is waited for.
    pub async fn open(self) -> Result<DockerExecutor, OpenError> {
        let (dir, env) = (self.state_dir.clone(), self.env.clone());
        let claimed = Spawner::blocking(move || claim(&dir, &env)).await;
        let claimed = claimed
            .unwrap_or_else(|error| Err(OpenError::Io { what: "opening the executor".into(), source: error.into() }));
        let (owner, lock) = claimed?;
        let connecting: BoxFuture<'_, _> = Box::pin(Engine::connect(&self.socket));
        let engine = connecting.await.map_err(|error| OpenError::Engine {
            socket: self.socket.clone(),
            reason: match error {
                EngineError::Away(reason) => reason,
                other => other.to_string(),
            },
        })?;
        let user_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let own = rustix::process::geteuid().as_raw();
        let shelf = Shelf::find(&format!("docker-{owner}"), own, user_dir.as_deref(), &self.state_dir);
        let watchers = Arc::new(Watchers::default());
        let mut crew = Crew::under(&CancellationToken::new());
        let follow = {
            let (engine, owner, watchers, env) = (engine.clone(), owner.clone(), watchers.clone(), self.env.clone());
            move |stop| events::follow(engine, owner, watchers, env, stop)
        };
        crew.spawn("docker events", follow);
        let pulls = Pulls::new(self.env.clone(), self.pull_tries);
        let networks = Networks::new(engine.clone(), &owner);
        Ok(DockerExecutor(Arc::new(Shared {
            engine,
            env: self.env,
            owner,
            shelf,
            watchers,
            pulls,
            networks,
            policy: self.policy,
            crew,
            labels: self.labels,
            generic: self.generic,
            devices: Arc::new(self.devices),
            _lock: lock,
        })))
    }
}

/// Takes a state directory, making it if need be, and finds or chooses the name that belongs to it.
fn claim(state_dir: &Path, env: &Env) -> Result<(String, File), OpenError> {
    let failed = |what: &str| {
        let what = format!("{what} {}", state_dir.display());
        move |source| OpenError::Io { what, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed("creating"))?;
    let path = state_dir.join(OWNER);
    let opened = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    let mut file = opened.map_err(failed("opening"))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::AGAIN) => return Err(OpenError::InUse(state_dir.to_owned())),
        locked => locked.map_err(|error| failed("locking")(error.into()))?,
    }
    let mut owner = String::new();
    file.read_to_string(&mut owner).map_err(failed("reading"))?;
    let owner = owner.trim().to_owned();
    if !owner.is_empty() {
        return Ok((owner, file));
    }
    let owner = env.new_id();
    let written = writeln!(file, "{owner}").and_then(|()| file.sync_all());
    written.map_err(failed("writing"))?;
    Ok((owner, file))
}

// === impl DockerExecutor ===

impl DockerExecutor {
    /// An executor that keeps its name below `state_dir`, which it creates if need be.
    #[must_use]
    pub fn builder(state_dir: impl Into<PathBuf>) -> Builder {
        Builder {
            state_dir: state_dir.into(),
            socket: DEFAULT_SOCKET.into(),
            env: Env::real(),
            policy: PullPolicy::default(),
            pull_tries: DEFAULT_PULL_TRIES,
            labels: BTreeMap::new(),
            generic: Vec::new(),
            devices: Devices::default(),
        }
    }
}

impl fmt::Debug for DockerExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { engine, owner, .. } = &*self.0;
        f.debug_struct("DockerExecutor").field("socket", &engine.socket()).field("owner", owner).finish_non_exhaustive()
    }
}

impl Executor for DockerExecutor {
    type Controller = DockerController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        let engine = &self.0.engine;
        let info = engine.info().await.map_err(ExecError::temporary)?;
        let installed = engine.plugins().await.unwrap_or_else(|error| {
            tracing::debug!(%error, "the engine does not list what was installed into it");
            Vec::new()
        });
        let devices = self.0.devices.clone();
        let present = Spawner::blocking(move || devices.present()).await.map_err(ExecError::temporary)?;
        let generic = [self.0.generic.as_slice(), &present].concat();
        Ok(describe::describe(info, &installed, &self.0.labels, &generic))
    }

    async fn controller(&self, assignment: Assignment) -> Result<DockerController, ExecError> {
        container_of(&assignment.task)?;
        let id = assignment.task.id.as_str();
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return Err(ExecError::rejected(format!("the task id {id:?} cannot be part of a name")));
        }
        Ok(DockerController::new(Arc::clone(&self.0), assignment))
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        let known: BTreeSet<&str> = known.iter().map(AsRef::as_ref).collect();
        let shared = &self.0;
        let found = shared.engine.containers_of(&shared.owner).await.map_err(ExecError::temporary)?;
        let forgotten = found.into_iter().filter(|(task, _)| !known.contains(task.as_str()));
        let removed: Result<(), ExecError> = stream::iter(forgotten)
            .map(|(task, container)| async move {
                tracing::info!(%task, "removing a container that nobody asks for any more");
                // Politely, since it may have something to write down. What it asked for itself is not known any more.
                shared.engine.stop(&container, DEFAULT_STOP_GRACE).await.map_err(ExecError::temporary)?;
                shared.remove(&task, &container).await
            })
            .buffer_unordered(REMOVALS)
            .try_collect()
            .await;
        removed?;
        shared.networks.sweep().await?;
        let shelved = shared.shelf.tasks().map_err(ExecError::temporary)?;
        for task in shelved.iter().filter(|task| !known.contains(task.as_str())) {
            files::remove(&shared.shelf.task(task)).map_err(ExecError::temporary)?;
        }
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// Removes the container of a task, running or not, and returns when it is gone.
    pub(crate) async fn remove(&self, task: &str, container: &str) -> Result<(), ExecError> {
        let mut watch = self.watchers.watch(task);
        for _ in 0..REMOVAL_TRIES {
            watch.mark_unchanged();
            match self.engine.remove(container).await {
                // Somebody else is about to remove it, perhaps an earlier call of ours.
                Err(EngineError::Conflict(text)) => {
                    tracing::debug!(task, text, "is being removed");
                    // The event that it is gone, or time to look again.
                    let _ = tokio::time::timeout(BETWEEN_REMOVALS, watch.changed()).await;
                }
                removed => return removed.map_err(ExecError::temporary),
            }
        }
        Err(ExecError::temporary("the engine does not get the container removed"))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shelf.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_directory_has_one_name_for_ever_and_one_executor_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("new");
        let (owner, lock) = claim(&dir, &Env::real()).unwrap();
        assert!(matches!(claim(&dir, &Env::real()).unwrap_err(), OpenError::InUse(_)));
        drop(lock);
        assert_eq!(claim(&dir, &Env::real()).unwrap().0, owner);
    }

    #[tokio::test]
    async fn without_an_engine_the_error_says_where_it_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let error = DockerExecutor::builder(dir.path()).socket("/nonexistent/d.sock").open().await.unwrap_err();
        let text = "no Docker Engine at /nonexistent/d.sock: there is no socket /nonexistent/d.sock";
        assert_eq!(error.to_string(), text);
    }
}
