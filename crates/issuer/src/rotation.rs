//! Replacing the root of trust: every node gets a certificate of the next root, and then all of them trust that one.
//!
//! While a replacement is under way, certificates are signed by the next root's key, and the trust stays: the cross
//! certificate that follows every leaf leads from the one to the other. Nodes report whose certificate they have. Those
//! with another one are told to renew, so many at a time ([`Turns`]); when there is none left, the next root becomes the
//! cluster's ([`finish`]).
//!
//! What is left to do is read off the nodes and the cluster each time, so a new leader goes on where the last one stopped.

mod finish;
mod progress;
mod run;
mod turns;

pub use progress::{Laggard, Progress};
pub use run::rotate;

use std::sync::Arc;

use swarmkit_api::{Cluster, Node, wire, wire::issuance_status::State};
use swarmkit_ca::{Error as CaError, IssuerInfo};

/// A replacement that is under way: the root as it is stored, and who is to sign for everybody.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    root: Arc<wire::RootCa>,
    issuer: IssuerInfo,
}

impl Rotation {
    /// The replacement that is under way in a cluster.
    ///
    /// # Errors
    ///
    /// When nobody can make anything of the next root.
    pub(crate) fn of(cluster: &Cluster) -> Result<Option<Self>, CaError> {
        let issuer = next_issuer(&cluster.root_ca)?;
        Ok(issuer.map(|issuer| Self { root: cluster.root_ca.clone(), issuer }))
    }

    /// Whether that is where a cluster is to get to, still.
    pub(crate) fn leads_where(&self, cluster: &Cluster) -> bool {
        let target = |root: &wire::RootCa| root.root_rotation.as_ref().map(|rotation| rotation.ca_cert.clone());
        target(&cluster.root_ca) == target(&self.root)
    }

    /// Whether a node has yet to get a certificate of the next root, or to tell that it has one.
    pub(crate) fn awaits(&self, node: &Node) -> bool {
        !has_certificate_of(&self.issuer, node.description.as_deref())
    }
}

/// Who is to sign for everybody once the replacement that is under way is over.
fn next_issuer(root: &wire::RootCa) -> Result<Option<IssuerInfo>, CaError> {
    let Some(rotation) = &root.root_rotation else { return Ok(None) };
    IssuerInfo::of_signer(&String::from_utf8_lossy(&rotation.ca_cert)).map(Some)
}

/// Whether a node tells that its certificate is signed by `issuer`.
fn has_certificate_of(issuer: &IssuerInfo, description: Option<&wire::NodeDescription>) -> bool {
    description.and_then(|description| description.tls_info.as_ref()).is_some_and(|told| {
        told.cert_issuer_subject == issuer.subject && told.cert_issuer_public_key == issuer.public_key
    })
}

/// Whether a node is about to renew its certificate, or has been told to.
fn is_renewing(node: &Node) -> bool {
    match node.certificate.status.as_ref().map_or(State::Unknown, wire::IssuanceStatus::state) {
        State::Renew | State::Pending | State::Rotate => true,
        State::Unknown | State::Issued | State::Failed => false,
    }
}
