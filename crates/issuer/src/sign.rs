//! Making the certificates: what one pending request becomes.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, Node, NodeId, NodeRole, wire,
    wire::{issuance_status::State, node_spec::Membership},
};
use swarmkit_ca::{
    Authorities, Error as CaError, Identity, JoinToken, KeyPair, LEAF_VALIDITY_DEFAULT, RootCa, SigningOrder,
};
use swarmkit_runtime::Env;
use swarmkit_store::{StoreError, Transaction};

use crate::{Error, outside::Question};

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

/// Who signs for the cluster, read anew only when that has changed.
#[derive(Default)]
pub(crate) struct Signer {
    read: Option<Read>,
}

/// What the cluster says of who signs.
struct Read {
    root: Arc<wire::RootCa>,
    spec: Arc<wire::ClusterSpec>,
    trusted: RootCa,
    authorities: Authorities,
}

/// What is to be done about a request.
pub(crate) enum Step {
    /// It is answered.
    Answered(Signed),
    /// Somebody outside is to sign it.
    Ask(Box<Question>),
}

impl Signer {
    /// Answers one request, or says whom to ask: authorities outside of the cluster come first, as upstream, also where the
    /// key is at hand.
    ///
    /// # Errors
    ///
    /// When nothing can be signed at present, whatever the request: it keeps its place.
    pub(crate) fn sign(&mut self, node: &Node, cluster: &Cluster, env: &Env) -> Result<Step, Error> {
        let answered = |outcome| Step::Answered(Signed::new(node.id.clone(), node.certificate.csr.clone(), outcome));
        let identity = Identity::new(node.id.clone(), node.certificate.role(), cluster.id.clone());
        let Ok(request) = std::str::from_utf8(&node.certificate.csr) else {
            return Ok(answered(Err("malformed certificate signing request: not a text".to_owned())));
        };
        let read = self.read(cluster, env)?;
        let order = match SigningOrder::new(request, identity, leaf_validity(cluster)) {
            Ok(order) => order,
            Err(error) => return Ok(answered(Err(error.to_string()))),
        };
        if !read.authorities.is_empty() {
            return Ok(Step::Ask(Box::new(Question {
                node: node.id.clone(),
                request: node.certificate.csr.clone(),
                order,
                authorities: read.authorities.clone(),
                root: read.trusted.clone(),
                of: read.root.clone(),
            })));
        }
        match read.trusted.issue(request, order.identity(), leaf_validity(cluster), env) {
            Ok(chain) => Ok(answered(Ok(chain))),
            Err(error @ CaError::MalformedRequest { .. }) => Ok(answered(Err(error.to_string()))),
            Err(error) => Err(Error::Root(error)),
        }
    }

    fn read(&mut self, cluster: &Cluster, env: &Env) -> Result<&Read, Error> {
        let same = |read: &Read| Arc::ptr_eq(&read.root, &cluster.root_ca) && Arc::ptr_eq(&read.spec, &cluster.spec);
        let read = match self.read.take().filter(same) {
            Some(read) => read,
            None => Read::of(cluster, env).map_err(Error::Root)?,
        };
        Ok(self.read.insert(read))
    }
}

impl Read {
    fn of(cluster: &Cluster, env: &Env) -> Result<Self, CaError> {
        let trusted = root_ca(&cluster.root_ca, env)?;
        let known = cluster.spec.ca_config.as_ref().map(|config| config.external_cas.as_slice()).unwrap_or_default();
        let authorities = match &cluster.root_ca.root_rotation {
            None => Authorities::new(known, &trusted, &trusted),
            // While the root is being replaced, only those of the next one sign.
            Some(rotation) => {
                let target = std::str::from_utf8(&rotation.ca_cert).map_err(|_| CaError::NoRoots)?;
                Authorities::new(known, &RootCa::from_pem(target, env.now())?, &trusted)
            }
        };
        Ok(Self { root: cluster.root_ca.clone(), spec: cluster.spec.clone(), trusted, authorities })
    }
}

/// The answer to one request: the certificate chain, or what is wrong with the request.
pub(crate) struct Signed {
    node: NodeId,
    request: bytes::Bytes,
    outcome: Result<String, String>,
}

impl Signed {
    pub(crate) fn new(node: NodeId, request: bytes::Bytes, outcome: Result<String, String>) -> Self {
        match &outcome {
            Ok(_) => tracing::info!(%node, "certificate issued"),
            Err(error) => tracing::warn!(%node, error, "certificate refused"),
        }
        Self { node, request, outcome }
    }

    /// Whose request it answers.
    pub(crate) fn node(&self) -> &NodeId {
        &self.node
    }

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
