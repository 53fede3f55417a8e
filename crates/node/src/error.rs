//! Why a node cannot start, or has ended. Each text is one line that names the cause.

use std::{io, path::PathBuf};

use humantime::format_rfc3339_seconds as rfc3339;
use swarmkit_agent::AgentError;
use swarmkit_allocator::NetworkError;
use swarmkit_api::{ClusterId, NodeRole};
use swarmkit_ca::{Error as CaError, TlsFault};
use swarmkit_raft::RaftError;
use swarmkit_rpc::{ClockReading, ConnectError, FetchError};
use swarmkit_runtime::PartError;
use tonic::{Code, Status};

use crate::advice::Advice;

/// Why a node cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The state directory cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    StateDir {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Networks cannot be as it was asked for.
    #[error(transparent)]
    Networks(#[from] NetworkError),
    /// Another node works with the state directory. Stop it first.
    #[error("{} is in use by another node", path.display())]
    InUse {
        /// The state directory.
        path: PathBuf,
    },
    /// A file in the state directory holds something else than it should.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates in the state directory cannot be used. The text says whether the clock, the files or another
    /// cluster is the reason.
    #[error("error while loading TLS certificate in {}: {source}", path.display())]
    Identity {
        /// The state directory.
        path: PathBuf,
        /// What is wrong.
        source: swarmkit_ca::Error,
    },
    /// The time of the node's certificate is over, and it was not given what it needs to come back.
    #[error("error while loading TLS certificate in {}: {source}; {}", path.display(), mend(*role))]
    Expired {
        /// The state directory.
        path: PathBuf,
        /// The role in the certificate.
        role: NodeRole,
        /// When it ended.
        source: swarmkit_ca::Error,
    },
    /// The node's key is encrypted, and cannot be read without the cluster's unlock key.
    #[error("node is locked, and needs a valid unlock key")]
    Locked,
    /// The state is that of another cluster than the certificate.
    #[error("the node is one of cluster {own}, and the state is that of cluster {found}")]
    AnotherCluster {
        /// What the certificate says.
        own: ClusterId,
        /// What the state says.
        found: ClusterId,
    },
    /// Nobody but an external authority can make a certificate of this cluster.
    #[error("the key of the cluster's root is kept by an external authority, which alone can make a certificate")]
    ExternalRoot,
    /// A root that is made now has no authority outside of the cluster that could sign for it.
    #[error(
        "no external CA can sign for a root that is made here: put the root that it signs for, and a manager's certificate \
         and key of it, into {}, or say with cacert= which root it is for",
        path.display()
    )]
    NothingToSignFor {
        /// The folder of certificates.
        path: PathBuf,
    },
    /// The cluster demands validated cryptography, which this node has not.
    #[error("node is not FIPS-enabled but cluster requires FIPS")]
    Fips,
    /// A new identity could not be made or kept.
    #[error(transparent)]
    Certificates(swarmkit_ca::Error),
    /// The time of the node's certificate is over, and the cluster does not take it back.
    #[error("the certificate of this node has expired, and it cannot come back: {}{}", .0, Advice::on(.0))]
    Return(#[source] JoinError),
    /// The cluster could not be joined.
    #[error("cannot join the cluster: {}{}", .0, Advice::on(.0))]
    Join(#[from] JoinError),
    /// The manager beside the agent cannot start, or has ended.
    #[error("manager stopped: {0}")]
    Manager(#[from] swarmkit_manager::Error),
    /// A manager's certificate without the log of its cluster, and no other manager to join again: what the cluster had
    /// decided is not here.
    #[error(
        "{} holds a manager's certificate and no log, and no other manager is known: restore its raft folder, name a \
         manager to join, or start over with an empty directory",
        path.display()
    )]
    NoLog {
        /// The state directory.
        path: PathBuf,
    },
    /// The log of a cluster without the certificate of its manager. Founding another cluster over it would lose both.
    #[error(
        "{} holds the log of a cluster and no certificate: restore its certificates folder, or start over with an empty \
         directory",
        path.display()
    )]
    NoIdentity {
        /// The state directory.
        path: PathBuf,
    },
    /// Only a manager with its log can go on alone.
    #[error("{} is not the state of a manager: only one of the lost cluster's managers can go on alone", path.display())]
    NotAlone {
        /// The state directory.
        path: PathBuf,
    },
    /// A cluster can be restored into an empty directory only.
    #[error("{} is not empty: restore into an empty directory", path.display())]
    NotEmpty {
        /// The state directory.
        path: PathBuf,
    },
    /// What is there is a part of a cluster.
    #[error("the restore into {} was interrupted: run it again", path.display())]
    Unrestored {
        /// The state directory.
        path: PathBuf,
    },
    /// A cluster cannot be restored from this.
    #[error("the backup cannot be used: {0}")]
    Backup(String),
    /// The cluster has removed this node, and takes it back only as another one.
    #[error(
        "this node was removed from its cluster: to join again, start over with an empty directory in place of {}",
        path.display()
    )]
    Removed {
        /// The state directory.
        path: PathBuf,
    },
    /// It was told to stop before it was ready.
    #[error("stopped before the node was ready")]
    Stopped,
    /// The log cannot be looked at.
    #[error(transparent)]
    Log(#[from] RaftError),
    /// The agent cannot start, or has ended.
    #[error("agent stopped: {0}")]
    Agent(#[from] AgentError),
    /// A part ended before its time.
    #[error(transparent)]
    Part(#[from] PartError),
}

impl From<swarmkit_ca::Error> for NodeError {
    fn from(error: swarmkit_ca::Error) -> Self {
        match error {
            swarmkit_ca::Error::Locked => Self::Locked,
            error => Self::Certificates(error),
        }
    }
}

/// What to do about a certificate that is out of time.
fn mend(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => {
            "if that is what time it is, start the node with the join token for workers and the address of a manager, and it \
             comes back as it was"
        }
        NodeRole::Manager => {
            "if that is what time it is, start the node with the join token for managers and the address of another one, \
             and it comes back as it was; where none is left that works, renew its certificate with \
             `swarm-rafttool renew-certs`"
        }
    }
}

/// Why a cluster could not be joined, or a certificate not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// There is a manager to join, but no token and no certificate.
    #[error("a join token is necessary; `swarmctl cluster inspect default` on a manager shows it")]
    NoToken,
    /// There is a token, and no manager to show it to.
    #[error("a join token is of no use without the address of a manager to join")]
    NoAddress,
    /// The address of the manager is none.
    #[error("{address:?} is not the address of a manager: it takes a host and a port, as in 10.0.0.1:4242")]
    Address {
        /// What was given.
        address: String,
    },
    /// The token is none.
    #[error(transparent)]
    Token(swarmkit_ca::Error),
    /// The token is one of a cluster that demands validated cryptography, which this node has not.
    #[error("node is not FIPS-enabled but cluster requires FIPS")]
    Fips,
    /// The roots of the cluster could not be had, or are not the ones that the token pins.
    #[error(transparent)]
    Roots(#[from] FetchError),
    /// The manager could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The manager was reached, and refused.
    #[error("{address} {}", refusal(status))]
    Refused {
        /// Which manager.
        address: String,
        /// What it said.
        status: Box<Status>,
    },
    /// The manager has noted the request, and nothing came of it. Its certificate authority may be out of order.
    #[error("{address} took the request and made no certificate in time")]
    TooSlow {
        /// Which manager.
        address: String,
    },
    /// The certificate authority could not make a certificate.
    #[error("{address} made no certificate: {reason}")]
    NotIssued {
        /// Which manager.
        address: String,
        /// What it said.
        reason: String,
    },
    /// The clocks of this node and of the manager differ so much that certificates of the one are none to the other.
    #[error(
        "{clock} ({} here, {} there), so that the cluster's certificates cannot be used here",
        rfc3339(clock.here),
        rfc3339(clock.there)
    )]
    Clock {
        /// What they say.
        clock: ClockReading,
        /// How it showed.
        source: Box<JoinError>,
    },
    /// The certificate that came cannot be used.
    #[error("{address} sent a certificate that cannot be used: {source}")]
    Unusable {
        /// Which manager.
        address: String,
        /// What is wrong with it.
        source: swarmkit_ca::Error,
    },
    /// No manager is known that could be asked.
    #[error("no manager is known")]
    NoManager,
}

/// What a manager has done instead of answering. A deadline says nothing by itself, so it is told whose it was.
fn refusal(status: &Status) -> String {
    match status.code() {
        Code::DeadlineExceeded => "was reached and did not answer in time".to_owned(),
        _ => format!("refused: {}", status.message()),
    }
}

impl JoinError {
    /// Whether the manager has had too many callers without a certificate, and wants this one to come back later.
    #[must_use]
    pub(crate) fn is_crowded(&self) -> bool {
        match self {
            Self::Refused { status, .. } => status.code() == Code::ResourceExhausted,
            Self::Roots(FetchError::Refused { status, .. }) => status.code() == Code::ResourceExhausted,
            _ => false,
        }
    }

    /// What to do about a join that has failed so, where there is more to say than the cause.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        Advice::on(self).0
    }

    /// Whether it is about the time at which a certificate counts, so that a wrong clock may be the cause.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        let certificate = |error: &CaError| matches!(error, CaError::Expired { .. } | CaError::NotYetValid { .. });
        let handshake = |error: &ConnectError| match error {
            ConnectError::Tls { fault, .. } => {
                matches!(fault, TlsFault::Expired { .. } | TlsFault::NotYetValid { .. } | TlsFault::OwnExpired)
            }
            _ => false,
        };
        match self {
            Self::Roots(FetchError::Roots { source, .. }) | Self::Unusable { source, .. } => certificate(source),
            Self::Roots(FetchError::Connect(error)) | Self::Connect(error) => handshake(error),
            Self::Clock { .. } => true,
            _ => false,
        }
    }

    /// Whether trying again can help without anybody mending anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Roots(error) => error.is_transient(),
            Self::Connect(error) => error.is_transient(),
            Self::Refused { status, .. } => {
                let passes = [Code::Unavailable, Code::Aborted, Code::DeadlineExceeded, Code::ResourceExhausted];
                passes.contains(&status.code())
            }
            Self::NoManager => true,
            Self::NoToken
            | Self::NoAddress
            | Self::Address { .. }
            | Self::Token(_)
            | Self::Fips
            | Self::TooSlow { .. }
            | Self::NotIssued { .. }
            | Self::Clock { .. }
            | Self::Unusable { .. } => false,
        }
    }
}
