//! What can be wrong with a request, told in terms of what its caller can do.

use swarmkit_rpc::{ErrorCode, ServiceError};
use swarmkit_store::StoreError;

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
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::NameTaken { .. } | Self::AlreadyPresent(_) => ErrorCode::AlreadyExists,
            Self::Precondition(_) => ErrorCode::FailedPrecondition,
            Self::Unsupported(_) => ErrorCode::Unimplemented,
            Self::Denied(_) => ErrorCode::PermissionDenied,
            Self::Store(error) => crate::store_code(error),
        }
    }
}
