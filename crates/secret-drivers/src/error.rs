//! Why there is no value.

/// Why a driver has not provided a secret. The texts reach operators, in the manager's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The secret names no driver: it has a value of its own.
    #[error("the secret has no driver")]
    NoDriver,
    /// This manager does not have the driver. Each manager needs it, since each may lead.
    #[error("this manager has no secret driver \"{0}\"; each manager needs it")]
    NotInstalled(String),
    /// It was not reached, or what it said was no answer. Ask again.
    #[error("{0}")]
    Unavailable(String),
    /// It did not answer in time. Ask again.
    #[error("no answer within {0} seconds")]
    TimedOut(u64),
    /// It says no.
    #[error("{0}")]
    Refused(String),
    /// What it provides is empty, or larger than a secret may be.
    #[error("a value of {0} bytes is no secret: at least 1, fewer than {limit}", limit = crate::SECRET_BYTES_LIMIT)]
    BadSize(usize),
}
