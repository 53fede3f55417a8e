//! Why a call was refused, or ended before its time.

use swarmkit_api::wire::swarmkit::exec::v1::{Failure, failure::Reason};
use swarmkit_rpc::{ErrorCode, ServiceError};

/// Why a call was refused, or ended before its time. The texts are for whoever made the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// This manager does not lead: ask again.
    #[error("this manager does not lead")]
    NotRunning,
    /// A term is running already.
    #[error("broker is already running")]
    AlreadyRunning,
    /// The request cannot be understood, or is not allowed.
    #[error("{0}")]
    Invalid(String),
    /// There is no such task or node.
    #[error("{0} not found")]
    NotFound(String),
    /// The task does not run.
    #[error("task {task} is not running: it is {state}")]
    NotThere {
        /// The task.
        task: String,
        /// Its state, as the wire names it.
        state: String,
    },
    /// The cluster does not allow it.
    #[error("commands in tasks are forbidden in this cluster; `swarmctl cluster update --exec allow` allows them")]
    Forbidden,
    /// The node is away.
    #[error("node {0} is down")]
    Down(String),
    /// The node is there and takes no calls.
    #[error(
        "node {0} takes no calls: it runs a Docker Engine or an older agent, or has lost its manager at this moment"
    )]
    Deaf(String),
    /// The node was told of the call and did not come for it.
    #[error("node {0} did not answer in time")]
    Silent(String),
    /// The node went away while it served the call.
    #[error("the connection with node {0} was lost; the command is ended there")]
    Lost(String),
    /// Another manager has taken over, or this one is about to end.
    #[error("the manager that carried the call leads no more; the command is ended. Run it again")]
    LeaderChanged,
    /// There are as many calls as there may be.
    #[error("there are {0} calls to {1} already, which is the limit; try again when one of them has ended")]
    TooMany(usize, String),
    /// The node serves a call that is not there, or not for it, or served already.
    #[error("unknown call")]
    UnknownCall,
    /// A side has sent what it may not send now.
    #[error("{0}")]
    Protocol(&'static str),
    /// The first message did not come in time.
    #[error("the call was not made in time")]
    NoCall,
    /// The node says why it came to nothing.
    #[error("{}", .0.message)]
    Failed(Failure),
}

impl ServiceError for ExecError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotRunning | Self::Down(_) | Self::Silent(_) | Self::Lost(_) | Self::LeaderChanged => {
                ErrorCode::Unavailable
            }
            Self::AlreadyRunning => ErrorCode::Internal,
            Self::Invalid(_) | Self::Protocol(_) => ErrorCode::InvalidArgument,
            Self::NotFound(_) | Self::UnknownCall => ErrorCode::NotFound,
            Self::NotThere { .. } | Self::Deaf(_) => ErrorCode::FailedPrecondition,
            Self::Forbidden => ErrorCode::PermissionDenied,
            Self::TooMany(..) => ErrorCode::ResourceExhausted,
            Self::NoCall => ErrorCode::DeadlineExceeded,
            Self::Failed(failure) => match failure.reason() {
                Reason::Refused | Reason::NotFound | Reason::NotExecutable => ErrorCode::FailedPrecondition,
                Reason::Unsupported => ErrorCode::Unimplemented,
                Reason::Unavailable => ErrorCode::Unavailable,
            },
        }
    }
}
