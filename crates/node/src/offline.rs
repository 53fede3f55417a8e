//! What can be mended in a state directory while no node runs on it.

use std::{path::Path, sync::Arc, time::SystemTime};

use swarmkit_api::{Cluster, ClusterId, NodeId, NodeRole};
use swarmkit_ca::{Error as CaError, Expiry, KeySource as _, NodeCertificate, SystemKeys, UnlockKey, Validity};
use swarmkit_runtime::Env;

use crate::{
    NodeError,
    state_dir::{StateDir, blocking},
};

/// A state directory that no node can start on until this is dropped.
#[derive(Clone, Debug)]
pub struct Offline {
    dir: StateDir,
    env: Env,
}

/// A certificate that was made from the state of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// Whose it is: the same node as before.
    pub node: NodeId,
    /// Its role, as before.
    pub role: NodeRole,
    /// Its cluster, as before.
    pub cluster: ClusterId,
    /// When it expires.
    pub not_after: SystemTime,
}

impl Offline {
    /// Takes a state directory that is there. `unlock` opens the key file if that is locked.
    ///
    /// # Errors
    ///
    /// There is none, or a node runs on it.
    pub async fn open(state_dir: &Path, unlock: Option<UnlockKey>, env: &Env) -> Result<Self, NodeError> {
        let path = state_dir.to_owned();
        if let Err(source) = blocking(move || Ok(std::fs::metadata(path))).await? {
            return Err(NodeError::StateDir { action: "open", path: state_dir.to_owned(), source });
        }
        let dir = StateDir::open(state_dir.to_owned(), unlock, env).await?;
        Ok(Self { dir, env: env.clone() })
    }

    /// Gives the node a new key and a certificate for it, made with the key of the cluster's root: same node, same role.
    /// For a node whose certificate has expired while it was down. Headers and lock of the key file stay.
    ///
    /// # Errors
    ///
    /// [`NodeError::Locked`]; the cluster is not the node's, keeps the key of its root elsewhere, or has a root that the
    /// node does not trust. Nothing has changed then.
    pub async fn renew_certificate(&self, cluster: Arc<Cluster>) -> Result<Renewed, NodeError> {
        let this = self.clone();
        blocking(move || this.renew(&cluster)).await
    }

    fn renew(&self, cluster: &Cluster) -> Result<Renewed, NodeError> {
        let wrong = |error| self.wrong(error);
        let keys = self.dir.keys();
        let own = keys.load_node().map_err(wrong)?.identity().clone();
        if own.cluster != cluster.id {
            return Err(NodeError::AnotherCluster { own: own.cluster, found: cluster.id.clone() });
        }
        let root = swarmkit_issuer::root_ca(&cluster.root_ca, &self.env)?;
        if !root.can_sign() {
            return Err(NodeError::ExternalRoot);
        }
        let key = SystemKeys.generate()?;
        let chain = root.issue(&key.request()?, &own, swarmkit_issuer::leaf_validity(cluster), &self.env)?;
        let node = NodeCertificate::new(&chain, key)?;
        let trusted = keys.load_root().map_err(wrong)?;
        node.verify(&trusted, Expiry::Enforced, self.env.now()).map_err(wrong)?;
        let Validity { not_after, .. } = Validity::of_chain(&chain)?;
        keys.save_node(&node)?;
        Ok(Renewed { node: own.node, role: own.role, cluster: own.cluster, not_after })
    }

    /// Writes the node's key in the form that programs read which do not know PKCS#8. Headers stay. The node reads it as
    /// well, and writes PKCS#8 again when it next writes its key.
    ///
    /// # Errors
    ///
    /// The key has that form already, or is locked: what such programs read of locked keys is not authenticated.
    pub async fn downgrade_key(&self) -> Result<(), NodeError> {
        let this = self.clone();
        blocking(move || this.dir.keys().downgrade_key().map_err(|error| this.wrong(error))).await
    }

    fn wrong(&self, error: CaError) -> NodeError {
        match error {
            CaError::Locked => NodeError::Locked,
            source => NodeError::Identity { path: self.dir.path().to_owned(), source },
        }
    }
}

#[cfg(test)]
mod tests;
