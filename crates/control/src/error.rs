//! What can be wrong with a request, told in terms of what its caller can do.

use swarmkit_rpc::{ErrorCode, ServiceError};
use swarmkit_store::{ProposeError, StoreError};

/// Why a request was not carried out. Nothing changed in that case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The request itself must be changed. The text names what is wrong with it.
    #[error("{0}")]
    Invalid(String),
    /// There is no such object.
    #[error("{kind} {id} not found")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// The id that was given.
        id: String,
    },
    /// The name is taken.
    #[error("name conflicts with an existing object: {kind} {name} already exists")]
    NameTaken {
        /// The kind of object.
        kind: &'static str,
        /// The name that was given.
        name: String,
    },
    /// There may be one of these only, and it exists.
    #[error("{0}")]
    AlreadyPresent(String),
    /// Something else in the cluster must change first. The text says what.
    #[error("{0}")]
    Precondition(String),
    /// This cannot be asked for, now or later.
    #[error("{0}")]
    Unsupported(String),
    /// There is no such manager among those who agree on what is stored.
    #[error("can't find manager in raft memberlist")]
    NoMember,
    /// The root of trust in the store cannot be used for what was asked.
    #[error("{0}")]
    Authority(String),
    /// What was asked for is reserved to the cluster itself.
    #[error("{0}")]
    Denied(String),
    /// The store refused the write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ControlError {
    /// A request that must be changed.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// A request without what it cannot do without.
    pub(crate) fn missing_argument() -> Self {
        Self::Invalid("invalid argument".to_owned())
    }
}

impl ServiceError for ControlError {
    fn is_undone(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_leader())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } | Self::NoMember => ErrorCode::NotFound,
            Self::NameTaken { .. } | Self::AlreadyPresent(_) => ErrorCode::AlreadyExists,
            Self::Precondition(_) => ErrorCode::FailedPrecondition,
            Self::Unsupported(_) => ErrorCode::Unimplemented,
            Self::Authority(_) => ErrorCode::Internal,
            Self::Denied(_) => ErrorCode::PermissionDenied,
            Self::Store(error) => store_code(error),
        }
    }
}

/// How the store's refusals are classified on the wire.
fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Exists | StoreError::NameConflict => ErrorCode::AlreadyExists,
        StoreError::NotFound => ErrorCode::NotFound,
        StoreError::OutOfSequence => ErrorCode::Unknown,
        StoreError::Propose(ProposeError::TooLarge { .. }) => ErrorCode::InvalidArgument,
        StoreError::Propose(_) => ErrorCode::Unavailable,
        // The other rules of the store are about the object that was sent.
        _ => ErrorCode::InvalidArgument,
    }
}
