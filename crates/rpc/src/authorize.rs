//! Who may call what: one decision, made from what is known about a request.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use swarmkit_api::{
    ClusterId, NodeId, NodeRole,
    access::{Caller, Method},
};
use swarmkit_ca::{Credentials, Identity};
use tonic::{Code, Status};

use crate::peer::{Origin, Peer};

/// What a server decides by: which cluster it belongs to, and which nodes were removed from it. Clones share it.
#[derive(Clone, Debug)]
pub struct Authority {
    own: Own,
    /// Where this node is reached: local calls count as coming from there.
    addr: Option<SocketAddr>,
    removed: Arc<ArcSwap<BTreeSet<NodeId>>>,
}

#[derive(Clone, Debug)]
enum Own {
    Credentials(Credentials),
    Fixed(Identity),
}

/// The caller that a manager vouches for when it passes a call on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vouched {
    pub(crate) node: String,
    pub(crate) cluster: String,
    pub(crate) roles: Vec<String>,
    pub(crate) addr: Option<SocketAddr>,
}

/// Why a caller is not served. The texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("Permission denied: unauthorized peer role: rpc error: code = PermissionDenied desc = {0}")]
    Direct(Reason),
    #[error("Permission denied: unauthorized forwarder role: rpc error: code = PermissionDenied desc = {0}")]
    Forwarder(Reason),
    #[error("Permission denied: missing information in forwarded request")]
    MissingInformation,
    #[error("Permission denied: unauthorized forwarded role, expecting: {0}")]
    ForwardedRole(String),
    #[error("Permission denied: organization mismatch, expecting: {0}")]
    ForwardedCluster(ClusterId),
    #[error("Permission denied: node {0} was removed from swarm")]
    ForwardedRemoved(NodeId),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("no client certificates in request")]
    NoCertificate,
    #[error("Permission denied: remote certificate not part of OUs: {0}")]
    Role(String),
    #[error("Permission denied: remote certificate not part of organization: {0}")]
    Cluster(ClusterId),
    #[error("Permission denied: node {0} was removed from swarm")]
    Removed(NodeId),
}

/// Whether a call was refused because that node, which made it, was removed from the cluster. It never comes back under
/// the same id, so trying again cannot help. The text is the only sign of it on the wire.
#[must_use]
pub fn is_removed(refusal: &Status, node: &NodeId) -> bool {
    refusal.code() == Code::PermissionDenied && refusal.message().ends_with(&Reason::Removed(node.clone()).to_string())
}

// === impl Authority ===

impl Authority {
    /// Decides by the certificate that this node shows.
    #[must_use]
    pub fn of(credentials: &Credentials) -> Self {
        Self::by(Own::Credentials(credentials.clone()))
    }

    /// Decides for a node that shows no certificate, because its transport needs none.
    #[must_use]
    pub fn fixed(own: Identity) -> Self {
        Self::by(Own::Fixed(own))
    }

    fn by(own: Own) -> Self {
        Self { own, addr: None, removed: Arc::default() }
    }

    /// Says where this node is reached, which is then the address that local calls come from.
    #[must_use]
    pub fn reached_at(self, addr: Option<SocketAddr>) -> Self {
        Self { addr, ..self }
    }

    /// Replaces the set of nodes whose certificates no longer count, though they still verify.
    pub fn set_removed(&self, nodes: BTreeSet<NodeId>) {
        self.removed.store(Arc::new(nodes));
    }

    /// Who this node is.
    #[must_use]
    pub fn own(&self) -> Identity {
        match &self.own {
            Own::Credentials(credentials) => credentials.identity(),
            Own::Fixed(own) => own.clone(),
        }
    }

    /// Whether a connection is a member's, whatever it may call: of this cluster, and not removed.
    pub(crate) fn is_member(&self, origin: &Origin) -> bool {
        match origin {
            Origin::Local => true,
            Origin::Remote { identity: None, .. } => false,
            Origin::Remote { identity: Some(identity), .. } => {
                identity.cluster == self.own().cluster && !self.removed.load().contains(&identity.node)
            }
        }
    }

    /// Whether a call may go on, and as whose.
    pub(crate) fn decide(&self, method: &Method, origin: &Origin, vouched: Option<&Vouched>) -> Result<Peer, Denied> {
        let own = self.own();
        match origin {
            Origin::Local => Ok(Peer { identity: Some(own), addr: self.addr, local: true, forwarded_by: None }),
            Origin::Remote { identity, addr } => {
                let removed = self.removed.load();
                let rules = Rules { cluster: &own.cluster, removed: &removed };
                match vouched {
                    None => rules.direct(method, identity.as_ref(), *addr),
                    Some(vouched) => rules.forwarded(method, identity.as_ref(), vouched),
                }
            }
        }
    }
}

/// The rules for callers on the network.
struct Rules<'a> {
    cluster: &'a ClusterId,
    removed: &'a BTreeSet<NodeId>,
}

impl Rules<'_> {
    fn direct(&self, method: &Method, identity: Option<&Identity>, addr: Option<SocketAddr>) -> Result<Peer, Denied> {
        let checked = self.check(identity, method.callers);
        let identity = match checked {
            Ok(identity) => Some(identity.clone()),
            // Anyone may call: a certificate that does not count is as good as none.
            Err(_) if is_open(method) => None,
            Err(reason) => return Err(Denied::Direct(reason)),
        };
        Ok(Peer { identity, addr, local: false, forwarded_by: None })
    }

    fn forwarded(&self, method: &Method, forwarder: Option<&Identity>, vouched: &Vouched) -> Result<Peer, Denied> {
        let forwarder = self.check(forwarder, &[Caller::Manager]).map_err(Denied::Forwarder)?;
        let identity = match self.vouched(method, vouched) {
            Ok(identity) => Some(identity),
            Err(_) if is_open(method) => None,
            Err(denied) => return Err(denied),
        };
        Ok(Peer { identity, addr: vouched.addr, local: false, forwarded_by: Some(forwarder.node.clone()) })
    }

    /// Whether a certificate makes its holder one of `callers`.
    fn check<'i>(&self, identity: Option<&'i Identity>, callers: &[Caller]) -> Result<&'i Identity, Reason> {
        let identity = identity.ok_or(Reason::NoCertificate)?;
        if !serves(callers, identity.role) {
            return Err(Reason::Role(listed(callers)));
        }
        if self.removed.contains(&identity.node) {
            return Err(Reason::Removed(identity.node.clone()));
        }
        if identity.cluster != *self.cluster {
            return Err(Reason::Cluster(self.cluster.clone()));
        }
        Ok(identity)
    }

    fn vouched(&self, method: &Method, vouched: &Vouched) -> Result<Identity, Denied> {
        if vouched.node.is_empty() || vouched.cluster.is_empty() || vouched.roles.is_empty() {
            return Err(Denied::MissingInformation);
        }
        let roles = vouched.roles.iter().filter_map(|role| Caller::from_organizational_unit(role)).filter_map(role_of);
        let role = roles.filter(|&role| serves(method.callers, role)).max();
        let role = role.ok_or_else(|| Denied::ForwardedRole(listed(method.callers)))?;
        let node = NodeId::from(vouched.node.as_str());
        if self.removed.contains(&node) {
            return Err(Denied::ForwardedRemoved(node));
        }
        if vouched.cluster != self.cluster.as_str() {
            return Err(Denied::ForwardedCluster(self.cluster.clone()));
        }
        Ok(Identity::new(node, role, self.cluster.clone()))
    }
}

/// Whether anyone may call it.
pub(crate) fn is_open(method: &Method) -> bool {
    method.callers.contains(&Caller::Anyone)
}

fn serves(callers: &[Caller], role: NodeRole) -> bool {
    let caller = match role {
        NodeRole::Worker => Caller::Worker,
        NodeRole::Manager => Caller::Manager,
    };
    callers.contains(&caller) || callers.contains(&Caller::Anyone)
}

fn role_of(caller: Caller) -> Option<NodeRole> {
    match caller {
        Caller::Anyone => None,
        Caller::Worker => Some(NodeRole::Worker),
        Caller::Manager => Some(NodeRole::Manager),
    }
}

/// Roles as upstream prints them.
fn listed(callers: &[Caller]) -> String {
    let names: Vec<_> = callers.iter().filter_map(|caller| caller.organizational_unit()).collect();
    format!("[{}]", names.join(" "))
}

#[cfg(test)]
mod tests;
