//! What a dispatcher refuses, in the words and codes that agents know.

use swarmkit_api::{NodeId, TaskId};
use swarmkit_rpc::{ErrorCode, ServiceError};
use swarmkit_store::{ProposeError, StoreError};

/// Why a call was refused, or a term ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DispatcherError {
    /// This manager does not lead: ask another one.
    #[error("dispatcher is stopped")]
    Stopped,
    /// It stopped leading while the session was open: register with the new leader.
    #[error("node must disconnect")]
    MustDisconnect,
    /// It stopped leading while a stream was open.
    #[error("context canceled")]
    Cancelled,
    /// A term is running already.
    #[error("dispatcher is already running")]
    AlreadyRunning,
    /// The node has no session, or lost it: register again.
    #[error("node not registered")]
    NotRegistered,
    /// The node has another session, or not yet one: register again.
    #[error("session invalid")]
    SessionInvalid,
    /// The node is no member of the cluster.
    #[error("node not found")]
    NodeNotFound,
    /// The node registers too often.
    #[error("node {0} exceeded rate limit count of registrations")]
    TooManyRegistrations(NodeId),
    /// A task in the request belongs to another node. Nothing of the request was taken.
    #[error("cannot update a task not assigned this node")]
    ForeignTask(TaskId),
    /// What was reported could not be recorded; report it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ServiceError for DispatcherError {
    fn is_undone(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_leader())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Stopped | Self::MustDisconnect => ErrorCode::Aborted,
            Self::Cancelled => ErrorCode::Cancelled,
            Self::AlreadyRunning => ErrorCode::Internal,
            Self::NotRegistered => ErrorCode::NotFound,
            Self::SessionInvalid => ErrorCode::InvalidArgument,
            Self::NodeNotFound => ErrorCode::Unknown,
            Self::TooManyRegistrations(_) => ErrorCode::Unavailable,
            Self::ForeignTask(_) => ErrorCode::PermissionDenied,
            Self::Store(StoreError::Propose(ProposeError::TooLarge { .. })) => ErrorCode::ResourceExhausted,
            Self::Store(StoreError::Propose(_)) => ErrorCode::Unavailable,
            Self::Store(_) => ErrorCode::Internal,
        }
    }
}
