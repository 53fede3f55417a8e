//! Making the certificates: what one pending request becomes.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, Node, NodeId, NodeRole, wire,
    wire::{issuance_status::State, node_spec::Membership},
};
use swarmkit_ca::{Error as CaError, Identity, JoinToken, KeyPair, LEAF_VALIDITY_DEFAULT, RootCa};
use swarmkit_runtime::Env;
use swarmkit_store::{StoreError, Transaction};

use crate::Error;

/// What to do about a node's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is asked for, or it was answered.
    Leave,
    /// Make the certificate.
    Sign,
}

/// Decides what to do about a node's certificate.
#[must_use]
pub fn decide(node: &Node) -> Decision {
    let state = node.certificate.status.as_ref().map_or(State::Unknown, wire::IssuanceStatus::state);
    match state {
        State::Renew => Decision::Sign,
        State::Pending if node.spec.membership() == Membership::Accepted => Decision::Sign,
        State::Pending | State::Unknown | State::Issued | State::Failed | State::Rotate => Decision::Leave,
    }
}

/// The root certificate with its key, read anew only when the cluster's changed.
#[derive(Default)]
pub(crate) struct Signer {
    read: Option<(Arc<wire::RootCa>, RootCa)>,
}

impl Signer {
    /// Answers one request.
    ///
    /// # Errors
    ///
    /// When nothing can be signed at present, whatever the request: it keeps its place.
    pub(crate) fn sign(&mut self, node: &Node, cluster: &Cluster, env: &Env) -> Result<Signed, Error> {
        let identity = Identity::new(node.id.clone(), node.certificate.role(), cluster.id.clone());
        let outcome = match std::str::from_utf8(&node.certificate.csr) {
            Err(_) => Err("malformed certificate signing request: not a text".to_owned()),
            Ok(csr) => match self.root(cluster, env)?.issue(csr, &identity, leaf_validity(cluster), env) {
                Ok(chain) => Ok(chain),
                Err(error @ CaError::MalformedRequest { .. }) => Err(error.to_string()),
                Err(error) => return Err(Error::Root(error)),
            },
        };
        match &outcome {
            Ok(_) => tracing::info!(node = %node.id, role = ?identity.role, "certificate issued"),
            Err(error) => tracing::warn!(node = %node.id, error, "certificate refused"),
        }
        Ok(Signed { node: node.id.clone(), request: node.certificate.csr.clone(), outcome })
    }

    fn root(&mut self, cluster: &Cluster, env: &Env) -> Result<&RootCa, Error> {
        let read = self.read.take().filter(|(from, _)| Arc::ptr_eq(from, &cluster.root_ca));
        let read = match read {
            Some(read) => read,
            None => (cluster.root_ca.clone(), root_ca(&cluster.root_ca, env).map_err(Error::Root)?),
        };
        Ok(&self.read.insert(read).1)
    }
}

/// The answer to one request: the certificate chain, or what is wrong with the request.
pub(crate) struct Signed {
    node: NodeId,
    request: bytes::Bytes,
    outcome: Result<String, String>,
}

impl Signed {
    /// Stores the answer, unless another request came in meanwhile: that one will be signed next.
    pub(crate) fn write(self, tx: &mut Transaction) -> Result<(), StoreError> {
        let Some(stored) = tx.get::<Node>(&self.node) else { return Ok(()) };
        if stored.certificate.csr != self.request || decide(stored) == Decision::Leave {
            return Ok(());
        }
        let mut node = stored.as_ref().clone();
        let (state, err) = match self.outcome {
            Ok(chain) => {
                node.certificate.certificate = chain.into();
                (State::Issued, String::new())
            }
            Err(error) => (State::Failed, error),
        };
        node.certificate.status = Some(wire::IssuanceStatus { state: state.into(), err });
        tx.update(node)?;
        Ok(())
    }
}

/// The root of trust as the cluster keeps it, and what signs for it, where that is not kept elsewhere.
///
/// While the root is being replaced the next one's key signs, and its cross certificate follows every leaf: the trust stays
/// what it is until everybody has such a leaf.
///
/// # Errors
///
/// Why it cannot be used.
pub fn root_ca(root: &wire::RootCa, env: &Env) -> Result<RootCa, CaError> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| CaError::NoRoots);
    let key = |bytes| KeyPair::from_pem(std::str::from_utf8(bytes).map_err(|_| CaError::MalformedKey)?);
    let trusted = RootCa::from_pem(text(&root.ca_cert)?, env.now())?;
    match &root.root_rotation {
        None if root.ca_key.is_empty() => Ok(trusted),
        None => trusted.with_key(key(&root.ca_key)?, env),
        Some(next) => {
            let cross_signed = text(&next.cross_signed_ca_cert)?;
            let trusted = trusted.with_intermediates(cross_signed, env.now())?;
            if next.ca_key.is_empty() {
                return Ok(trusted);
            }
            trusted.with_signer(cross_signed, key(&next.ca_key)?, env)
        }
    }
}

/// How long a certificate lives in this cluster.
#[must_use]
pub fn leaf_validity(cluster: &Cluster) -> Duration {
    let expiry = cluster.spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry);
    expiry.and_then(|expiry| Duration::try_from(expiry).ok()).unwrap_or(LEAF_VALIDITY_DEFAULT)
}

/// The role that a token stands for.
pub(crate) fn role_of_token(root: &wire::RootCa, presented: &str) -> Option<NodeRole> {
    let tokens = root.join_tokens.as_ref()?;
    let is = |stored: &str| JoinToken::parse(stored).is_ok_and(|token| token.matches(presented));
    if is(&tokens.manager) {
        Some(NodeRole::Manager)
    } else if is(&tokens.worker) {
        Some(NodeRole::Worker)
    } else {
        None
    }
}
