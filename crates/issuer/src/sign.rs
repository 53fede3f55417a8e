//! Signing what is pending.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Cluster, Kind, Node, NodeId, NodeRole, wire,
    wire::{issuance_status::State, node_spec::Membership},
};
use swarmkit_ca::{Identity, KeyPair, LEAF_VALIDITY_DEFAULT, RootCa};
use swarmkit_runtime::Env;
use swarmkit_store::{Interest, ProposeError, Store, StoreError, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

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

/// Signs what is pending, until told to stop.
///
/// # Errors
///
/// When leadership was lost.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    let mut updates = store.watch(Interest::none().kinds([Kind::Node, Kind::Cluster]));
    let mut signer = Signer::default();
    loop {
        let update = tokio::select! { biased; // stopping comes before more work
            () = stop.cancelled() => return Ok(()),
            update = updates.next() => update.map_err(|_| Error::Stopped)?,
        };
        let (view, nodes): (View, Vec<Arc<Node>>) = match update {
            Update::Snapshot(view) => {
                let nodes = view.all::<Node>().cloned().collect();
                (view, nodes)
            }
            Update::Delta(delta) => {
                let changed = delta.changes.iter().filter_map(|change| change.as_::<Node>()?.after.clone());
                (delta.view.clone(), changed.collect())
            }
        };
        let pending: Vec<_> = nodes.into_iter().filter(|node| decide(node) == Decision::Sign).collect();
        if pending.is_empty() {
            continue;
        }
        let Some(cluster) = view.cluster() else { continue };
        signer.follow(cluster, &env)?;
        let signed: Vec<_> = pending.into_iter().map(|node| signer.sign(node, cluster, &env)).collect();
        match store.batch(signed.into_iter().map(|signed| move |tx: &mut Transaction| signed.write(tx))).await {
            Ok(_) => {}
            Err(StoreError::Propose(ProposeError::TooLarge { .. } | ProposeError::Superseded)) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The root certificate with its key, read anew only when the cluster's changed.
#[derive(Default)]
struct Signer {
    read: Option<(Arc<wire::RootCa>, RootCa)>,
}

/// The outcome for one node.
struct Signed {
    node: NodeId,
    request: bytes::Bytes,
    outcome: Result<String, String>,
}

impl Signer {
    fn follow(&mut self, cluster: &Cluster, env: &Env) -> Result<(), Error> {
        if self.read.as_ref().is_some_and(|(read, _)| Arc::ptr_eq(read, &cluster.root_ca)) {
            return Ok(());
        }
        self.read = Some((cluster.root_ca.clone(), root_ca(&cluster.root_ca, env)?));
        Ok(())
    }

    fn sign(&self, node: Arc<Node>, cluster: &Cluster, env: &Env) -> Signed {
        let identity = Identity::new(node.id.clone(), node.certificate.role(), cluster.id.clone());
        let outcome = match &self.read {
            None => Err("no root certificate".to_owned()),
            Some((_, root)) => std::str::from_utf8(&node.certificate.csr)
                .map_err(|_| "the certificate signing request is not text".to_owned())
                .and_then(|csr| root.issue(csr, &identity, validity(cluster), env).map_err(|error| error.to_string())),
        };
        if let Err(error) = &outcome {
            tracing::warn!(node = %node.id, error, "certificate refused");
        }
        Signed { node: node.id.clone(), request: node.certificate.csr.clone(), outcome }
    }
}

impl Signed {
    /// Stores the outcome, unless another request came in meanwhile: that one will be signed next.
    fn write(self, tx: &mut Transaction) -> Result<(), StoreError> {
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

/// The root of trust as the cluster keeps it, with its key.
pub(crate) fn root_ca(root: &wire::RootCa, env: &Env) -> Result<RootCa, Error> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let certificate = RootCa::from_pem(&text(&root.ca_cert), env.now()).map_err(Error::Root)?;
    if root.ca_key.is_empty() {
        return Ok(certificate);
    }
    let key = KeyPair::from_pem(&text(&root.ca_key)).map_err(Error::Root)?;
    certificate.with_key(key, env).map_err(Error::Root)
}

/// How long a certificate lives in this cluster.
fn validity(cluster: &Cluster) -> Duration {
    let expiry = cluster.spec.ca_config.as_ref().and_then(|config| config.node_cert_expiry);
    expiry.and_then(|expiry| Duration::try_from(expiry).ok()).unwrap_or(LEAF_VALIDITY_DEFAULT)
}

/// The role that a token stands for.
pub(crate) fn role_of_token(root: &wire::RootCa, presented: &str) -> Option<NodeRole> {
    let tokens = root.join_tokens.as_ref()?;
    let is = |stored: &str| swarmkit_ca::JoinToken::parse(stored).is_ok_and(|token| token.matches(presented));
    if is(&tokens.manager) {
        Some(NodeRole::Manager)
    } else if is(&tokens.worker) {
        Some(NodeRole::Worker)
    } else {
        None
    }
}
