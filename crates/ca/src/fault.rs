//! What a failed handshake means to the person who has to mend it.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_seconds as rfc3339;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use rustls_pki_types::UnixTime;

/// Why a TLS handshake failed. Each is one line that names the cause.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFault {
    /// The other side's certificate is past its end, by this machine's clock.
    #[error("the peer's certificate expired at {}, and this machine's clock says {}: check the clocks, then the peer's renewal", rfc3339(*not_after), rfc3339(*now))]
    Expired {
        /// When it ended.
        not_after: SystemTime,
        /// What this machine's clock says.
        now: SystemTime,
    },
    /// The other side's certificate has not begun, by this machine's clock.
    #[error("the peer's certificate is valid from {}, and this machine's clock says {}: check this machine's clock", rfc3339(*not_before), rfc3339(*now))]
    NotYetValid {
        /// When it begins.
        not_before: SystemTime,
        /// What this machine's clock says.
        now: SystemTime,
    },
    /// The other side belongs to another cluster.
    #[error("the peer's certificate is not signed by a root CA that this node trusts")]
    Untrusted,
    /// The other side is of the right cluster but not in the role that was called for.
    #[error("the peer's certificate does not carry the role that was called for")]
    WrongRole,
    /// The other side found this node's certificate out of time.
    #[error("the peer says that this node's certificate is out of date: check this machine's clock, then renew")]
    OwnExpired,
    /// The other side does not trust this node's certificate.
    #[error("the peer does not trust this node's certificate: it may belong to another cluster")]
    OwnUntrusted,
    /// The other side is a manager that waits for its unlock key, and can prove nothing until it has it.
    #[error("the manager there is locked, and waits for its unlock key")]
    Locked,
    /// The other side speaks something else.
    #[error("the peer does not speak TLS: another program may listen there")]
    NotTls,
    /// The other side went away in the middle.
    #[error("the peer closed the connection during the TLS handshake")]
    Closed,
    /// Anything else; the text is for the log.
    #[error("TLS handshake failed: {0}")]
    Other(String),
}

impl TlsFault {
    /// Reads what rustls reports, alone or inside an I/O error. `None` when it is about something else.
    #[must_use]
    pub fn from_io(error: &std::io::Error) -> Option<Self> {
        let inner = error.get_ref()?.downcast_ref::<Error>()?;
        Some(Self::from(inner))
    }
}

impl From<&Error> for TlsFault {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => certificate(error),
            Error::AlertReceived(alert) => alert_received(*alert),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge
                | InvalidMessage::InvalidEmptyPayload,
            ) => Self::NotTls,
            other => Self::Other(other.to_string()),
        }
    }
}

fn certificate(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            TlsFault::Expired { not_after: system_time(*not_after), now: system_time(*time) }
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            TlsFault::NotYetValid { not_before: system_time(*not_before), now: system_time(*time) }
        }
        // All self-made roots bear the same name, so another cluster's shows as a signature that does not fit.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsFault::Untrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TlsFault::WrongRole,
        other => TlsFault::Other(other.to_string()),
    }
}

/// What a peer sends when it refuses this node: rustls tells why, Go only that the certificate was bad.
fn alert_received(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::CertificateExpired => TlsFault::OwnExpired,
        // What a locked manager of ours answers. Whoever else does has closed its door as well.
        AlertDescription::AccessDenied => TlsFault::Locked,
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError => TlsFault::OwnUntrusted,
        AlertDescription::NoApplicationProtocol => TlsFault::Other("the peer speaks no HTTP/2".to_owned()),
        other => TlsFault::Other(format!("the peer answered {other:?}")),
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs())
}
