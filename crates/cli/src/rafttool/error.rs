//! What a command ends with when it does not succeed.

use std::{io, path::PathBuf};

use swarmkit_node::NodeError;
use swarmkit_raft::{InspectError, LogError};

use crate::unlocking::UnlockError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum RafttoolError {
    /// The state directory is none, or that of a worker.
    #[error("{} is no folder: the node has no log, or the state directory is another one (--state-dir)", path.display())]
    NoState {
        /// The folder of the log.
        path: PathBuf,
    },
    /// The unlock key cannot be had.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The state directory or its keys cannot be used.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// The log or a snapshot cannot be read.
    #[error("{0}")]
    Inspect(#[from] InspectError),
    /// There is nothing of what was asked for.
    #[error("{0}")]
    Nothing(&'static str),
    /// Something is damaged. It was shown before.
    #[error("damage was found, places: {0}")]
    Damaged(usize),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<LogError> for RafttoolError {
    fn from(error: LogError) -> Self {
        Self::Inspect(error.into())
    }
}
