//! A `swarmd` of its own: started, called, stopped.
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use swarmkit_api::wire;
use swarmkit_api::wire::watch_request::WatchEntry;
use swarmkit_executor::PROCESS_IMAGE;
use tonic::Streaming;

use crate::client::Client;
use crate::lab::Stopwatch;

/// How long anything may take before the measurement is given up.
const DEADLINE: Duration = Duration::from_secs(60);

/// Time between two tries. Short against what is measured, long enough to leave the core to the daemon.
const TRY_AGAIN: Duration = Duration::from_millis(1);

/// Tasks sleep this long: they outlive every measurement, and end by themselves if one is broken off.
const SLEEP_SECONDS: &str = "600";

/// A running daemon. Dropping it kills the process.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where other nodes reach it.
    pub(crate) remote: String,
    /// A connection to its control socket.
    pub(crate) client: Client,
    /// From the start of the process to the first call that it answered.
    pub(crate) start_time: Duration,
}

impl Daemon {
    /// Starts a one-node cluster on a state directory, or the one that is there, and waits for the first answered call.
    pub(crate) async fn start(swarmd: &Path, state: &Path) -> Result<Self> {
        let socket = state.join("swarmd.sock");
        let log = state.join("swarmd.log");
        let port = free_port()?;
        let mut command = Command::new(swarmd);
        command.arg("--state-dir").arg(state).arg("--listen-control-api").arg(&socket);
        let remote = format!("127.0.0.1:{port}");
        command.args(["--listen-remote-api", &remote, "--executor", "process"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let watch = Stopwatch::start();
        let child = command.spawn().with_context(|| format!("starting {}", swarmd.display()))?;
        let mut guard = Guard(Some(child));
        loop {
            if let Some(client) = answers(&socket).await {
                let child = guard.0.take().context("invariant: the guard holds the process until it is ready")?;
                return Ok(Self { child, log, remote, client, start_time: watch.elapsed() });
            }
            if let Some(status) = guard.0.as_mut().and_then(|child| child.try_wait().transpose()) {
                bail!("swarmd ended: {}\n{}", status?, tail(&log));
            }
            if watch.elapsed() > DEADLINE {
                bail!("swarmd did not answer within {} s\n{}", DEADLINE.as_secs(), tail(&log));
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    }

    /// Number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The cluster, with the tokens to join it.
    pub(crate) async fn cluster(&self) -> Result<wire::Cluster> {
        let clusters = self.client.control().list_clusters(wire::ListClustersRequest::default()).await?.into_inner();
        clusters.clusters.into_iter().next().context("there is no cluster")
    }

    /// Stops the daemon as a service manager does.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let watch = Stopwatch::start();
        while self.child.try_wait()?.is_none() {
            if watch.elapsed() > DEADLINE {
                bail!("swarmd did not stop\n{}", tail(&self.log));
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
        Ok(())
    }

    /// Creates a service of processes that sleep, and gives its id.
    pub(crate) async fn create_sleepers(&self, name: &str, replicas: u64) -> Result<String> {
        let request = wire::CreateServiceRequest { spec: Some(sleepers(name, replicas)) };
        let answer = self.client.control().create_service(request).await?.into_inner();
        Ok(answer.service.context("the answer has no service")?.id)
    }

    /// Removes a service and waits until its tasks are gone, so that the next measurement finds an idle node.
    pub(crate) async fn remove(&self, service_id: &str) -> Result<()> {
        let mut control = self.client.control();
        control
            .remove_service(wire::RemoveServiceRequest { service_id: service_id.to_owned(), ..Default::default() })
            .await?;
        let filters =
            wire::list_tasks_request::Filters { service_ids: vec![service_id.to_owned()], ..Default::default() };
        let watch = Stopwatch::start();
        loop {
            let request = wire::ListTasksRequest { filters: Some(filters.clone()) };
            let left = control.list_tasks(request).await?.into_inner().tasks.len();
            if left == 0 {
                return Ok(());
            }
            if watch.elapsed() > DEADLINE {
                bail!("{left} tasks of a removed service are still there\n{}", tail(&self.log));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Follows all tasks from now on.
    pub(crate) async fn watch_tasks(&self) -> Result<Tasks> {
        let entry = WatchEntry {
            kind: "task".to_owned(),
            action: wire::WatchActionKind::WatchActionCreate as i32 | wire::WatchActionKind::WatchActionUpdate as i32,
            filters: Vec::new(),
        };
        let request = wire::WatchRequest { entries: vec![entry], ..Default::default() };
        let mut stream = self.client.watch().watch(request).await?.into_inner();
        // The first message is empty and says that the watch stands.
        stream.message().await?.context("the watch ended at once")?;
        Ok(Tasks { stream, log: self.log.clone() })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A running daemon that is no manager. Dropping it kills the process.
pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// Starts a node that joins a manager. That it has joined, the manager says.
    pub(crate) fn start(swarmd: &Path, state: &Path, manager: &str, token: &str) -> Result<Self> {
        let log = state.join("swarmd.log");
        let mut command = Command::new(swarmd);
        command.arg("--state-dir").arg(state).arg("--listen-control-api").arg(state.join("swarmd.sock"));
        command.args(["--join-addr", manager, "--join-token", token, "--executor", "process"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        let child = command.spawn().with_context(|| format!("starting {}", swarmd.display()))?;
        Ok(Self { child, log })
    }

    /// Number of the process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        tail(&self.log)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Changes of tasks, as they are committed.
pub(crate) struct Tasks {
    stream: Streaming<wire::WatchMessage>,
    log: PathBuf,
}

impl Tasks {
    /// Waits until so many tasks of a service are RUNNING.
    pub(crate) async fn running(&mut self, service_id: &str, count: usize) -> Result<()> {
        let mut running = std::collections::BTreeSet::new();
        let wait = async {
            while running.len() < count {
                let message = self.stream.message().await?.context("the watch ended")?;
                let tasks = message.events.into_iter().filter_map(|event| match event.object?.object? {
                    wire::object::Object::Task(task) => Some(task),
                    _ => None,
                });
                for task in tasks.filter(|task| task.service_id == service_id) {
                    let status = task.status.unwrap_or_default();
                    match status.state() {
                        wire::TaskState::Running => {
                            running.insert(task.id);
                        }
                        state if state > wire::TaskState::Running => {
                            bail!("a task ended as {}: {}", state.as_str_name(), status.err);
                        }
                        _ => {}
                    }
                }
            }
            Ok(())
        };
        let ended = tokio::time::timeout(DEADLINE, wait).await;
        ended.with_context(|| format!("not all tasks ran in {} s\n{}", DEADLINE.as_secs(), tail(&self.log)))?
    }
}

/// The specification of a service of processes that sleep.
pub(crate) fn sleepers(name: &str, replicas: u64) -> wire::ServiceSpec {
    let container = wire::ContainerSpec {
        image: PROCESS_IMAGE.to_owned(),
        command: vec!["sleep".to_owned(), SLEEP_SECONDS.to_owned()],
        ..Default::default()
    };
    let runtime = wire::task_spec::Runtime::Container(container);
    wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
        task: Some(wire::TaskSpec { runtime: Some(runtime), ..Default::default() }),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas })),
        ..Default::default()
    }
}

/// A connection to the socket, if one can be made and a call through it is accepted and finds the cluster.
async fn answers(socket: &Path) -> Option<Client> {
    let client = Client::connect(socket).await?;
    let clusters = client.control().list_clusters(wire::ListClustersRequest::default()).await.ok()?;
    (!clusters.into_inner().clusters.is_empty()).then_some(client)
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The end of a log, for people who look for the cause of a failure.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}

/// Ends a process that is not ready yet when the start is given up.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

/// One that has ended already cannot be killed, and need not be.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
