//! What can go wrong in an agent as a whole. What goes wrong with one task is a task's status, not an error here.

use std::path::PathBuf;

/// Why an agent could not be built, or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The state directory cannot be used: a permission, a full disk, or it is no directory.
    #[error("cannot use the agent's state directory {}", path.display())]
    StateDir {
        /// The directory or file that it is about.
        path: PathBuf,
        /// What the machine says.
        #[source]
        source: std::io::Error,
    },
    /// Another agent works on the same state directory. End it first.
    #[error("another agent uses the task database {}", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },
    /// The task database cannot be opened, nor set aside.
    #[error("cannot open the task database")]
    Database(#[source] Box<redb::Error>),
    /// A part of the agent failed.
    #[error("the agent failed")]
    Part(#[source] swarmkit_runtime::PartError),
    /// The agent has ended, or its machinery for tasks is not running yet.
    #[error("agent: closed")]
    Closed,
}

/// Why no manager could be reached.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody has said where a manager is.
    #[error(transparent)]
    NoManagers(#[from] swarmkit_rpc::NoRemotes),
    /// The one that was picked cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] swarmkit_rpc::ConnectError),
    /// It took too long.
    #[error("no manager could be reached in time")]
    TimedOut,
}

/// Why a session ended, or none came about. The agent tries again with the next manager.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The manager did not open the session in time.
    #[error("session initiation timed out")]
    NotOpened,
    /// The manager refused a call, or the connection broke.
    #[error("{}: {}", .0.code(), .0.message())]
    Refused(#[from] tonic::Status),
    /// The manager did not answer in time.
    #[error("the manager did not answer {0} in time")]
    NoAnswer(&'static str),
    /// The manager ended a stream that should go on.
    #[error("the manager ended {0}")]
    Ended(&'static str),
    /// Time and again the manager left out some of what it had to send.
    #[error("the manager keeps leaving out assignments")]
    Gaps,
    /// The agent itself is about to end.
    #[error("agent: closed")]
    Closed,
}
