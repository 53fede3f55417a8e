//! What can go wrong with a certificate.

use std::time::SystemTime;

use humantime::format_rfc3339_seconds as rfc3339;
use swarmkit_api::{NodeId, NodeRole};
use swarmkit_rpc::{ErrorCode, ServiceError};
use swarmkit_store::{ProposeError, StoreError};

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request holds no signing request, or names no node.
    #[error("{0}")]
    Incomplete(&'static str),
    /// Neither a certificate of this cluster nor a token that it knows.
    #[error("A valid join token is necessary to join this cluster")]
    NoToken,
    /// The node is not, or no longer, a member of this cluster.
    #[error("node {0} not found when attempting to renew certificate")]
    UnknownNode(NodeId),
    /// The node is not known.
    #[error("node {0} not found")]
    NotFound(NodeId),
    /// The proof of an old certificate does not hold.
    #[error("the old certificate does not prove which node this was: {0}")]
    Unproven(#[source] swarmkit_ca::Error),
    /// The node was removed from the cluster, and comes back only as another one.
    #[error("Permission denied: node {0} was removed from swarm")]
    Removed(NodeId),
    /// A node comes back with the token of another role than it has now.
    #[error("node {node} is a {}: the join token for {}s is necessary", word(*role), word(*role))]
    OtherRole {
        /// Which node.
        node: NodeId,
        /// What it is now.
        role: NodeRole,
    },
    /// A newer certificate of the node is in time: whoever has it is the node.
    #[error("node {node} has a newer certificate, until {}", rfc3339(*until))]
    Replaced {
        /// Which node.
        node: NodeId,
        /// When the newer one ends.
        until: SystemTime,
    },
    /// The certificate was not issued while the caller waited. Ask again.
    #[error("the certificate of node {0} is not issued yet")]
    NotYet(NodeId),
    /// The cluster is not in the store yet.
    #[error("CA signer is still starting")]
    Starting,
    /// This manager is stopping. Another one will answer.
    #[error("CA signer is stopped")]
    Stopped,
    /// So many nodes wait for their certificates that no more are admitted. Try again later.
    #[error("too many nodes wait for their certificates; try again later")]
    Crowded,
    /// The unlock key in the store is none.
    #[error("the unlock key of the cluster cannot be used: {0}")]
    Lock(#[source] swarmkit_ca::Error),
    /// The root of trust in the store cannot sign.
    #[error("the root certificate of the cluster cannot be used: {0}")]
    Root(#[source] swarmkit_ca::Error),
    /// The authorities outside of the cluster, who keep its key, do not answer.
    #[error("no certificate can be signed: {0}")]
    External(#[source] swarmkit_ca::ExternalCaError),
    /// The store refused the write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Error {
    /// Whether what failed may work later, while this manager leads.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Starting | Self::Root(_) | Self::External(_) => true,
            Self::Store(error) => error.is_transient(),
            Self::Incomplete(_)
            | Self::NoToken
            | Self::UnknownNode(_)
            | Self::NotFound(_)
            | Self::Unproven(_)
            | Self::Removed(_)
            | Self::OtherRole { .. }
            | Self::Replaced { .. }
            | Self::NotYet(_)
            | Self::Crowded
            | Self::Lock(_)
            | Self::Stopped => false,
        }
    }
}

fn word(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

impl ServiceError for Error {
    fn is_undone(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_leader())
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Incomplete(_) | Self::NoToken => ErrorCode::InvalidArgument,
            Self::UnknownNode(_) | Self::NotFound(_) => ErrorCode::NotFound,
            Self::Unproven(_) | Self::Removed(_) | Self::Replaced { .. } => ErrorCode::PermissionDenied,
            Self::OtherRole { .. } => ErrorCode::InvalidArgument,
            Self::NotYet(_) => ErrorCode::DeadlineExceeded,
            Self::Starting | Self::Stopped => ErrorCode::Aborted,
            Self::Crowded => ErrorCode::ResourceExhausted,
            Self::Root(_) | Self::Lock(_) => ErrorCode::Internal,
            Self::External(_) => ErrorCode::Unavailable,
            Self::Store(StoreError::Propose(ProposeError::TooLarge { .. })) => ErrorCode::InvalidArgument,
            Self::Store(_) => ErrorCode::Unavailable,
        }
    }
}
