//! `swarm-rafttool`: looks into the log and the snapshots of a manager, running or not.
//!
//! It reads the state directory and nothing else. Two commands mend the certificates in it, while no node runs on it; all
//! others change nothing there. What they print may hold secrets, unless `--redact` is given.

mod decrypt;
mod dump;
mod error;
mod mend;
mod reflect;
mod verify;

use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Arg, Parser, Subcommand, ValueEnum};
pub use error::RafttoolError;
use reflect::Schema;
use serde::Serialize;
use swarmkit_ca::UnlockKey;
use swarmkit_node::Offline;
use swarmkit_raft::{Inspector, ReadOnlyDisk};
use swarmkit_runtime::{Env, Spawner};

use crate::{output::json, unlocking::UnlockFlags};

/// The exit code of every failure, as upstream.
const EXIT_FAILURE: u8 = 255;

/// The folder of the log, within the state directory.
const RAFT: &str = "raft";

/// Look into the log and the snapshots of a manager.
///
/// Reads the state directory of a node, which may run meanwhile, and changes nothing there; only downgrade-key and renew-certs
/// do, and these need the node to be stopped. What is shown may hold secrets: see --redact.
#[derive(Debug, Parser)]
#[command(name = "swarm-rafttool", version, disable_help_subcommand = true, args_override_self = true)]
#[command(mut_args(for_every_command))]
struct Args {
    /// State directory of the node
    #[arg(short = 'd', long, global = true, value_name = "PATH", default_value = "/var/lib/swarmd")]
    #[arg(help_heading = "Global options")]
    state_dir: PathBuf,

    #[command(flatten)]
    unlock: UnlockFlags,

    /// How to show what was found
    #[arg(long, global = true, value_enum, default_value_t, help_heading = "Global options")]
    format: Format,

    #[command(subcommand)]
    command: Command,
}

/// The flags for the key are shared with a program where they belong to one command alone; here they belong to all.
fn for_every_command(flag: Arg) -> Arg {
    if flag.get_id().as_str().starts_with("unlock_key") {
        flag.global(true).help_heading("Global options")
    } else {
        flag
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the log and the newest snapshot to files in clear
    Decrypt(decrypt::Flags),
    /// Write the key of the node in the form of programs that do not know PKCS#8 (SEC1), so that they can run the node
    DowngradeKey,
    /// Show the objects that the cluster has, from the newest snapshot and the log after it
    DumpObject(dump::ObjectFlags),
    /// Show the members and the objects of the newest snapshot
    DumpSnapshot(dump::SnapshotFlags),
    /// Show the entries of the log
    DumpWal(dump::LogFlags),
    /// Make the node a new certificate with the key of the cluster's root, for one that expired while the node was down
    RenewCerts,
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

/// What commands work with that look into the log.
struct Context<'a> {
    inspector: Inspector,
    schema: Schema,
    printer: Printer<'a>,
}

/// Shows things as the user wants to see them.
struct Printer<'a> {
    out: &'a mut (dyn Write + Send),
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
    let (state_dir, env) = (args.state_dir, Env::real());
    let unlock = args.unlock.read().await?;
    let mut printer = Printer { out, format: args.format };
    let look = |printer| Context::open(&state_dir, unlock.clone(), &env, printer);
    // Nothing is mended beneath a node that runs.
    let hold = || Offline::open(&state_dir, unlock.clone(), &env);
    match args.command {
        Command::Decrypt(flags) => decrypt::run(&mut look(printer).await?, flags).await,
        Command::DowngradeKey => mend::downgrade_key(&mut printer, &hold().await?).await,
        Command::DumpObject(flags) => dump::objects(&mut look(printer).await?, flags).await,
        Command::DumpSnapshot(flags) => dump::snapshot(&mut look(printer).await?, flags).await,
        Command::DumpWal(flags) => dump::log(&mut look(printer).await?, flags).await,
        Command::RenewCerts => mend::renew_certificate(&mut look(printer).await?, &hold().await?).await,
        Command::Verify => verify::run(&mut look(printer).await?).await,
    }
}

impl<'a> Context<'a> {
    /// Finds the log of a state directory, and the keys that open it.
    async fn open(
        state_dir: &Path,
        unlock: Option<UnlockKey>,
        env: &Env,
        printer: Printer<'a>,
    ) -> Result<Self, RafttoolError> {
        let folder = state_dir.join(RAFT);
        if !folder.is_dir() {
            return Err(RafttoolError::NoState { path: folder });
        }
        let place = state_dir.to_owned();
        let keys = Spawner::blocking(move || swarmkit_node::log_keys(&place, unlock.as_ref())).await;
        let keys = keys.unwrap_or_else(|panicked| Err(swarmkit_node::NodeError::Part(panicked.into())))?;
        let inspector = Inspector::new(Arc::new(ReadOnlyDisk::new(&folder)), keys, env.clone());
        Ok(Self { inspector, schema: Schema::new(), printer })
    }

    /// Prints one thing as the format says.
    fn show(&mut self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), RafttoolError> {
        self.printer.show(json, text)
    }
}

impl Printer<'_> {
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

    #[test]
    fn the_unlock_key_may_stand_before_and_after_the_command() {
        for line in [["--unlock-key-file", "x", "verify"], ["verify", "--unlock-key-file", "x"]] {
            Args::try_parse_from(["swarm-rafttool"].iter().chain(&line)).unwrap();
        }
    }
}
