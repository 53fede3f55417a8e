//! What the tests are written with.

use std::{fs, path::Path, sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use swarmkit_api::{Task, TaskId, wire};
use swarmkit_executor::{
    Assignment, Controller as _, Dependencies, ExecError, Executor as _, FixedDependencies, LogOptions, LogSource,
    PROCESS_IMAGE,
};
use swarmkit_executor_process::{ProcessController, ProcessExecutor};
use swarmkit_runtime::Env;
use tempfile::TempDir;

/// The program that tests start supervisors from.
pub(crate) const SUPERVISOR: &str = env!("CARGO_BIN_EXE_swarmkit-supervisor");

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// An executor on a state directory of its own.
pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) executor: ProcessExecutor,
}

/// One task and its controller.
pub(crate) struct Run {
    pub(crate) task: Arc<Task>,
    pub(crate) controller: ProcessController,
}

pub(crate) async fn open(dir: &Path) -> ProcessExecutor {
    ProcessExecutor::builder(dir).supervisor_program(SUPERVISOR).open().await.unwrap()
}

/// Waits for what must happen.
pub(crate) async fn within<T>(doing: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, doing).await.expect("it happens in time")
}

/// Waits until something that nobody tells us about has come true.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let come_true = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, come_true).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A task that runs a shell script.
pub(crate) fn task(script: &str, change: impl FnOnce(&mut wire::ContainerSpec, &mut wire::TaskSpec)) -> Arc<Task> {
    let mut container = wire::ContainerSpec {
        image: PROCESS_IMAGE.into(),
        command: vec!["/bin/sh".into(), "-c".into(), script.into()],
        ..Default::default()
    };
    let mut spec = wire::TaskSpec::default();
    change(&mut container, &mut spec);
    spec.runtime = Some(wire::task_spec::Runtime::Container(container));
    Arc::new(Task::new(TaskId::from(Env::real().new_id()), spec))
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let executor = open(dir.path()).await;
        Self { dir, executor }
    }

    /// A task that is ready to be started, with what it depends on.
    pub(crate) async fn prepared_with(&self, task: Arc<Task>, dependencies: impl Dependencies) -> Run {
        let assignment = Assignment::new(Arc::clone(&task)).with(dependencies);
        let controller = self.executor.controller(assignment).await.unwrap();
        within(controller.prepare()).await.unwrap();
        Run { task, controller }
    }

    /// A task that runs.
    pub(crate) async fn started(&self, task: Arc<Task>) -> Run {
        let run = self.prepared_with(task, FixedDependencies::new()).await;
        within(run.controller.start()).await.unwrap();
        run
    }

    /// A script that runs.
    pub(crate) async fn script(&self, script: &str) -> Run {
        self.started(task(script, |_, _| {})).await
    }

    /// What a script that ends well writes.
    pub(crate) async fn output(&self, task: Arc<Task>) -> String {
        let run = self.started(task).await;
        within(run.controller.wait()).await.unwrap();
        let output = run.output().await;
        run.removed().await;
        output
    }

    /// A record of a task.
    pub(crate) fn record(&self, task: &Task, name: &str) -> serde_json::Value {
        let file = self.dir.path().join("tasks").join(task.id.as_str()).join(name);
        serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
    }
}

impl Run {
    pub(crate) async fn wait(&self) -> Result<(), ExecError> {
        within(self.controller.wait()).await
    }

    pub(crate) async fn pid(&self) -> i32 {
        self.controller.status().await.unwrap().container.expect("it runs").pid
    }

    /// What was written to standard output so far.
    pub(crate) async fn output(&self) -> String {
        let options = LogOptions { stderr: false, ..Default::default() };
        let records: Vec<_> = self.controller.logs(options).await.unwrap().try_collect().await.unwrap();
        assert!(records.iter().all(|record| record.source == LogSource::Stdout));
        records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()).collect()
    }

    /// Waits for a line of standard output, which tells that the script has come so far.
    pub(crate) async fn says(&self, line: &str) {
        let options = LogOptions { follow: true, ..Default::default() };
        let mut records = self.controller.logs(options).await.unwrap();
        while let Some(record) = within(records.try_next()).await.unwrap() {
            if record.data.trim_ascii() == line.as_bytes() {
                return;
            }
        }
        panic!("it ended without saying {line:?}");
    }

    pub(crate) async fn removed(self) {
        within(self.controller.remove()).await.unwrap();
    }
}

/// The processes that carry the id of a task in their environment.
pub(crate) fn processes_of(task: &Task) -> Vec<i32> {
    let mark = format!("SWARMKIT_TASK_ID={}", task.id);
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let names = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    names.filter(carries).collect()
}

/// Whether a process is there and not just waiting to be buried.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z"))
}

pub(crate) fn is_root() -> bool {
    // What belongs to nobody else belongs to root.
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").unwrap()) == 0
}
