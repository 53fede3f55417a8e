//! `swarmd restore`: a cluster from its backup.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use swarmkit_node::{Node, NodeError, Restored};
use swarmkit_raft::{Backup, LogError};
use swarmkit_runtime::Env;

use crate::{output::json, sealing};

#[derive(Debug, clap::Args)]
pub(super) struct Flags {
    /// Backup to restore, as `swarmctl cluster backup` wrote it
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// File with the key that the backup was sealed with
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,

    /// Empty directory that becomes the state directory of the cluster's new manager
    #[arg(short = 'd', long, value_name = "PATH", default_value = "/var/lib/swarmd")]
    state_dir: PathBuf,

    /// Address at which other nodes will reach the new manager
    #[arg(long, value_name = "HOST:PORT")]
    advertise_remote_api: String,

    /// Tell what was restored as one JSON object
    #[arg(long)]
    json: bool,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The key cannot be read.
    #[error(transparent)]
    Key(#[from] sealing::KeyFileError),
    /// The backup cannot be read.
    #[error("cannot read the backup: {0}")]
    Backup(#[from] LogError),
    /// The state directory cannot be filled.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// Standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// What was restored, for programs.
#[derive(serde::Serialize)]
struct Told<'a> {
    node: &'a str,
    cluster: &'a str,
    version: u64,
    services: usize,
    former_managers: Vec<&'a str>,
}

pub(super) async fn run(flags: Flags, env: &Env) -> Result<(), RestoreError> {
    let key = sealing::read(&flags.key_file).await?;
    let backup = Backup::open(&flags.file, &key, env).await?;
    let restored = Node::restore(&flags.state_dir, &backup, &flags.advertise_remote_api, env).await?;
    let mut out = io::stdout().lock();
    if flags.json {
        writeln!(out, "{}", json::line(&told(&restored)))?;
    } else {
        write!(out, "{}", explain(&restored, &flags))?;
    }
    Ok(out.flush()?)
}

fn told(restored: &Restored) -> Told<'_> {
    Told {
        node: restored.node.as_str(),
        cluster: restored.cluster.as_str(),
        version: restored.version.0,
        services: restored.services,
        former_managers: restored.former_managers.iter().map(|node| node.as_str()).collect(),
    }
}

fn explain(restored: &Restored, flags: &Flags) -> String {
    let Restored { node, cluster, version, services, former_managers } = restored;
    let (dir, address) = (flags.state_dir.display(), &flags.advertise_remote_api);
    let mut text = format!(
        "Restored cluster {cluster} at version {version} with {services} services. Its only manager is the new node \
         {node}.\n\nStart it:\n  swarmd --state-dir {dir} --advertise-remote-api {address}\n"
    );
    if !former_managers.is_empty() {
        text += "\nThese nodes managed the cluster before. Empty their state directories before they join again, then \
                 forget them:\n";
        former_managers.iter().for_each(|node| text += &format!("  swarmctl node remove --force {node}\n"));
    }
    text
}
