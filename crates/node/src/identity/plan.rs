//! What a node does first, by what its state directory holds and by what it was told: a table.
//!
//! Whatever cannot be read ends the start before this is asked: a damaged or locked file is named, and never replaced.

use std::path::Path;

use swarmkit_api::NodeRole;
use swarmkit_ca::{Credentials, Error as CaError, Identity, NodeCertificate};
use swarmkit_rpc::Remote;

use super::Wish;
use crate::{JoinError, NodeError, join::Target};

/// The certificate and the key of a node, as far as they are of use.
pub(super) enum Pair {
    /// Neither, or one of them without the other, which is of no use.
    None,
    /// Both, and no root that says to which cluster they belong.
    Unverified(NodeCertificate),
    /// Both, of the cluster whose root is there.
    Good(Credentials),
    /// The same, but for their time: it is over, as the error says.
    Expired(Credentials, CaError),
}

/// What a state directory holds.
pub(super) struct Held<'a> {
    pub(super) path: &'a Path,
    pub(super) pair: Pair,
    /// Whether there is the log of a manager: what a cluster has decided, perhaps the last copy of it.
    pub(super) log: bool,
}

/// What comes next.
pub(super) enum Step<'a> {
    /// It is who its certificate says.
    GoOn(Credentials),
    /// Ask the managers that are known for another certificate of the same node, with the token.
    Return(Credentials, &'a str, Vec<Remote>),
    /// Ask the manager for its root, to which the certificate may belong.
    LearnRoot(&'a Target, NodeCertificate),
    /// Ask the manager for a certificate.
    Join(&'a Target),
    /// Make a cluster of which it is the first manager already: whoever keeps the key of the root has made its certificate.
    FoundAs(Credentials),
    /// Make a cluster. A root, a certificate or a key that is left of another one is replaced.
    Found,
}

/// What a node does first, or why nothing that it could do would be right.
pub(super) fn first_step<'a>(held: Held<'_>, wish: &'a Wish) -> Result<Step<'a>, NodeError> {
    let path = || held.path.to_owned();
    match (held.pair, &wish.join) {
        (Pair::Good(own) | Pair::Expired(own, _), _) if wish.alone => match own.identity().role {
            // Nobody is left who could renew a certificate.
            NodeRole::Manager => Ok(Step::GoOn(own)),
            NodeRole::Worker => Err(NodeError::NotAlone { path: path() }),
        },
        (Pair::None | Pair::Unverified(_), _) if wish.alone => Err(NodeError::NotAlone { path: path() }),
        (Pair::Good(own), None)
            if !wish.external_cas.is_empty() && is_first(&own) && !held.log && wish.known.is_empty() =>
        {
            Ok(Step::FoundAs(own))
        }
        (Pair::Good(own), _) => Ok(Step::GoOn(own)),
        (Pair::Expired(own, source), _) => {
            let Identity { node, role, .. } = own.identity();
            let is_other = |remote: &&Remote| remote.node.as_ref() != Some(&node);
            let others: Vec<_> = wish.known.iter().filter(is_other).cloned().collect();
            match wish.token() {
                Some(token) if !others.is_empty() => Ok(Step::Return(own, token, others)),
                Some(_) | None => Err(NodeError::Expired { path: path(), role, source }),
            }
        }
        (Pair::Unverified(node), Some(target)) => Ok(Step::LearnRoot(target, node)),
        (Pair::None | Pair::Unverified(_), _) if held.log => Err(NodeError::NoIdentity { path: path() }),
        (Pair::None, Some(target)) => Ok(Step::Join(target)),
        (Pair::None | Pair::Unverified(_), None) if wish.token().is_some() => Err(JoinError::NoAddress.into()),
        (Pair::None | Pair::Unverified(_), None) => Ok(Step::Found),
    }
}

/// Whether a node with this certificate could be the first of a cluster.
fn is_first(own: &Credentials) -> bool {
    own.identity().role == NodeRole::Manager
}

#[cfg(test)]
mod tests;
