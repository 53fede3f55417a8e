//! What a command ends with when it does not succeed.

use std::{io, path::PathBuf};

use swarmkit_raft::LogError;
use swarmkit_rpc::ConnectError;

use crate::{sealing::KeyFileError, unlocking::UnlockError};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CtlError {
    /// It was called the wrong way; a usage line helps.
    #[error("{0}")]
    Usage(String),
    /// The cluster is not as the command needs it: an object is missing, ambiguous, or already as wanted.
    #[error("{0}")]
    State(String),
    /// A call was refused. Only the message is for people.
    #[error("{}", .0.message())]
    Refused(#[from] Box<tonic::Status>),
    /// There is nobody to call.
    #[error("{0}\nis swarmd running? Name its socket with --socket or SWARM_SOCKET.")]
    Connect(#[from] ConnectError),
    /// A file with the content of a secret or config.
    #[error("cannot read {}: {error}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The key of a backup.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The key for a node that is locked.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The file of a backup.
    #[error(transparent)]
    Backup(#[from] LogError),
    /// The manager told an unlock key that is none.
    #[error("the manager told no unlock key: {0}")]
    UnlockKey(#[from] swarmkit_ca::Error),
    /// Somebody did not want to wait for the root certificate any longer.
    #[error(
        "interrupted; the root certificate is being replaced all the same, and `swarmctl cluster inspect` shows how far"
    )]
    Interrupted,
    /// The system does not tell of interrupts.
    #[error("cannot listen for interrupts: {0}")]
    Signals(io::Error),
    /// By the plan that was shown, tasks would have to wait.
    #[error("not all tasks would be placed")]
    WouldWait,
    /// A command in a task has ended with this code, or was ended here by a signal.
    #[error("exit code {0}")]
    Ended(u8),
    /// A command in a task cannot be run.
    #[error("{1}")]
    Unrunnable(u8, String),
    /// Standard output.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl From<tonic::Status> for CtlError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}
