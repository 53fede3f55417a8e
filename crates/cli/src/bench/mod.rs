//! `swarm-bench`: how long a cluster takes from the creation of a service until its tasks run.
//!
//! One service with many replicas is created and watched, and removed at the end. Each task is timed at three moments, as
//! this client sees them: it exists, it has a node, it runs. So the figures hold what a user waits for, the way back
//! through the watch included, and no clock but this one is asked.

mod moments;
mod report;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};
use swarmkit_api::wire::{self, watch_request::WatchEntry};
use swarmkit_executor::PROCESS_IMAGE;
use swarmkit_rpc::ConnectError;
use swarmkit_runtime::{Crew, Env};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use self::{moments::Moments, report::Report};
use crate::{
    client::{Client, DEFAULT_SOCKET, SOCKET_VARIABLE},
    daemon::signals::Signals,
    output::json,
    units::parse_duration,
};

/// How long the tasks of the measurement may take to go away.
const REMOVAL: Duration = Duration::from_secs(60);
/// How often progress is told on a terminal.
const PROGRESS: Duration = Duration::from_millis(200);

/// Measure how fast a cluster starts tasks.
///
/// Creates one service with many tasks, times each of them until it runs, and removes the service again.
#[derive(Debug, Parser)]
#[command(name = "swarm-bench", version, max_term_width = 100)]
struct Args {
    /// Control socket of the node to talk to
    #[arg(short, long, value_name = "PATH", env = SOCKET_VARIABLE, default_value = DEFAULT_SOCKET, hide_env_values = true)]
    socket: PathBuf,

    /// How many tasks to start
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    count: u64,

    /// Image of the tasks [default: they are processes]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,

    /// How long to wait until all tasks run
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    timeout: Duration,

    /// How to print the figures
    #[arg(long, value_enum, default_value_t)]
    format: Format,

    /// Command line of each task; it should not end by itself
    #[arg(last = true, value_name = "COMMAND", default_values = ["sleep", "1000000"])]
    command: Vec<String>,
}

/// How to print the figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object, times in milliseconds
    Json,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    /// There is nobody to call.
    #[error("{0}\nis swarmd running? Name its socket with --socket or SWARM_SOCKET.")]
    Connect(#[from] ConnectError),
    /// A call was refused.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
    /// The cluster is not fast enough, or cannot run them.
    #[error("{running} of {count} tasks run after {} s{}", timeout.as_secs(), reason.as_ref().map(|reason| format!("; one says: {reason}")).unwrap_or_default())]
    TimedOut { running: usize, count: u64, timeout: Duration, reason: Option<String> },
    /// A signal came.
    #[error("interrupted by {0}")]
    Interrupted(&'static str),
    /// The system does not let us be told to stop, or to print.
    #[error("{0}")]
    System(#[from] std::io::Error),
    /// What was made could not be removed.
    #[error("the service {0} could not be removed: remove it with `swarmctl service remove {0}`")]
    Left(String),
}

impl From<Status> for BenchError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Runs the program with these arguments, the first of which is its own name.
pub async fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // There is nobody left to tell when this fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "swarm-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), BenchError> {
    let (env, mut signals) = (Env::real(), Signals::listen()?);
    // Dropped at the end, and the connection with it: there is nothing to wait for.
    let crew = Crew::under(&CancellationToken::new());
    let client = Client::connect(&args.socket, &env, &crew.spawner()).await?;
    let name = format!("swarm-bench-{}", env.new_id());
    let measured = tokio::select! { biased; // whoever interrupts wants no figures
        signal = signals.next() => Err(BenchError::Interrupted(signal)),
        measured = measure(&client, &name, args) => measured,
    };
    let removed = remove(&client, &name).await;
    let report = measured?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Table => write!(out, "{}", report.table())?,
        Format::Json => writeln!(out, "{}", json::line(&report))?,
    }
    out.flush()?;
    removed
}

/// Creates the service, and waits until all its tasks run.
async fn measure(client: &Client, name: &str, args: &Args) -> Result<Report, BenchError> {
    // Before the service is there, so that nothing of it is missed.
    let mut messages = watch_tasks(client).await?;
    let begin = Instant::now();
    let request = wire::CreateServiceRequest { spec: Some(spec(name, args)) };
    let service = client.control().create_service(request).await?.into_inner().service.unwrap_or_default().id;
    let created = begin.elapsed();
    let mut moments = Moments::new(service);
    let progress = Progress::new(args);
    let all_run = async {
        while (moments.running() as u64) < args.count {
            let message =
                messages.message().await?.ok_or_else(|| Status::unavailable("the node has stopped answering"))?;
            let at = begin.elapsed();
            let tasks = message.events.into_iter().filter_map(|event| event.object?.object);
            for object in tasks {
                if let wire::object::Object::Task(task) = object {
                    moments.observe(&task, at);
                }
            }
            progress.show(moments.running());
        }
        Ok::<(), Status>(())
    };
    let ended = tokio::time::timeout(args.timeout, all_run).await;
    progress.finish();
    match ended {
        Ok(result) => result?,
        Err(_) => {
            let (running, reason) = (moments.running(), moments.reason().map(str::to_owned));
            return Err(BenchError::TimedOut { running, count: args.count, timeout: args.timeout, reason });
        }
    }
    Ok(Report::new(created, &moments))
}

/// Every change of a task from now on.
async fn watch_tasks(client: &Client) -> Result<Streaming<wire::WatchMessage>, Status> {
    use wire::WatchActionKind::{WatchActionCreate, WatchActionUpdate};

    let action = WatchActionCreate as i32 | WatchActionUpdate as i32;
    let entry = WatchEntry { kind: "task".to_owned(), action, filters: Vec::new() };
    let request = wire::WatchRequest { entries: vec![entry], ..Default::default() };
    let mut messages = client.watch().watch(request).await?.into_inner();
    // The first message is empty: the watch stands.
    messages.message().await?;
    Ok(messages)
}

fn spec(name: &str, args: &Args) -> wire::ServiceSpec {
    let container = wire::ContainerSpec {
        image: args.image.clone().unwrap_or_else(|| PROCESS_IMAGE.to_owned()),
        command: args.command.clone(),
        ..Default::default()
    };
    wire::ServiceSpec {
        annotations: Some(wire::Annotations { name: name.to_owned(), ..Default::default() }),
        task: Some(wire::TaskSpec {
            runtime: Some(wire::task_spec::Runtime::Container(container)),
            ..Default::default()
        }),
        mode: Some(wire::service_spec::Mode::Replicated(wire::ReplicatedService { replicas: args.count })),
        ..Default::default()
    }
}

/// Takes the service away, if it was made, and waits until its tasks are gone.
async fn remove(client: &Client, name: &str) -> Result<(), BenchError> {
    let left = || BenchError::Left(name.to_owned());
    let mut control = client.control();
    let filters = wire::list_services_request::Filters { names: vec![name.to_owned()], ..Default::default() };
    let listed = control.list_services(wire::ListServicesRequest { filters: Some(filters) }).await;
    let Some(service) = listed.map_err(|_| left())?.into_inner().services.pop() else { return Ok(()) };
    control
        .remove_service(wire::RemoveServiceRequest { service_id: service.id.clone(), ..Default::default() })
        .await
        .map_err(|_| left())?;
    let filters = wire::list_tasks_request::Filters { service_ids: vec![service.id], ..Default::default() };
    let gone = async {
        while control
            .list_tasks(wire::ListTasksRequest { filters: Some(filters.clone()) })
            .await
            .is_ok_and(|tasks| !tasks.into_inner().tasks.is_empty())
        {
            tokio::time::sleep(PROGRESS).await;
        }
    };
    tokio::time::timeout(REMOVAL, gone).await.map_err(|_| left())
}

/// A bar on a terminal, and nothing elsewhere.
struct Progress(indicatif::ProgressBar);

impl Progress {
    fn new(args: &Args) -> Self {
        let bar = indicatif::ProgressBar::new(args.count);
        bar.set_draw_target(indicatif::ProgressDrawTarget::stderr_with_hz(5));
        Self(bar.with_message("tasks run"))
    }

    fn show(&self, running: usize) {
        self.0.set_position(running as u64);
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
