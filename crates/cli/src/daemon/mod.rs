//! `swarmd`: runs a node until it is told to stop.

mod code_pages;
mod executor;
mod introducing;
mod locked;
pub(crate) mod log;
mod measured;
mod networks;
mod node;
mod restore;
pub(crate) mod signals;

use std::{ffi::OsString, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
pub(crate) use executor::ExecutorFlags;
pub(crate) use networks::NetworkFlags;
pub(crate) use node::{NodeOptions, RunError, running};
use swarmkit_api::wire;
use swarmkit_runtime::Env;
use swarmkit_secret_drivers::PluginDrivers;

use self::{introducing::Introducing, locked::Waited, measured::Measured, signals::Signals};
use crate::{
    client::DEFAULT_SOCKET,
    dev, doctor,
    external_ca::parse_external_ca,
    metrics::{Registry, Timers},
    units::parse_duration,
    unlocking::UnlockFlags,
};

/// Run a node of a swarm cluster.
///
/// Without --join-addr the node starts a cluster of its own, or goes on with the one in its state directory.
#[derive(Debug, Parser)]
#[command(name = "swarmd", version, disable_version_flag = true, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = true, args_override_self = true)]
struct Args {
    #[command(flatten)]
    node: NodeFlags,

    /// Print the version
    #[arg(short, long, action = clap::ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the services of a Compose file on a cluster of one node, and take everything away at the end
    Dev(dev::Flags),
    /// Look at the node of a state directory, running or not, and say what is wrong and what mends it
    ///
    /// Changes nothing. The exit code is 0 if nothing is wrong, 1 if something is, and 2 if it could not be found out.
    Doctor(doctor::Flags),
    /// Make a state directory from a backup, for the manager that a lost cluster begins again with
    Restore(restore::Flags),
}

#[derive(Debug, clap::Args)]
struct NodeFlags {
    /// Directory for everything that the node has to remember
    #[arg(short = 'd', long, value_name = "PATH", default_value = "/var/lib/swarmd")]
    state_dir: PathBuf,

    /// Address to listen on for other nodes, while this one is a manager
    #[arg(long, value_name = "HOST:PORT", default_value = "0.0.0.0:4242")]
    listen_remote_api: String,

    /// Address that other nodes are told to reach this one at [default: what it listens on]
    #[arg(long, value_name = "HOST:PORT")]
    advertise_remote_api: Option<String>,

    /// Unix socket for swarmctl and other local clients
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    listen_control_api: PathBuf,

    /// Address to serve Prometheus metrics at, over plain HTTP under /metrics [default: none]
    #[arg(long, value_name = "HOST:PORT")]
    listen_metrics: Option<String>,

    /// A manager of the cluster to join
    #[arg(long, value_name = "HOST:PORT")]
    join_addr: Option<String>,

    /// Token to join with; it decides whether the node becomes a worker or a manager. A node whose certificate has expired
    /// comes back with a token of its role, and needs no --join-addr if it remembers managers
    #[arg(long, value_name = "TOKEN")]
    join_token: Option<String>,

    /// Go on alone from this manager's state, after too many of the others were lost for good; read docs/recovery.md first
    #[arg(long, conflicts_with = "join_addr")]
    force_new_cluster: bool,

    /// Lock the managers of a cluster that this node begins: after a restart they need the key that `swarmctl cluster
    /// unlock-key` shows
    #[arg(long)]
    autolock: bool,

    /// Who signs certificates of a cluster that this node begins, as protocol=cfssl,url=URL[,cacert=FILE] (repeat); read
    /// docs/external-ca.md first
    #[arg(long, value_name = "AUTHORITY", value_parser = parse_external_ca)]
    external_ca: Vec<wire::ExternalCa>,

    /// A storage plugin (CSI) for volumes of the cluster, by the name that volumes give as their driver and its Unix socket
    /// (repeat). Each manager needs its controller, and each node that is to run tasks with such volumes its node service
    #[arg(long, value_name = "NAME=SOCKET", value_parser = parse_csi_plugin)]
    csi_plugin: Vec<(String, PathBuf)>,

    /// A driver of secrets whose values lie outside of the cluster, by the name that secrets give and the Unix socket of
    /// its plugin; without one, /run/docker/plugins/NAME.sock (repeat). Each manager needs it
    #[arg(long, value_name = "NAME[=SOCKET]", value_parser = parse_secret_driver)]
    secret_driver: Vec<(String, PathBuf)>,

    /// How long a node may be down before its tasks are given up for lost, while this manager leads; give all managers the same
    /// [default: 24h]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    node_down_period: Option<Duration>,

    #[command(flatten)]
    unlock: UnlockFlags,

    /// End when this manager is locked and no key is given, instead of waiting for `swarmctl cluster unlock`
    #[arg(long)]
    exit_when_locked: bool,

    /// Host name to report instead of the machine's
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,

    #[command(flatten)]
    executor: ExecutorFlags,

    #[command(flatten)]
    networks: NetworkFlags,

    /// How much to log
    #[arg(short, long, value_enum, value_name = "LEVEL", default_value = "info")]
    log_level: log::Level,

    /// How to log
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: log::Format,
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
    let result = match args.command {
        Some(Command::Dev(flags)) => dev::run(flags, &Env::real()).await,
        Some(Command::Doctor(flags)) => return doctor::run(flags, &Env::real()).await,
        Some(Command::Restore(flags)) => restore::run(flags, &Env::real()).await.map_err(RunError::from),
        None => run(args.node, &Env::real()).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "swarmd: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads where a storage plugin is.
fn parse_csi_plugin(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, socket)) if !name.is_empty() && !socket.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket))))
        }
        _ => Err("give the plugin's name and its socket, as NAME=SOCKET".to_owned()),
    }
}

/// Reads where a secret driver is.
fn parse_secret_driver(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        None if !text.is_empty() && !text.contains('/') => Ok((text.to_owned(), PluginDrivers::default_socket(text))),
        Some((name, socket)) if !name.is_empty() && !socket.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket))))
        }
        _ => Err("give the driver's name, and its socket unless it lies with the plugins, as NAME=SOCKET".to_owned()),
    }
}

/// Runs a node until a signal comes.
async fn run(flags: NodeFlags, env: &Env) -> Result<(), RunError> {
    let metrics = flags.listen_metrics.map(|address| (address, Registry::new()));
    let timers = metrics.as_ref().map(|(_, registry)| Timers::new(registry));
    log::to_stderr(flags.log_level, flags.log_format, timers);
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    let mut unlock_key = flags.unlock.read().await?;
    let must_wait = unlock_key.is_none() && !flags.exit_when_locked;
    if must_wait && locked::is_locked(&flags.state_dir, env).await {
        let (socket, remote) = (&flags.listen_control_api, &flags.listen_remote_api);
        match locked::wait(&flags.state_dir, socket, remote, env, &mut signals).await? {
            Waited::Key(key) => unlock_key = Some(key),
            Waited::Signal(signal) => {
                tracing::info!(signal, "stopping before the node was unlocked");
                return Ok(());
            }
        }
    }
    let options = NodeOptions {
        state_dir: flags.state_dir,
        listen_control: flags.listen_control_api,
        listen_remote: flags.listen_remote_api,
        advertise_remote: flags.advertise_remote_api,
        join_addr: flags.join_addr,
        join_token: flags.join_token,
        force_new_cluster: flags.force_new_cluster,
        autolock: flags.autolock,
        external_cas: flags.external_ca,
        csi_plugins: flags.csi_plugin,
        secret_drivers: flags.secret_driver,
        node_down_period: flags.node_down_period,
        unlock_key,
        hostname: flags.hostname,
        executor: flags.executor,
        networks: flags.networks,
        temporary: false,
    };
    let mut introducing = Introducing::new(options.networks.are_overlays(), &options.listen_remote);
    let mut measured = Measured::begin(metrics).await?;
    let result = running(options, env, &mut signals, async |signals, node| {
        measured.follow(node.clone());
        introducing.follow(node);
        let signal = signals.next().await;
        tracing::info!(signal, "stopping");
        Ok(())
    })
    .await;
    introducing.end().await;
    measured.end().await;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_nodes_may_be_down_is_a_duration_and_left_open_unless_it_is_given() {
        let read = |words: &[&str]| Args::try_parse_from(words).map(|args| args.node.node_down_period);
        assert_eq!(read(&["swarmd"]).unwrap(), None);
        assert_eq!(read(&["swarmd", "--node-down-period", "90m"]).unwrap(), Some(Duration::from_secs(5400)));
        assert!(read(&["swarmd", "--node-down-period", "soon"]).is_err());
    }

    #[test]
    fn a_secret_driver_has_a_name_and_a_socket_or_lies_with_the_plugins() {
        let read = |text| parse_secret_driver(text).map(|(name, socket)| format!("{name} at {}", socket.display()));
        assert_eq!(read("vault=/run/vault.sock").unwrap(), "vault at /run/vault.sock");
        assert_eq!(read("vault=unix:///run/vault.sock").unwrap(), "vault at /run/vault.sock");
        assert_eq!(read("vault").unwrap(), "vault at /run/docker/plugins/vault.sock");
        for wrong in ["", "vault=", "=/run/vault.sock", "/run/vault.sock", "../vault"] {
            let error = "give the driver's name, and its socket unless it lies with the plugins, as NAME=SOCKET";
            assert_eq!(read(wrong).unwrap_err(), error);
        }
    }

    #[test]
    fn a_storage_plugin_has_a_name_and_a_socket() {
        let read = |text| parse_csi_plugin(text).map(|(name, socket)| format!("{name} at {}", socket.display()));
        assert_eq!(read("nfs=/run/nfs.sock").unwrap(), "nfs at /run/nfs.sock");
        assert_eq!(read("nfs=unix:///run/nfs.sock").unwrap(), "nfs at /run/nfs.sock");
        for wrong in ["", "nfs", "nfs=", "=/run/nfs.sock"] {
            assert_eq!(read(wrong).unwrap_err(), "give the plugin's name and its socket, as NAME=SOCKET");
        }
    }
}
