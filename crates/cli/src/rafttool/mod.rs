//! `swarm-rafttool`: looks into the log and the snapshots of a manager, running or not.
//!
//! It reads the state directory and nothing else, and changes nothing in it. What it prints may hold secrets, unless
//! `--redact` is given.

mod decrypt;
mod dump;
mod error;
mod reflect;
mod verify;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand, ValueEnum};
pub use error::RafttoolError;
use reflect::Schema;
use serde::Serialize;
use swarmkit_raft::{Inspector, ReadOnlyDisk};
use swarmkit_runtime::{Env, Spawner};

use crate::output::json;

/// The exit code of every failure, as upstream.
const EXIT_FAILURE: u8 = 255;

/// The folder of the log, within the state directory.
const RAFT: &str = "raft";

/// Look into the log and the snapshots of a manager.
///
/// Reads the state directory of a node and changes nothing there; the node may run meanwhile. What is shown may hold
/// secrets: see --redact.
#[derive(Debug, Parser)]
#[command(name = "swarm-rafttool", version, disable_help_subcommand = true, args_override_self = true)]
struct Args {
    /// State directory of the node
    #[arg(short = 'd', long, global = true, value_name = "PATH", default_value = "/var/lib/swarmd")]
    #[arg(help_heading = "Global options")]
    state_dir: PathBuf,

    /// How to show what was found
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    format: Format,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the log and the newest snapshot to files in clear
    Decrypt(decrypt::Flags),
    /// Show the objects that the cluster has, from the newest snapshot and the log after it
    DumpObject(dump::ObjectFlags),
    /// Show the members and the objects of the newest snapshot
    DumpSnapshot(dump::SnapshotFlags),
    /// Show the entries of the log
    DumpWal(dump::LogFlags),
    /// Read every byte of log and snapshots, and name the file and offset of whatever is damaged
    Verify,
}

/// How to show what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON object a line
    Json,
}

/// What every command works with.
struct Context<'a> {
    inspector: Inspector,
    schema: Schema,
    out: &'a mut dyn Write,
    format: Format,
}

/// Runs the program with these arguments, the first of which is its own name.
pub async fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // There is nobody left to tell when this fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_FAILURE) } else { ExitCode::SUCCESS };
        }
    };
    let mut out = io::BufWriter::new(io::stdout());
    let result = run(args, &mut out).await.and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(RafttoolError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = out.flush();
            let _ = writeln!(io::stderr(), "Error: {error}");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<(), RafttoolError> {
    let folder = args.state_dir.join(RAFT);
    if !folder.is_dir() {
        return Err(RafttoolError::NoState { path: folder });
    }
    let state_dir = args.state_dir;
    let keys = Spawner::blocking(move || swarmkit_node::log_keys(&state_dir, None)).await;
    let keys = keys.unwrap_or_else(|panicked| Err(swarmkit_node::NodeError::Part(panicked.into())))?;
    let inspector = Inspector::new(Arc::new(ReadOnlyDisk::new(&folder)), keys, Env::real());
    let mut context = Context { inspector, schema: Schema::new(), out, format: args.format };
    match args.command {
        Command::Decrypt(flags) => decrypt::run(&mut context, flags).await,
        Command::DumpObject(flags) => dump::objects(&mut context, flags).await,
        Command::DumpSnapshot(flags) => dump::snapshot(&mut context, flags).await,
        Command::DumpWal(flags) => dump::log(&mut context, flags).await,
        Command::Verify => verify::run(&mut context).await,
    }
}

impl Context<'_> {
    /// Prints one thing as the format says.
    fn show(&mut self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), RafttoolError> {
        match self.format {
            Format::Text => write!(self.out, "{}", text())?,
            Format::Json => writeln!(self.out, "{}", json::line(json))?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_of_every_command_are_consistent() {
        Args::command().debug_assert();
    }
}
