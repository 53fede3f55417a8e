//! `swarmctl`: reads and changes a cluster through a node's control socket.

mod backup;
mod cluster;
mod cluster_flags;
mod config;
mod container_flags;
mod depend_flags;
mod endpoint_flags;
mod error;
mod exec;
mod generic_flags;
mod job_flags;
mod log_flags;
mod logs;
mod lookup;
mod mount_flags;
mod network;
mod network_flags;
mod node;
mod placement_flags;
mod plan;
mod priority_flags;
mod rebalance_flags;
mod rollout_flags;
mod root_flags;
mod rotation;
mod secret;
mod service;
mod service_flags;
mod task;
mod task_stats;
mod unlock;
mod usage;
mod volume;
mod volume_flags;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
pub use error::CtlError;
use serde::Serialize;
use swarmkit_api::wire;
use swarmkit_runtime::{Crew, Env, Spawner};
use tokio_util::sync::CancellationToken;
use usage::{Outcome, explain, usage_of};

use crate::{
    client::{Client, Control, DEFAULT_SOCKET, SOCKET_VARIABLE},
    output::{Names, json},
};

/// The exit code of every failure, as upstream.
const EXIT_FAILURE: u8 = 255;

/// The exit code of a plan by which not all tasks would be placed.
const EXIT_WAITS: u8 = 2;

/// Control a swarm cluster.
#[derive(Debug, Parser)]
#[command(name = "swarmctl", version, disable_help_subcommand = true, args_override_self = true)]
struct Args {
    /// Control socket of the node to talk to
    #[arg(short, long, global = true, value_name = "PATH", env = SOCKET_VARIABLE, default_value = DEFAULT_SOCKET)]
    #[arg(help_heading = "Global options", hide_env_values = true)]
    socket: PathBuf,

    /// Show ids where names would be shown
    #[arg(short, long, global = true, help_heading = "Global options")]
    no_resolve: bool,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show and change the cluster, its join tokens and its unlock key
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Manage configs: files that tasks are given
    #[command(subcommand)]
    Config(config::Command),
    /// Manage networks that span nodes
    #[command(subcommand)]
    Network(network::Command),
    /// Manage nodes
    #[command(subcommand)]
    Node(node::Command),
    /// Manage secrets: files that tasks are given and that nobody else can read
    #[command(subcommand)]
    Secret(secret::Command),
    /// Manage services
    #[command(subcommand, visible_alias = "svc")]
    Service(service::Command),
    /// Look at tasks, and remove them
    #[command(subcommand)]
    Task(task::Command),
    /// Manage volumes that the cluster's drivers make
    #[command(subcommand)]
    Volume(volume::Command),
    /// Print the version
    Version,
}

/// How to show what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object a line
    Json,
}

/// The flags of every `ls`.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
struct ListFlags {
    /// Only show ids
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,

    /// How to show the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What every command works with.
struct Context<'a> {
    client: Client,
    control: Control,
    out: &'a mut dyn Write,
    now: SystemTime,
    resolve: bool,
}

/// Runs the program with these arguments, the first of which is its own name.
pub async fn main(args: impl IntoIterator<Item = std::ffi::OsString>) -> ExitCode {
    let matches = match Args::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return tell(&explain(&error, &mut Args::command())),
    };
    let args = match Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => return tell(&explain(&error, &mut Args::command())),
    };
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(CtlError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        // What there is to say has been shown.
        Err(CtlError::WouldWait) => ExitCode::from(EXIT_WAITS),
        Err(CtlError::Ended(code)) => ExitCode::from(code),
        Err(CtlError::Unrunnable(code, reason)) => {
            tell(&Outcome::Wrong(format!("Error: {reason}")));
            ExitCode::from(code)
        }
        Err(error @ CtlError::Usage(_)) => {
            let usage = usage_of(&mut Args::command(), &matches);
            tell(&Outcome::Wrong(format!("Error: {error}\n\n{usage}\n")))
        }
        Err(error) => tell(&Outcome::Wrong(format!("Error: {error}"))),
    }
}

fn tell(outcome: &Outcome) -> ExitCode {
    // There is nobody left to tell when this fails.
    match outcome {
        Outcome::Asked(text) => {
            let _ = write!(io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Outcome::Wrong(text) => {
            let _ = writeln!(io::stderr(), "{text}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

async fn run(args: Args) -> Result<(), CtlError> {
    let mut out = io::stdout().lock();
    if let Command::Version = args.command {
        return Ok(writeln!(out, "swarmctl {}", env!("CARGO_PKG_VERSION"))?);
    }
    let env = Env::real();
    // Dropped at the end, and the connection with it: there is nothing to wait for.
    let crew = Crew::under(&CancellationToken::new());
    let client = Client::connect(&args.socket, &env, &crew.spawner()).await?;
    let control = client.control();
    let mut context = Context { client, control, out: &mut out, now: env.now(), resolve: !args.no_resolve };
    let done = match args.command {
        Command::Cluster(command) => cluster::run(&mut context, command).await,
        Command::Config(command) => config::run(&mut context, command).await,
        Command::Network(command) => network::run(&mut context, command).await,
        Command::Node(command) => node::run(&mut context, command).await,
        Command::Secret(command) => secret::run(&mut context, command).await,
        Command::Service(command) => service::run(&mut context, command).await,
        Command::Task(command) => task::run(&mut context, command).await,
        Command::Volume(command) => volume::run(&mut context, command).await,
        Command::Version => Ok(()),
    };
    match done {
        Err(CtlError::Refused(status))
            if status.code() == tonic::Code::Unimplemented && unlock::is_waiting(&context.client).await =>
        {
            Err(CtlError::State("this node is locked; to give it its key: swarmctl cluster unlock".to_owned()))
        }
        done => {
            context.out.flush()?;
            done
        }
    }
}

impl Context<'_> {
    /// The names of nodes, unless ids are wanted.
    async fn names(&mut self) -> Result<Names, CtlError> {
        if !self.resolve {
            return Ok(Names::ids_only());
        }
        Ok(Names::of(&self.nodes().await?))
    }

    async fn nodes(&mut self) -> Result<Vec<wire::Node>, CtlError> {
        Ok(self.control.list_nodes(wire::ListNodesRequest::default()).await?.into_inner().nodes)
    }

    async fn tasks(&mut self, filters: wire::list_tasks_request::Filters) -> Result<Vec<wire::Task>, CtlError> {
        let request = wire::ListTasksRequest { filters: Some(filters) };
        Ok(self.control.list_tasks(request).await?.into_inner().tasks)
    }

    /// Prints a list as its flags say.
    fn list<J: Serialize>(
        &mut self,
        flags: ListFlags,
        ids: impl IntoIterator<Item = String>,
        json: impl IntoIterator<Item = J>,
        table: impl FnOnce() -> String,
    ) -> Result<(), CtlError> {
        if flags.quiet {
            for id in ids {
                writeln!(self.out, "{id}")?;
            }
            return Ok(());
        }
        match flags.format {
            Format::Table => write!(self.out, "{}", table())?,
            Format::Json => {
                for object in json {
                    writeln!(self.out, "{}", json::line(&object))?;
                }
            }
        }
        Ok(())
    }

    /// Prints one object.
    fn show(&mut self, format: Format, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), CtlError> {
        match format {
            Format::Table => write!(self.out, "{}", text())?,
            Format::Json => writeln!(self.out, "{}", json::line(json))?,
        }
        Ok(())
    }
}

/// The content of a file, or of standard input.
async fn read_content(file: Option<PathBuf>) -> Result<bytes::Bytes, CtlError> {
    let name = file.clone().unwrap_or_else(|| "standard input".into());
    let read = move || match file {
        Some(file) => std::fs::read(file),
        None => {
            let mut content = Vec::new();
            io::Read::read_to_end(&mut io::stdin().lock(), &mut content)?;
            Ok(content)
        }
    };
    let content = Spawner::blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)));
    content.map(Into::into).map_err(|error| CtlError::Read { file: name, error })
}
