//! What to do about a join that has failed: one sentence, where there is something better to say than the cause itself.

use std::fmt;

use swarmkit_ca::{Error as CaError, TlsFault};
use swarmkit_rpc::{ConnectError, FetchError, is_leaderless};
use tonic::Code;

use crate::JoinError;

/// How a manager's text about an unknown token begins, as upstream's.
const NO_TOKEN: &str = "A valid join token is necessary";

/// What to do next. Shown, it goes on with the sentence that names the cause.
pub(crate) struct Advice(pub(crate) Option<&'static str>);

impl Advice {
    /// On a cluster that could not be joined.
    pub(crate) fn on(error: &JoinError) -> Self {
        Self(next(error))
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |next| write!(f, "; {next}"))
    }
}

fn next(error: &JoinError) -> Option<&'static str> {
    match error {
        JoinError::Clock { .. } => Some("set it, for example with NTP, and start again"),
        JoinError::Token(_) => Some(
            "a token begins with SWMTKN-1- and has 85 characters; `swarmctl cluster inspect default` on a \
             manager shows it whole",
        ),
        JoinError::Roots(error) => roots(error),
        JoinError::Connect(error) => connect(error),
        JoinError::Refused { status, .. } => match status.code() {
            _ if is_leaderless(status) => Some(LEADERLESS),
            Code::InvalidArgument if status.message().starts_with(NO_TOKEN) => Some(
                "the token is one of this cluster, and its secret is not known or no longer: it may have been rotated. \
                 `swarmctl cluster inspect default` on a manager shows the present ones",
            ),
            Code::ResourceExhausted => Some(FULL),
            Code::DeadlineExceeded => Some(HELD_UP),
            _ => None,
        },
        JoinError::TooSlow { .. } => Some(
            "the leader cannot sign at present: its log says why, and where an external authority signs, that may be \
             down. Start again when it is back",
        ),
        JoinError::NotIssued { .. } => Some("the log of the leader says more"),
        JoinError::Unusable { source, .. } => match source {
            CaError::Expired { .. } | CaError::NotYetValid { .. } => Some(SAME_TIME),
            CaError::UnknownAuthority | CaError::BrokenChain => Some(
                "the root certificate of this state directory may be an old one: start over with an empty directory",
            ),
            _ => None,
        },
        JoinError::NoToken
        | JoinError::NoAddress
        | JoinError::Address { .. }
        | JoinError::Fips
        | JoinError::NoManager => None,
    }
}

const LEADERLESS: &str = "start the managers that are down, or read docs/recovery.md if they are lost";
const FULL: &str = "the cluster takes no more nodes in at this moment: start again in a while";
const HELD_UP: &str = "the manager may be overloaded, or wait for a leader: look at its log, and start again";
const SAME_TIME: &str =
    "compare the clocks of the two machines; if they agree, the manager's log says why its certificate is out of time";
const ANOTHER_PROGRAM: &str = "check the port: managers listen on 4242 unless they are told otherwise";

fn roots(error: &FetchError) -> Option<&'static str> {
    match error {
        FetchError::Connect(error) => connect(error),
        FetchError::NoManager { .. } => Some(ANOTHER_PROGRAM),
        FetchError::TooSlow { .. } => Some(HELD_UP),
        FetchError::Refused { status, .. } if is_leaderless(status) => Some(LEADERLESS),
        FetchError::Refused { status, .. } if status.code() == Code::ResourceExhausted => Some(FULL),
        FetchError::Roots { source: CaError::FingerprintMismatch { .. }, .. } => Some(
            "the token is of another cluster, or of a time before this one changed its root. \
             `swarmctl cluster inspect default` on a manager shows the present ones",
        ),
        FetchError::Roots { source: CaError::Expired { .. } | CaError::NotYetValid { .. }, .. } => Some(SAME_TIME),
        _ => None,
    }
}

fn connect(error: &ConnectError) -> Option<&'static str> {
    match error {
        ConnectError::Unreachable { reason, .. } if reason.contains("refused") => Some(
            "no manager listens there: check the address, and that the manager runs and listens on more than its own \
             loopback address",
        ),
        ConnectError::Unreachable { .. } => Some("check the address, and the network of this machine"),
        ConnectError::TimedOut { .. } => {
            Some("the machine is down, the address is another one's, or a firewall swallows the connection")
        }
        ConnectError::Silent { .. } => {
            Some("another program may listen there, or the manager is held up: check the port, and the manager's log")
        }
        ConnectError::NotGrpc { .. } => Some(ANOTHER_PROGRAM),
        ConnectError::Tls { fault, .. } => match fault {
            TlsFault::NotTls | TlsFault::Other(_) | TlsFault::Closed => Some(ANOTHER_PROGRAM),
            TlsFault::Locked => Some("on that machine, `swarmctl cluster unlock` takes the key"),
            TlsFault::Untrusted => Some(
                "the root certificate of this state directory is another cluster's: start over with an empty directory",
            ),
            TlsFault::Expired { .. } | TlsFault::NotYetValid { .. } => Some(SAME_TIME),
            TlsFault::WrongRole => Some("a worker or another program listens there"),
            _ => None,
        },
        _ => None,
    }
}
