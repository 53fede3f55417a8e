//! The executor: opened on a state directory, it makes controllers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use swarmkit_api::{TaskId, wire};
use swarmkit_executor::{Assignment, Devices, ExecError, Executor, Shelf, Workload, container_spec};
use swarmkit_runtime::{Crew, Env, Spawner};
use tokio_util::sync::CancellationToken;

use crate::{
    IsolationMode, LogLimits, ProcessController,
    cgroups::Cgroups,
    describe,
    images::Images,
    removal, supervisor,
    task_dir::TaskDir,
    users::{User, Users},
};

/// How many tasks are removed at a time by [`Executor::reconcile`].
const REMOVALS: usize = 16;

/// How often, and how long apart, it is tried to lock the state directory.
const LOCK_TRIES: u32 = 100;
const BETWEEN_LOCK_TRIES: Duration = Duration::from_millis(10);

/// Runs tasks as processes of this machine.
///
/// Dropping it stops no task, unless the program does not call [`run_if_requested`](crate::run_if_requested).
#[derive(Clone)]
pub struct ProcessExecutor(pub(crate) Arc<Shared>);

/// What an executor and its controllers have in common.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) own: User,
    pub(crate) shelf: Shelf,
    /// Looked for when the first task with limits comes.
    cgroups: OnceLock<Cgroups>,
    /// Tells what is ours from what other executors have, where all share a place.
    name: String,
    pub(crate) logs: LogLimits,
    pub(crate) supervision: Supervision,
    /// Owns the supervisors that run inside this program.
    pub(crate) crew: Crew,
    pub(crate) warned: Warned,
    pub(crate) mode: IsolationMode,
    pub(crate) images: Images,
    /// Held while directories of volumes are made, so that each is made once.
    pub(crate) volumes: Mutex<()>,
    /// Why tasks cannot be isolated, if that is so. Found out when it is first asked.
    isolation: tokio::sync::OnceCell<Result<(), String>>,
    state_dir: PathBuf,
    /// How much was put into the trash.
    trashed: AtomicU64,
    labels: BTreeMap<String, String>,
    generic: Vec<wire::GenericResource>,
    pub(crate) devices: Arc<Devices>,
    _lock: File,
}

/// What was already complained about: each is said once.
#[derive(Debug, Default)]
pub(crate) struct Warned {
    pub(crate) cgroups: AtomicBool,
    pub(crate) secrets: AtomicBool,
}

/// What supervisors are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Supervision {
    /// Processes of their own, made from this program.
    Processes(PathBuf),
    /// Parts of this program.
    Inside,
}

/// Why an executor could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another executor is open on this state directory: it has to end first.
    #[error("{} is in use by another executor", .0.display())]
    InUse(PathBuf),
    /// The state directory, or something of the machine, cannot be read or written.
    #[error("{what}")]
    Io {
        /// What could not be done.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How an executor shall be. See [`ProcessExecutor::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    state_dir: PathBuf,
    env: Env,
    supervisor: Option<PathBuf>,
    logs: LogLimits,
    labels: BTreeMap<String, String>,
    generic: Vec<wire::GenericResource>,
    devices: Devices,
    isolation: IsolationMode,
    images: Option<PathBuf>,
}

// === impl Builder ===

impl Builder {
    /// Where time comes from; the machine's clock if not set.
    #[must_use]
    pub fn env(self, env: Env) -> Self {
        Self { env, ..self }
    }

    /// The program to start supervisors from, whose `main` calls [`run_if_requested`](crate::run_if_requested). If not
    /// set it is this program, if it does.
    #[must_use]
    pub fn supervisor_program(self, program: impl Into<PathBuf>) -> Self {
        Self { supervisor: Some(program.into()), ..self }
    }

    /// How much output is kept of each task that does not say so itself.
    #[must_use]
    pub fn log_limits(self, logs: LogLimits) -> Self {
        Self { logs, ..self }
    }

    /// Labels of the engine, which placement constraints can ask for.
    #[must_use]
    pub fn labels(self, labels: BTreeMap<String, String>) -> Self {
        Self { labels, ..self }
    }

    /// Generic resources that this node has to give.
    #[must_use]
    pub fn generic_resources(self, generic: Vec<wire::GenericResource>) -> Self {
        Self { generic, ..self }
    }

    /// Devices that this node has to give: advertised while they are there, and told to the tasks that were given them.
    /// Nothing keeps other processes from a device that its permissions let them open.
    #[must_use]
    pub fn devices(self, devices: Devices) -> Self {
        Self { devices, ..self }
    }

    /// Whether tasks have mounts, processes, a host name and inter-process communication of their own; if not set,
    /// [`IsolationMode::Auto`].
    #[must_use]
    pub fn isolation(self, isolation: IsolationMode) -> Self {
        Self { isolation, ..self }
    }

    /// Where the images are that tasks can have, each in a directory of its name: a root file system as it is, or an
    /// image layout. If not set it is `images` within the state directory.
    #[must_use]
    pub fn images(self, images: impl Into<PathBuf>) -> Self {
        Self { images: Some(images.into()), ..self }
    }

    /// Opens the executor. Tasks that an earlier one has started run on, and are adopted when they are asked for.
    ///
    /// # Errors
    ///
    /// When the state directory is in use or cannot be written to.
    pub async fn open(self) -> Result<ProcessExecutor, OpenError> {
        let supervision = match (&self.supervisor, supervisor::is_offered()) {
            (Some(program), _) => Supervision::Processes(program.clone()),
            (None, true) => Supervision::Processes(this_program()),
            (None, false) => {
                tracing::warn!("main does not call run_if_requested(): tasks will end with this program");
                Supervision::Inside
            }
        };
        let opened = Spawner::blocking(move || self.open_blocking(supervision)).await;
        opened.unwrap_or_else(|error| Err(OpenError::Io { what: "opening the executor".into(), source: error.into() }))
    }

    fn open_blocking(self, supervision: Supervision) -> Result<ProcessExecutor, OpenError> {
        let during = |what: &str| {
            let what = format!("{what} {}", self.state_dir.display());
            move |source| OpenError::Io { what, source }
        };
        for dir in ["tasks", "trash", "volumes", "images", "unpacked"] {
            let made = fs::DirBuilder::new().recursive(true).mode(0o711).create(self.state_dir.join(dir));
            made.map_err(during("creating"))?;
        }
        let state_dir = fs::canonicalize(&self.state_dir).map_err(during("finding"))?;
        let lock = lock(&state_dir).map_err(during("locking"))?;
        let Some(lock) = lock else { return Err(OpenError::InUse(state_dir)) };
        removal::empty_trash(&state_dir.join("trash")).map_err(during("clearing"))?;
        let users = Users::read().map_err(during("reading the users of the machine for"))?;
        let own = users.by_id(rustix::process::geteuid().as_raw());
        let own = User { gid: rustix::process::getegid().as_raw(), ..own };
        let name = name_of(&state_dir);
        let user_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let shelf = Shelf::find(&name, own.uid, user_dir.as_deref(), &state_dir);
        Ok(ProcessExecutor(Arc::new(Shared {
            env: self.env,
            own,
            shelf,
            cgroups: OnceLock::new(),
            name,
            logs: self.logs,
            supervision,
            crew: Crew::under(&CancellationToken::new()),
            warned: Warned::default(),
            mode: self.isolation,
            images: Images::new(self.images.unwrap_or_else(|| state_dir.join("images")), state_dir.join("unpacked")),
            volumes: Mutex::new(()),
            isolation: tokio::sync::OnceCell::new(),
            state_dir,
            trashed: AtomicU64::new(0),
            labels: self.labels,
            generic: self.generic,
            devices: Arc::new(self.devices),
            _lock: lock,
        })))
    }
}

/// Locks a state directory. `None` if somebody else has it.
///
/// A program that was killed may leave a child behind that was just about to become a supervisor, and that holds all
/// its files for another moment. So it is tried for a while.
fn lock(state_dir: &Path) -> io::Result<Option<File>> {
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(state_dir.join("lock"))?;
    for attempt in 0..LOCK_TRIES {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_LOCK_TRIES);
        }
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) => {}
            locked => return locked.map(|()| Some(lock)).map_err(Into::into),
        }
    }
    Ok(None)
}

/// The path of this program where that still is this program; else a name by which the kernel finds it.
fn this_program() -> PathBuf {
    let running = PathBuf::from("/proc/self/exe");
    let same = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        let id = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        id(path).is_some() && id(path) == id(&running)
    };
    std::env::current_exe().ok().filter(|path| same(path)).unwrap_or(running)
}

/// A short name for a state directory, the same at every opening (FNV-1a of its path).
fn name_of(dir: &Path) -> String {
    let bytes = dir.as_os_str().as_encoded_bytes();
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

// === impl ProcessExecutor ===

impl ProcessExecutor {
    /// An executor that keeps what it needs below `state_dir`, which it creates if need be.
    #[must_use]
    pub fn builder(state_dir: impl Into<PathBuf>) -> Builder {
        Builder {
            state_dir: state_dir.into(),
            env: Env::real(),
            supervisor: None,
            logs: LogLimits::default(),
            labels: BTreeMap::new(),
            generic: Vec::new(),
            devices: Devices::default(),
            isolation: IsolationMode::default(),
            images: None,
        }
    }
}

impl fmt::Debug for ProcessExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessExecutor").field("state_dir", &self.0.state_dir).finish_non_exhaustive()
    }
}

impl Executor for ProcessExecutor {
    type Controller = ProcessController;

    async fn describe(&self) -> Result<wire::NodeDescription, ExecError> {
        let devices = self.0.devices.clone();
        let present = Spawner::blocking(move || devices.present()).await.map_err(ExecError::temporary)?;
        let generic = [self.0.generic.as_slice(), &present].concat();
        let isolates = self.0.mode != IsolationMode::Never && self.0.isolation().await.is_ok();
        describe::describe(&self.0.labels, &generic, isolates).map_err(ExecError::temporary)
    }

    async fn controller(&self, assignment: Assignment) -> Result<ProcessController, ExecError> {
        let task = &assignment.task;
        if !matches!(Workload::of(&task.spec), Some(Workload::Process | Workload::ProcessImage)) {
            let asked = container_spec(&task.spec).map_or("no image", |spec| &spec.image);
            return Err(ExecError::rejected(format!("this node runs processes, and the task is {asked:?}")));
        }
        let dir = self.0.task_dir(&task.id)?;
        Ok(ProcessController::new(Arc::clone(&self.0), assignment, dir))
    }

    async fn reconcile(&self, known: &[TaskId]) -> Result<(), ExecError> {
        let known: BTreeSet<&str> = known.iter().map(AsRef::as_ref).collect();
        let shared = &self.0;
        let mut found = shared.tasks().map_err(ExecError::temporary)?;
        found.extend(shared.shelf.tasks().map_err(ExecError::temporary)?);
        let forgotten = found.into_iter().filter(|task| !known.contains(task.as_str()));
        stream::iter(forgotten)
            .map(|task| async move {
                tracing::info!(%task, "removing a task that nobody asks for any more");
                removal::remove(shared, &shared.task_dir(&TaskId::from(task))?).await
            })
            .buffer_unordered(REMOVALS)
            .try_collect()
            .await
    }
}

// === impl Shared ===

impl Shared {
    /// The cgroups that this machine offers.
    pub(crate) fn cgroups(&self) -> io::Result<&Cgroups> {
        if let Some(cgroups) = self.cgroups.get() {
            return Ok(cgroups);
        }
        let found = Cgroups::find(&self.name)?;
        Ok(self.cgroups.get_or_init(|| found))
    }

    /// Why tasks cannot be isolated here, if that is so.
    pub(crate) async fn isolation(&self) -> &Result<(), String> {
        let find_out = async || match &self.supervision {
            Supervision::Inside => Err("the program does not call run_if_requested()".to_owned()),
            Supervision::Processes(program) => supervisor::probe(program).await,
        };
        self.isolation.get_or_init(find_out).await
    }

    /// Where the volumes are that have a name.
    pub(crate) fn volumes_dir(&self) -> PathBuf {
        self.state_dir.join("volumes")
    }

    /// The directory of a task. Its id becomes a name in the file system, so it must be able to be one.
    fn task_dir(&self, task: &TaskId) -> Result<TaskDir, ExecError> {
        let name = task.as_str();
        let fine = name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if name.is_empty() || !fine {
            return Err(ExecError::rejected(format!("the task id {name:?} cannot be the name of a directory")));
        }
        Ok(TaskDir::new(self.state_dir.join("tasks").join(name)))
    }

    /// The tasks that have a directory.
    fn tasks(&self) -> io::Result<BTreeSet<String>> {
        let entries = fs::read_dir(self.state_dir.join("tasks"))?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Where something goes that is about to be deleted: a new place each time.
    pub(crate) fn new_trash(&self, name: &str) -> PathBuf {
        let number = self.trashed.fetch_add(1, Ordering::Relaxed);
        self.state_dir.join("trash").join(format!("{name}.{number}"))
    }
}

impl Drop for Shared {
    /// Leaves nothing empty behind. What tasks have stays, for the next executor.
    fn drop(&mut self) {
        self.shelf.leave();
        if let Some(cgroups) = self.cgroups.get() {
            cgroups.leave();
        }
    }
}

impl Warned {
    /// Whether this is the first time.
    pub(crate) fn first(flag: &AtomicBool) -> bool {
        !flag.swap(true, Ordering::Relaxed)
    }
}
