//! What the tests are written with.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use bollard::{
    API_DEFAULT_VERSION, Docker, body_full,
    exec::{CreateExecOptions, StartExecOptions},
    query_parameters::{CreateImageOptionsBuilder, InspectNetworkOptions, ListContainersOptionsBuilder},
};
use futures_util::TryStreamExt as _;
use swarmkit_api::{Task, TaskId, wire};
use swarmkit_executor::{
    Assignment, Controller as _, Dependencies, Devices, ExecError, Executor as _, FixedDependencies, LogOptions,
    RuntimeStatus,
};
use swarmkit_executor_docker::{DEFAULT_SOCKET, DockerController, DockerExecutor, PullPolicy};
use swarmkit_runtime::Env;
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// An image with a shell. Its registry is this machine, where none listens, so that nothing leads out.
pub(crate) const IMAGE: &str = "localhost/swarmkit-test:1";

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An engine with the image.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) docker: Docker,
    pub(crate) socket: PathBuf,
}

static GROUND: OnceCell<Result<Ground, String>> = OnceCell::const_new();

impl Ground {
    /// The engine to test with. `None` if there is none, and then that was said.
    pub(crate) async fn find() -> Option<Self> {
        let reason = match GROUND.get_or_init(Self::make).await {
            // A client belongs to the runtime of the test that uses it.
            Ok(ground) => return Some(Self { docker: client(&ground.socket).ok()?, ..ground.clone() }),
            Err(reason) => reason,
        };
        if std::env::var("SWARMKIT_REQUIRE_DOCKER").is_ok_and(|required| required == "1") {
            panic!("SWARMKIT_REQUIRE_DOCKER is set, and there is no engine to test with: {reason}");
        }
        // Past the capture of tests that pass.
        let _ = writeln!(std::io::stderr(), "skipped, since there is no engine to test with: {reason}");
        None
    }

    async fn make() -> Result<Self, String> {
        let socket = std::env::var_os("SWARMKIT_DOCKER_SOCKET").map_or(PathBuf::from(DEFAULT_SOCKET), PathBuf::from);
        Self::at(&socket).await
    }

    /// The engine at a socket, which is given the image if it does not have it.
    pub(crate) async fn at(socket: &Path) -> Result<Self, String> {
        let socket = socket.to_owned();
        let docker = client(&socket)?;
        let docker = docker.negotiate_version().await.map_err(|error| format!("{}: {error}", socket.display()))?;
        if docker.inspect_image(IMAGE).await.is_ok() {
            return Ok(Self { docker, socket });
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo("localhost/swarmkit-test").tag("1").build();
        let imported = docker.create_image(Some(options), Some(body_full(root_fs()?.into())), None);
        imported.try_collect::<Vec<_>>().await.map_err(|error| format!("importing an image: {error}"))?;
        Ok(Self { docker, socket })
    }

    /// An executor on a state directory.
    pub(crate) async fn open(&self, dir: &Path) -> DockerExecutor {
        let builder = DockerExecutor::builder(dir).socket(&self.socket).pull(PullPolicy::Never);
        builder.open().await.expect("the engine is there")
    }

    /// Whether containers can have ports of the machine. An engine can be set up without the network for that.
    pub(crate) async fn has_bridge(&self) -> bool {
        let found = self.docker.inspect_network("bridge", None::<InspectNetworkOptions>).await.is_ok();
        if !found {
            let _ = writeln!(std::io::stderr(), "skipped, since the engine has no network for ports");
        }
        found
    }

    /// Makes a file in the container of a task that runs.
    pub(crate) async fn touch(&self, task: &Task, path: &str) {
        let id = self.id_of(task).await;
        let command = vec!["sh".to_owned(), "-c".to_owned(), format!("echo >{path}")];
        let exec = CreateExecOptions { cmd: Some(command), ..Default::default() };
        let exec = self.docker.create_exec(&id, exec).await.unwrap().id;
        self.docker.start_exec(&exec, Some(StartExecOptions { detach: true, ..Default::default() })).await.unwrap();
    }

    /// Waits for the end of a task's container.
    pub(crate) async fn ended(&self, task: &Task) {
        let id = self.id_of(task).await;
        // An end that is not well is an error to the client.
        let _ = within(self.docker.wait_container(&id, None).try_collect::<Vec<_>>()).await;
    }

    async fn id_of(&self, task: &Task) -> String {
        let label = format!("com.docker.swarm.task.id={}", task.id);
        let filters = std::iter::once(("label", vec![label])).collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().next().and_then(|container| container.id).expect("the task has a container")
    }

    /// The names of the containers of the executor on a state directory.
    pub(crate) async fn containers_of(&self, dir: &Path) -> Vec<String> {
        let owner = fs::read_to_string(dir.join("owner")).unwrap();
        let filters = std::iter::once(("label", vec![format!("swarmkit.executor={}", owner.trim())])).collect();
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = self.docker.list_containers(Some(options)).await.unwrap();
        found.into_iter().flat_map(|container| container.names.unwrap_or_default()).collect()
    }
}

fn client(socket: &Path) -> Result<Docker, String> {
    let path = socket.to_string_lossy();
    Docker::connect_with_unix(&path, PATIENCE.as_secs(), API_DEFAULT_VERSION).map_err(|error| error.to_string())
}

/// An executor on a state directory of its own. Its containers are removed by [`World::end`].
pub(crate) struct World {
    pub(crate) ground: Ground,
    pub(crate) dir: TempDir,
    pub(crate) executor: DockerExecutor,
}

/// One task and its controller.
pub(crate) struct Run {
    pub(crate) task: Arc<Task>,
    pub(crate) controller: DockerController,
}

/// A task that runs a shell script, with an init so that it can be stopped at once.
pub(crate) fn task(script: &str, change: impl FnOnce(&mut wire::ContainerSpec, &mut wire::TaskSpec)) -> Task {
    let mut container = wire::ContainerSpec {
        image: IMAGE.into(),
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        init: Some(true),
        ..Default::default()
    };
    let mut spec = wire::TaskSpec::default();
    change(&mut container, &mut spec);
    spec.runtime = Some(wire::task_spec::Runtime::Container(container));
    Task::new(TaskId::from(Env::real().new_id()), spec)
}

/// Waits for what must happen.
pub(crate) async fn within<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, doing).await.expect("it happens in time")
}

impl World {
    /// `None` where there is no engine, and then that was said.
    pub(crate) async fn find() -> Option<Self> {
        let ground = Ground::find().await?;
        let dir = tempfile::tempdir().unwrap();
        let executor = ground.open(dir.path()).await;
        Some(Self { ground, dir, executor })
    }

    /// An executor on a node that has devices to give.
    pub(crate) async fn with_devices(devices: Devices) -> Option<Self> {
        let ground = Ground::find().await?;
        let dir = tempfile::tempdir().unwrap();
        let builder = DockerExecutor::builder(dir.path()).socket(&ground.socket).pull(PullPolicy::Never);
        let executor = builder.devices(devices).open().await.expect("the engine is there");
        Some(Self { ground, dir, executor })
    }

    pub(crate) async fn controller(&self, task: Task, dependencies: impl Dependencies) -> Run {
        let task = Arc::new(task);
        let assignment = Assignment::new(Arc::clone(&task)).with(dependencies);
        Run { task, controller: self.executor.controller(assignment).await.unwrap() }
    }

    /// A task that runs.
    pub(crate) async fn started(&self, task: Task, dependencies: impl Dependencies) -> Run {
        let run = self.controller(task, dependencies).await;
        within(run.controller.prepare()).await.unwrap();
        within(run.controller.start()).await.unwrap();
        run
    }

    /// What a task that ends well writes.
    pub(crate) async fn output(&self, task: Task) -> String {
        let run = self.started(task, FixedDependencies::new()).await;
        within(run.controller.wait()).await.unwrap();
        run.output().await
    }

    /// Why a task cannot be prepared.
    pub(crate) async fn refusal(&self, task: Task) -> ExecError {
        let run = self.controller(task, FixedDependencies::new()).await;
        within(run.controller.prepare()).await.unwrap_err()
    }

    /// Removes everything.
    pub(crate) async fn end(self) {
        within(self.executor.reconcile(&[])).await.unwrap();
        assert_eq!(self.ground.containers_of(self.dir.path()).await, Vec::<String>::new());
    }
}

impl Run {
    /// What was written to standard output so far.
    pub(crate) async fn output(&self) -> String {
        let options = LogOptions { stderr: false, ..Default::default() };
        let records: Vec<_> = within(within(self.controller.logs(options)).await.unwrap().try_collect()).await.unwrap();
        records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
    }

    /// Waits for a line of standard output, which tells that the script has come so far.
    pub(crate) async fn says(&self, line: &str) {
        let options = LogOptions { follow: true, ..Default::default() };
        let mut records = within(self.controller.logs(options)).await.unwrap();
        while let Some(record) = within(records.try_next()).await.unwrap() {
            if record.data.trim_ascii() == line.as_bytes() {
                return;
            }
        }
        panic!("it ended without saying {line:?}");
    }

    pub(crate) async fn status(&self) -> RuntimeStatus {
        within(self.controller.status()).await.unwrap()
    }
}

/// The files of a small system, in a tar archive.
fn root_fs() -> Result<Vec<u8>, String> {
    const TOOLS: [&str; 12] =
        ["sh", "sleep", "cat", "echo", "id", "env", "pwd", "ls", "test", "stat", "grep", "hostname"];
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let busybox = busybox.ok_or("there is no busybox (Debian has it in busybox-static)")?;
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let bin = dir.path().join("bin");
    let made = fs::create_dir(&bin)
        .and_then(|()| fs::create_dir(dir.path().join("etc")))
        .and_then(|()| fs::copy(busybox, bin.join("busybox")))
        .and_then(|_| fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\n"))
        .and_then(|()| fs::write(dir.path().join("etc/group"), "root:x:0:\n"))
        .and_then(|()| TOOLS.iter().try_for_each(|tool| std::os::unix::fs::symlink("busybox", bin.join(tool))));
    made.map_err(|error| error.to_string())?;
    let tar = Command::new("tar").args(["-c", "--owner=0", "--group=0", "-C"]).arg(dir.path()).arg(".").output();
    let tar = tar.map_err(|error| format!("tar: {error}"))?;
    if tar.status.success() { Ok(tar.stdout) } else { Err("tar failed".to_owned()) }
}
