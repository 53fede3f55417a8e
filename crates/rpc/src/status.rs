//! Errors on the wire: the one place that turns them into gRPC codes and HTTP status numbers.

use tonic::{Code, Status};

use crate::metadata;

/// What a caller learns about a failure besides its text. The names are gRPC's; nothing else goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// The caller went away.
    Cancelled,
    /// Upstream classifies the failure no further, and clients go by its text.
    Unknown,
    /// The request is wrong whatever the state of the cluster.
    InvalidArgument,
    /// The call took longer than its caller wanted to wait. It may have had its effect.
    DeadlineExceeded,
    /// What the request names does not exist.
    NotFound,
    /// What the request would make exists already.
    AlreadyExists,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// A limit is reached; waiting may help.
    ResourceExhausted,
    /// The state of the cluster forbids it now.
    FailedPrecondition,
    /// Another change came first; read anew and try again.
    Aborted,
    /// A number is beyond what is there.
    OutOfRange,
    /// This server does not know how.
    Unimplemented,
    /// A defect here.
    Internal,
    /// The server cannot serve now; another one, or this one later, can.
    Unavailable,
    /// The caller is not known, and must be.
    Unauthenticated,
}

/// An error that a service answers with.
///
/// Its text goes to the caller as it is, so it must hold no secrets; clients match on some texts.
pub trait ServiceError: std::error::Error {
    /// What the caller can do about it.
    fn code(&self) -> ErrorCode;

    /// Whether nothing was done for the sole reason that this manager does not lead (any more), so that a manager which
    /// has passed the call on may ask the new leader.
    fn is_undone(&self) -> bool {
        false
    }

    /// The answer.
    fn to_status(&self) -> Status {
        let status = Status::new(self.code().to_grpc(), self.to_string());
        if self.is_undone() { metadata::undone(status) } else { status }
    }
}

// === impl ErrorCode ===

impl ErrorCode {
    /// The code of a gRPC answer.
    #[must_use]
    pub fn to_grpc(self) -> Code {
        match self {
            Self::Cancelled => Code::Cancelled,
            Self::Unknown => Code::Unknown,
            Self::InvalidArgument => Code::InvalidArgument,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::PermissionDenied => Code::PermissionDenied,
            Self::ResourceExhausted => Code::ResourceExhausted,
            Self::FailedPrecondition => Code::FailedPrecondition,
            Self::Aborted => Code::Aborted,
            Self::OutOfRange => Code::OutOfRange,
            Self::Unimplemented => Code::Unimplemented,
            Self::Internal => Code::Internal,
            Self::Unavailable => Code::Unavailable,
            Self::Unauthenticated => Code::Unauthenticated,
        }
    }

    /// What a gRPC answer says. Lost data is told as a defect, and success as an unknown failure.
    #[must_use]
    pub fn from_grpc(code: Code) -> Self {
        match code {
            Code::Cancelled => Self::Cancelled,
            Code::Ok | Code::Unknown => Self::Unknown,
            Code::InvalidArgument => Self::InvalidArgument,
            Code::DeadlineExceeded => Self::DeadlineExceeded,
            Code::NotFound => Self::NotFound,
            Code::AlreadyExists => Self::AlreadyExists,
            Code::PermissionDenied => Self::PermissionDenied,
            Code::ResourceExhausted => Self::ResourceExhausted,
            Code::FailedPrecondition => Self::FailedPrecondition,
            Code::Aborted => Self::Aborted,
            Code::OutOfRange => Self::OutOfRange,
            Code::Unimplemented => Self::Unimplemented,
            Code::Internal | Code::DataLoss => Self::Internal,
            Code::Unavailable => Self::Unavailable,
            Code::Unauthenticated => Self::Unauthenticated,
        }
    }

    /// The status number of an HTTP answer, as Docker's engine gives it.
    #[must_use]
    pub fn to_http(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::FailedPrecondition | Self::OutOfRange => 400,
            Self::Unauthenticated => 401,
            Self::PermissionDenied => 403,
            Self::NotFound => 404,
            Self::AlreadyExists => 409,
            Self::Cancelled
            | Self::Unknown
            | Self::DeadlineExceeded
            | Self::ResourceExhausted
            | Self::Aborted
            | Self::Internal => 500,
            Self::Unimplemented => 501,
            Self::Unavailable => 503,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire() {
        for number in 1..=16 {
            let grpc = Code::from(number);
            let back = ErrorCode::from_grpc(grpc).to_grpc();
            assert_eq!(back, if grpc == Code::DataLoss { Code::Internal } else { grpc });
        }
    }

    #[test]
    fn an_error_goes_to_the_caller_with_its_own_words() {
        #[derive(Debug, thiserror::Error)]
        #[error("object does not exist")]
        struct Missing;

        impl ServiceError for Missing {
            fn code(&self) -> ErrorCode {
                ErrorCode::NotFound
            }
        }

        let status = Missing.to_status();
        assert_eq!((status.code(), status.message()), (Code::NotFound, "object does not exist"));
        assert_eq!(Missing.code().to_http(), 404);
    }
}
