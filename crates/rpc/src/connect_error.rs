//! Why a connection could not be made, each in one line that names the cause.

use std::{io, time::Duration};

use swarmkit_ca::TlsFault;
use tonic::Status;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nobody is there: wrong address, or the server does not run, or a firewall says no.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// What was dialled.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Nothing came back in time.
    #[error("{address} did not answer within {} ms", after.as_millis())]
    TimedOut {
        /// What was dialled.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection was taken, and then nothing was said on it: another program, or a manager that is held up.
    #[error("{address} took the connection and said nothing within {} ms", after.as_millis())]
    Silent {
        /// What was dialled.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The handshake failed; the fault says what to mend.
    #[error("{address}: {fault}")]
    Tls {
        /// What was dialled, or who called.
        address: String,
        /// Why.
        #[source]
        fault: TlsFault,
    },
    /// Somebody is there and speaks something else.
    #[error("{address} does not speak gRPC: another program may listen there")]
    NotGrpc {
        /// What was dialled.
        address: String,
    },
    /// The connection broke while it was being made.
    #[error("{address} closed the connection: {reason}")]
    Closed {
        /// What was dialled, or who called.
        address: String,
        /// What was seen.
        reason: String,
    },
}

impl ConnectError {
    /// Whether trying again later can help without anybody mending anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Silent { .. } | Self::Closed { .. } => true,
            Self::Tls { fault, .. } => matches!(fault, TlsFault::Closed | TlsFault::Locked),
            Self::NotGrpc { .. } => false,
        }
    }

    /// An error before anything was said.
    pub(crate) fn unreachable(address: &str, error: &io::Error) -> Self {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::NotFound => "no such file".to_owned(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route to it".to_owned(),
            _ => error.to_string(),
        };
        Self::Unreachable { address: address.to_owned(), reason }
    }

    /// There is no such name.
    pub(crate) fn unknown_name(address: &str, error: &io::Error) -> Self {
        Self::Unreachable { address: address.to_owned(), reason: format!("its name is not known ({error})") }
    }

    /// An error once the connection stood.
    pub(crate) fn broken(address: &str, error: &io::Error) -> Self {
        match (TlsFault::from_io(error), error.kind()) {
            (Some(fault), _) => Self::Tls { address: address.to_owned(), fault },
            (None, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                Self::Tls { address: address.to_owned(), fault: TlsFault::Closed }
            }
            (None, _) => Self::Closed { address: address.to_owned(), reason: error.to_string() },
        }
    }
}

/// The server is not to be had now, whatever the reason: callers look for another one.
impl From<ConnectError> for Status {
    fn from(error: ConnectError) -> Self {
        Self::unavailable(error.to_string())
    }
}
