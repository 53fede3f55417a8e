//! Who this node is: as its state directory says, as the founder of a cluster, or as a cluster has told it.

use std::fs;

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Credentials, Error as CaError, Expiry, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa,
    SystemKeys,
};
use swarmkit_runtime::{Env, Spawner};

use crate::{
    NodeError,
    founding::Founding,
    join::{self, Target},
    log_dir::RAFT,
    restore,
    state_dir::{StateDir, blocking},
};

/// What the id of a cluster begins with in which every node must use validated cryptography.
const FIPS_CLUSTER: &str = "FIPS.";

/// An identity, and the cluster that it founds if it does.
pub(crate) struct Established {
    pub(crate) credentials: Credentials,
    pub(crate) founds: Option<(Founding, RootCa)>,
}

/// What the state directory says of this node.
enum Found {
    /// It is a member of a cluster.
    Member(Credentials),
    /// It knows the roots of a cluster, and has no certificate of it.
    Root(RootCa),
    Nothing,
}

/// Finds or makes this node's identity.
pub(crate) async fn establish(
    dir: &StateDir,
    target: Option<&Target>,
    env: &Env,
    spawner: &Spawner,
) -> Result<Established, NodeError> {
    let (place, clock) = (dir.clone(), env.clone());
    let root = match blocking(move || find(&place, &clock)).await? {
        Found::Member(credentials) => return Ok(Established { credentials, founds: None }),
        Found::Root(root) => Some(root),
        Found::Nothing => None,
    };
    let (place, clock) = (dir.clone(), env.clone());
    let Some(target) = target else {
        return blocking(move || found(&place, &clock)).await;
    };
    let (root, node) = join::join(target, root, env, spawner).await?;
    blocking(move || keep(&place, root, node, &clock)).await
}

/// Reads the state directory.
fn find(dir: &StateDir, env: &Env) -> Result<Found, NodeError> {
    let (state_dir, keys) = (dir.path(), dir.keys());
    if restore::is_unfinished(state_dir) {
        return Err(NodeError::Unrestored { path: state_dir.to_owned() });
    }
    Founding::clear(state_dir, keys)?;
    let wrong = |error| match error {
        CaError::Locked => NodeError::Locked,
        source => NodeError::Identity { path: state_dir.to_owned(), source },
    };
    let root = match keys.load_root() {
        Ok(root) => root,
        Err(CaError::NoLocalRoot) => return Ok(Found::Nothing),
        Err(error) => return Err(wrong(error)),
    };
    let node = match keys.load_node() {
        Ok(node) => node,
        Err(CaError::NoLocalCertificate { .. }) => return Ok(Found::Root(root)),
        Err(error) => return Err(wrong(error)),
    };
    node.verify(&root, Expiry::Enforced, env.now()).map_err(wrong)?;
    may_belong_to(&node.identity().cluster)?;
    Ok(Found::Member(Credentials::new(root.without_signer(), node, env).map_err(wrong)?))
}

/// A new cluster, with this node as its first manager.
fn found(dir: &StateDir, env: &Env) -> Result<Established, NodeError> {
    let (state_dir, keys) = (dir.path(), dir.keys());
    let log = state_dir.join(RAFT);
    if fs::read_dir(log).is_ok_and(|mut files| files.next().is_some()) {
        return Err(NodeError::NoIdentity { path: state_dir.to_owned() });
    }
    let founding = Founding::begin(state_dir)?;
    let root = RootCa::create(&SystemKeys, env)?;
    let own = Identity::new(NodeId::from(env.new_id()), NodeRole::Manager, ClusterId::from(env.new_id()));
    let key = SystemKeys.generate()?;
    let chain = root.issue(&key.request()?, &own, LEAF_VALIDITY_DEFAULT, env)?;
    let node = NodeCertificate::new(&chain, key)?;
    keys.save_root(&root)?;
    keys.save_node(&node)?;
    let credentials = Credentials::new(root.without_signer(), node, env)?;
    Ok(Established { credentials, founds: Some((founding, root)) })
}

/// Keeps what a cluster gave to this node.
fn keep(dir: &StateDir, root: RootCa, node: NodeCertificate, env: &Env) -> Result<Established, NodeError> {
    may_belong_to(&node.identity().cluster)?;
    let keys = dir.keys();
    keys.save_root(&root)?;
    keys.save_node(&node)?;
    tracing::info!(node = %node.identity().node, cluster = %node.identity().cluster, "joined the cluster");
    Ok(Established { credentials: Credentials::new(root, node, env)?, founds: None })
}

/// Refuses clusters whose demands this node does not meet.
fn may_belong_to(cluster: &ClusterId) -> Result<(), NodeError> {
    if cluster.as_str().starts_with(FIPS_CLUSTER) { Err(NodeError::Fips) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
