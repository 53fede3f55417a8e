//! Nodes that come back after their certificate has expired.
//!
//! TLS does not let such a node say who it is, so it proves its old key in the request, and shows the join token that it
//! would need to become a new node anyway. What it gains over a new node is its id.
//!
//! An old key could be a stolen one. So it counts only as long as the cluster has issued none to that node that is newer
//! and still in time: a node that lives cannot be replaced.

use std::time::SystemTime;

use swarmkit_api::{
    Cluster, Node, NodeId, NodeRole, wire,
    wire::{issuance_status::State, node_spec::Membership},
};
use swarmkit_ca::{Error as CaError, Returning, RootCa, Validity};
use swarmkit_runtime::Env;
use swarmkit_store::Store;

use crate::{Error, service::pending, sign::role_of_token};

/// Notes the request of a node that proves that it was one of this cluster, and has a token of the role that it has now.
pub(crate) async fn readmit(
    env: &Env,
    store: &Store,
    request: wire::IssueNodeCertificateRequest,
    proof: &wire::swarmkit::ca::v1::Returning,
) -> Result<(NodeId, Membership), Error> {
    let cluster = store.view().cluster().ok_or(Error::Starting)?.clone();
    // Who has no token learns nothing, and costs no more than to compare it.
    role_of_token(&cluster.root_ca, &request.token).ok_or(Error::NoToken)?;
    let was = prove(&cluster, proof, &request.csr, env.now())?;
    let committed = store
        .update(|tx| {
            let id = &was.identity.node;
            let cluster = tx.cluster().ok_or(Error::Starting)?;
            let token = role_of_token(&cluster.root_ca, &request.token).ok_or(Error::NoToken)?;
            let stored = may_return(&was, cluster, tx.get::<Node>(id).map(AsRef::as_ref), token, env.now())?;
            let mut node = stored.clone();
            node.certificate = pending(id, node.role, request.csr.clone(), State::Renew);
            Ok::<_, Error>(tx.update(node)?)
        })
        .await?;
    tracing::info!(node = %was.identity.node, "a node comes back whose certificate has expired");
    Ok((was.identity.node, committed.value.spec.membership()))
}

/// Who the caller was.
fn prove(
    cluster: &Cluster,
    proof: &wire::swarmkit::ca::v1::Returning,
    request: &[u8],
    now: SystemTime,
) -> Result<Returning, Error> {
    let bundle = std::str::from_utf8(&cluster.root_ca.ca_cert).map_err(|_| Error::Root(CaError::NoRoots))?;
    let root = RootCa::from_pem(bundle, now).map_err(Error::Root)?;
    let was = Returning::verify(&root, &proof.chain, &proof.signature, request, now).map_err(Error::Unproven)?;
    if was.identity.cluster == cluster.id { Ok(was) } else { Err(Error::Unproven(CaError::UnknownAuthority)) }
}

/// Whether a node that has proved who it was may be that again: it is known, the token is one of its role, and nobody
/// has had a newer certificate of it that is still in time.
fn may_return<'a>(
    was: &Returning,
    cluster: &Cluster,
    stored: Option<&'a Node>,
    token: NodeRole,
    now: SystemTime,
) -> Result<&'a Node, Error> {
    let id = &was.identity.node;
    if cluster.blacklisted_certificates.contains_key(id.as_str()) {
        return Err(Error::Removed(id.clone()));
    }
    let node = stored.ok_or_else(|| Error::UnknownNode(id.clone()))?;
    if node.role != token {
        return Err(Error::OtherRole { node: id.clone(), role: node.role });
    }
    // None is stored for a founder that has never renewed, and while one is being made.
    let newest = std::str::from_utf8(&node.certificate.certificate).ok().and_then(|text| Validity::of_chain(text).ok());
    match newest {
        Some(newest) if newest.not_after > was.validity.not_after && newest.not_after >= now => {
            Err(Error::Replaced { node: id.clone(), until: newest.not_after })
        }
        Some(_) | None => Ok(node),
    }
}

#[cfg(test)]
mod tests;
