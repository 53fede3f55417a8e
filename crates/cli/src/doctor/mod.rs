//! `swarmd doctor`: what is wrong with a node, in plain words, and what mends it.
//!
//! Facts are gathered first, by looking only: nothing is written, no lock is taken, and it makes no difference whether the
//! node runs. What they mean is decided by functions of facts alone, each beside what gathers them.

mod cluster;
mod finding;
mod folder;
mod identity;
mod log;
mod machine;
mod managers;
mod show;

use std::{
    collections::BTreeSet,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::ValueEnum;
pub use finding::{Finding, Verdict};
use futures_util::future::join_all;
pub use show::report;
use swarmkit_api::NodeRole;
use swarmkit_runtime::{Crew, Env, Spawner};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::{client::DEFAULT_SOCKET, output::json, unlocking::UnlockFlags};

/// How many managers are asked at most. A cluster has a handful, and its file may name those of old times.
const MANAGERS_MAX: usize = 16;

/// The exit code when something is wrong.
const PROBLEMS: u8 = 1;
/// The exit code when it could not be found out whether something is.
const UNKNOWN: u8 = 2;

#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// State directory of the node
    #[arg(short = 'd', long, value_name = "PATH", default_value = "/var/lib/swarmd")]
    state_dir: PathBuf,

    /// Unix socket that the node listens on for swarmctl
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    listen_control_api: PathBuf,

    /// A manager to look at, besides those that the node knows
    #[arg(long, value_name = "HOST:PORT")]
    join_addr: Option<String>,

    /// Join token to look at
    #[arg(long, value_name = "TOKEN", requires = "join_addr")]
    join_token: Option<String>,

    #[command(flatten)]
    unlock: UnlockFlags,

    /// How to show what was found
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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

/// Looks at everything, and shows it. The exit code says how it is: 0 nothing is wrong, 1 something is, 2 nobody knows.
pub(crate) async fn run(flags: Flags, env: &Env) -> ExitCode {
    let format = flags.format;
    let findings = examine(flags, env).await;
    let text = match format {
        Format::Text => {
            let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            report(&findings, colour)
        }
        Format::Json => findings.iter().map(|finding| json::line(finding) + "\n").collect(),
    };
    // Whoever has stopped reading has seen enough.
    let _ = io::stdout().write_all(text.as_bytes());
    code(&findings)
}

fn code(findings: &[Finding]) -> ExitCode {
    match findings.iter().map(|finding| finding.verdict).max() {
        Some(Verdict::Problem) => ExitCode::from(PROBLEMS),
        Some(Verdict::Unknown) => ExitCode::from(UNKNOWN),
        Some(Verdict::Ok | Verdict::Skipped | Verdict::Warning) | None => ExitCode::SUCCESS,
    }
}

async fn examine(flags: Flags, env: &Env) -> Vec<Finding> {
    let crew = Crew::under(&CancellationToken::new());
    let findings = look(flags, env, &crew.spawner()).await;
    crew.stop().cancel();
    // Only connections are left, which nobody waits for.
    let _ = crew.finish().await;
    findings
}

async fn look(flags: Flags, env: &Env, spawner: &Spawner) -> Vec<Finding> {
    let Flags { state_dir, listen_control_api, join_addr, join_token, unlock, .. } = flags;
    let unlock = match unlock.read().await {
        Ok(unlock) => unlock,
        Err(error) => return vec![Finding::unknown("unlock key", error.to_string())],
    };
    let join_token = join_token.map(Zeroizing::new);

    // A machine that is to join has no state directory yet.
    let place = folder::look(&state_dir);
    let new = matches!(place, folder::Place::Missing) && join_addr.is_some();
    let mut findings = match new {
        true => vec![Finding::skipped("state directory", format!("{} is not there yet", state_dir.display()))],
        false => folder::judge(&state_dir, &place),
    };
    let runs = place.used_by().is_some();
    let mut known = Vec::new();
    let mut identity = None;
    if matches!(place, folder::Place::Directory(_)) {
        let (path, key, clock) = (state_dir.clone(), unlock.clone(), env.clone());
        let looked = Spawner::blocking(move || identity::look(&path, key, runs, &clock)).await;
        match looked {
            Ok(facts) => {
                findings.extend(identity::judge(&facts));
                identity = Some(facts);
            }
            Err(panicked) => findings.push(Finding::unknown("certificates", panicked.to_string())),
        }
        let role = identity.as_ref().and_then(|facts| facts.named.as_ref()).map(|named| named.role);
        let log = log::look(&state_dir, unlock, env).await;
        findings.extend(log::judge(&state_dir, &log, role == Some(NodeRole::Manager)));
        findings.extend(log::tasks(&state_dir));
        match swarmkit_node::known_managers(&state_dir) {
            Ok(managers) => known = managers,
            Err(error) => findings.push(
                Finding::problem("managers", error.to_string())
                    .mend("remove the file, and start the node with --join-addr HOST:PORT"),
            ),
        }
    }

    let node = identity.as_ref().and_then(|facts| facts.node.as_ref().ok());
    let root = identity.as_ref().and_then(|facts| facts.root.as_ref().ok());
    let named = identity.as_ref().and_then(|facts| facts.named.as_ref());
    let own = named.map(|named| &named.node);
    let others = known.into_iter().filter(|remote| remote.node.is_none() || remote.node.as_ref() != own);
    let addresses = join_addr.into_iter().chain(others.map(|remote| remote.address));
    let addresses: BTreeSet<String> = addresses.take(MANAGERS_MAX).collect();
    let pin = match join_token.as_deref().map(|token| managers::pin(token)) {
        Some(Err(finding)) => {
            findings.push(finding);
            None
        }
        pin => pin.and_then(Result::ok),
    };
    let contacts = addresses.into_iter().map(|address| managers::ask(address, root.zip(node), env, spawner));
    let contacts = join_all(contacts).await;
    let compared = managers::Own { root: root.map(|root| root.digest()), pin };
    findings.extend(managers::judge(contacts, &compared));

    let manages = named.is_some_and(|named| named.role == NodeRole::Manager);
    let view = match (runs, manages) {
        (false, _) => cluster::View::None("no node runs here that could be asked"),
        (true, false) => cluster::View::None("only managers know it: swarmctl node ls, on one of them"),
        (true, true) => cluster::look(&listen_control_api, env, spawner).await,
    };
    findings.extend(cluster::judge(&view, named));
    findings.push(machine::judge(&machine::look()));
    findings
}
