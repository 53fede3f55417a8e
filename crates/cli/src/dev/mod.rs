//! `swarmd dev`: a cluster of one node for the services of a Compose file.

mod board;
mod deploy;
mod feed;
mod plain;
mod session;
mod world;

use std::{
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    time::Duration,
};

use swarmkit_api::wire::{self, task_spec};
use swarmkit_rpc::ConnectError;
use swarmkit_runtime::{Crew, Env};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::session::Session;
use crate::{
    client::{Client, SOCKET_VARIABLE},
    compose::{self, Faults, Project},
    daemon::{ExecutorFlags, NetworkFlags, NodeOptions, RunError, log, running, signals::Signals},
    units::{parse_duration, to_wire_duration},
};

/// The longest that a task may take to stop, whatever the file says, so that Ctrl-C is answered soon.
const STOP_GRACE_MAX: Duration = Duration::from_millis(2500);

/// Nobody else joins, so the node listens where only this machine can reach it, on any port.
const LISTEN_REMOTE: &str = "127.0.0.1:0";

/// The control socket within the state directory.
const SOCKET: &str = "swarmd.sock";

/// The name of a project that has none and whose directory cannot be one.
const FALLBACK_NAME: &str = "dev";

/// The flags of `swarmd dev`.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// The Compose file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Stop as soon as every task runs (or has completed, of a job), and fail if that takes too long
    #[arg(long)]
    check: bool,

    /// How long the check may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration, requires = "check")]
    timeout: Duration,

    /// Directory to keep the state of the cluster in, instead of a temporary one
    #[arg(short = 'd', long, value_name = "PATH")]
    state_dir: Option<PathBuf>,

    #[command(flatten)]
    executor: ExecutorFlags,

    /// How much to log
    #[arg(short, long, value_enum, value_name = "LEVEL", default_value = "error")]
    log_level: log::Level,
}

/// Why a session failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DevError {
    /// The file is not in order.
    #[error("{0}")]
    File(#[from] Faults),
    /// A directory for the state cannot be had.
    #[error("cannot use {}: {error}", dir.display())]
    StateDir { dir: PathBuf, error: io::Error },
    /// Nobody answers at the node's own socket.
    #[error("{0}")]
    Connect(#[from] ConnectError),
    /// The session failed.
    #[error("{0}")]
    Session(#[from] session::SessionError),
}

/// Runs the services of a Compose file until told to stop.
pub(crate) async fn run(flags: Flags, env: &Env) -> Result<(), RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let mut parsed = compose::read(&flags.file, &|name| std::env::var(name).ok()).map_err(DevError::File)?;
    for warning in &parsed.warnings {
        eprintln!("warning: {}:{warning}", flags.file.display());
    }
    limit_stop_grace(&mut parsed.project);
    let state = StateDir::new(flags.state_dir.as_deref())?;
    let board = if flags.check || !io::stdout().is_terminal() {
        log::to_stderr(flags.log_level, log::Format::Text, None);
        None
    } else {
        Some(log::to_tail(flags.log_level))
    };
    let socket = state.path().join(SOCKET);
    let options = NodeOptions {
        state_dir: state.path().to_owned(),
        listen_control: socket.clone(),
        listen_remote: LISTEN_REMOTE.to_owned(),
        advertise_remote: None,
        join_addr: None,
        join_token: None,
        force_new_cluster: false,
        autolock: false,
        external_cas: Vec::new(),
        csi_plugins: Vec::new(),
        secret_drivers: Vec::new(),
        node_down_period: None,
        unlock_key: None,
        hostname: None,
        executor: flags.executor,
        networks: NetworkFlags::default(),
        temporary: flags.state_dir.is_none(),
    };
    let stack = stack_name(&parsed.project, &flags.file);
    let result = running(options, env, &mut signals, async |signals, node| {
        // Dropped at the end, and the connection with it: there is nothing to wait for.
        let crew = Crew::under(&CancellationToken::new());
        let client = Client::connect(&socket, env, &crew.spawner()).await.map_err(DevError::from)?;
        let session = Session {
            node: &node,
            client: &client,
            env,
            project: &parsed.project,
            stack: &stack,
            file: &flags.file,
            intro: intro(&parsed.project, &flags.file, &socket),
            check: flags.check.then_some(flags.timeout),
            board,
        };
        let stop = CancellationToken::new();
        let asked = async {
            signals.next().await;
            stop.cancel();
            // Asked twice: do not wait for anything any more.
            signals.next().await;
        };
        tokio::select! { biased; // a session that has ended is not interrupted
            result = session.run(&stop) => Ok(result.map_err(DevError::from)?),
            () = asked => Ok(node.leave(Duration::ZERO).await?),
        }
    })
    .await;
    state.close()?;
    result
}

/// What to try next.
fn intro(project: &Project, file: &Path, socket: &Path) -> Vec<String> {
    let replicated =
        |service: &&compose::Service| matches!(service.spec.mode, Some(wire::service_spec::Mode::Replicated(_)));
    let service = project.services.iter().find(replicated).or(project.services.first());
    let service = service.map(|service| service.name.as_str()).unwrap_or_default();
    let swarmctl = swarmctl();
    vec![
        format!("Running {}. Ctrl-C stops everything.", file.display()),
        format!("The control socket is {}. Try in another terminal:", socket.display()),
        format!("  export {SOCKET_VARIABLE}={}", socket.display()),
        format!("  {swarmctl} task ls"),
        format!("  {swarmctl} service scale {service}=5"),
        format!("  {swarmctl} service inspect {service}"),
        String::new(),
    ]
}

/// How to call the program beside this one, if it was built.
fn swarmctl() -> String {
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name("swarmctl"));
    match beside.filter(|program| program.exists()) {
        Some(program) => {
            match std::env::current_dir().ok().and_then(|dir| program.strip_prefix(dir).ok().map(Path::to_owned)) {
                Some(relative) => format!("./{}", relative.display()),
                None => program.display().to_string(),
            }
        }
        None => "swarmctl".to_owned(),
    }
}

/// The name that everything of the project is labelled with: its own, or that of its directory.
fn stack_name(project: &Project, file: &Path) -> String {
    let directory = std::path::absolute(file).ok().and_then(|file| Some(file.parent()?.file_name()?.to_owned()));
    let name = project.name.clone().or_else(|| Some(directory?.to_string_lossy().to_lowercase())).unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    if name.is_empty() { FALLBACK_NAME.to_owned() } else { name }
}

fn limit_stop_grace(project: &mut Project) {
    for service in &mut project.services {
        let runtime = service.spec.task.as_mut().and_then(|task| task.runtime.as_mut());
        if let Some(task_spec::Runtime::Container(container)) = runtime {
            let asked = container.stop_grace_period.and_then(|period| Duration::try_from(period).ok());
            let grace = asked.unwrap_or(STOP_GRACE_MAX).min(STOP_GRACE_MAX);
            container.stop_grace_period = Some(to_wire_duration(grace));
        }
    }
}

/// Where the state is, removed at the end unless it is to be kept.
enum StateDir {
    Kept(PathBuf),
    Temporary(TempDir),
}

impl StateDir {
    fn new(kept: Option<&Path>) -> Result<Self, DevError> {
        if let Some(dir) = kept {
            let dir = std::path::absolute(dir).map_err(|error| DevError::StateDir { dir: dir.to_owned(), error })?;
            return Ok(Self::Kept(dir));
        }
        let made = tempfile::Builder::new().prefix("swarmd-dev-").tempdir();
        made.map(Self::Temporary).map_err(|error| DevError::StateDir { dir: std::env::temp_dir(), error })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }

    fn close(self) -> Result<(), DevError> {
        match self {
            Self::Kept(_) => Ok(()),
            Self::Temporary(temporary) => {
                let dir = temporary.path().to_owned();
                temporary.close().map_err(|error| DevError::StateDir { dir, error })
            }
        }
    }
}
