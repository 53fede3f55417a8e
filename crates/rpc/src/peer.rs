//! Who is calling: the typed form in which handlers learn it.

use std::net::SocketAddr;

use swarmkit_api::{NodeId, NodeRole};
use swarmkit_ca::Identity;
use tonic::Status;

/// Where a connection comes from, as its transport has verified it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The network. Without an identity the other side showed no certificate.
    Remote {
        /// Who the other side's certificate says it is.
        identity: Option<Identity>,
        /// Its address, where there is one.
        addr: Option<SocketAddr>,
    },
    /// A socket on this machine that only its owner may open: calls count as this node's own.
    Local,
}

impl Origin {
    /// Its address, where there is one.
    pub(crate) fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Remote { addr, .. } => *addr,
            Self::Local => None,
        }
    }
}

/// The caller of one request, after authorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node that calls; none where the method is for anyone and the caller has shown no certificate that counts.
    /// For a local call it is this node.
    pub identity: Option<Identity>,
    /// The caller's address, where it is known. A forwarded call keeps that of its first sender.
    pub addr: Option<SocketAddr>,
    /// The call came through the local socket.
    pub local: bool,
    /// The manager that passed the call on.
    pub forwarded_by: Option<NodeId>,
}

impl Peer {
    /// The caller of a request that came through [`Services`](crate::Services).
    ///
    /// # Errors
    ///
    /// `Internal` when the request came another way, without being authorized.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let peer = request.extensions().get::<Self>();
        peer.cloned().ok_or_else(|| Status::internal("request was not authorized"))
    }

    /// The node that calls, for methods that only nodes may call.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` when the caller has shown no certificate.
    pub fn identity(&self) -> Result<&Identity, Status> {
        self.identity
            .as_ref()
            .ok_or_else(|| Status::permission_denied("Permission denied: no client certificates in request"))
    }

    /// Whether the caller is a manager of this cluster.
    #[must_use]
    pub fn is_manager(&self) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.role == NodeRole::Manager)
    }
}
