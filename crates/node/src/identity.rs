//! Who this node is: as its state directory says, as the founder of a cluster, or as a cluster has told it.

use std::fs;

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Credentials, Error as CaError, Expiry, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, ManagerLock,
    NodeCertificate, RootCa, SystemKeys, UnlockKey,
};
use swarmkit_manager::FirstLeader;
use swarmkit_runtime::{Env, Spawner};

use crate::{
    NodeError,
    founding::Founding,
    join::{self, Joined, Target},
    log_dir::RAFT,
    restore,
    state_dir::{StateDir, blocking},
};

/// What the id of a cluster begins with in which every node must use validated cryptography.
const FIPS_CLUSTER: &str = "FIPS.";

/// An identity, and the cluster that it founds if it does.
pub(crate) struct Established {
    pub(crate) credentials: Credentials,
    pub(crate) founds: Option<(Founding, FirstLeader)>,
}

/// What a node without an identity is to do.
#[derive(Default)]
pub(crate) struct Wish {
    /// Whom to join. Without it, a cluster is founded.
    pub(crate) join: Option<Target>,
    /// Whether the managers of a cluster that is founded are to be locked.
    pub(crate) autolock: bool,
    /// Whether a certificate whose time is over is good enough: nobody is left who could renew it.
    pub(crate) alone: bool,
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
    wish: &Wish,
    env: &Env,
    spawner: &Spawner,
) -> Result<Established, NodeError> {
    let (place, clock) = (dir.clone(), env.clone());
    let expiry = if wish.alone { Expiry::Tolerated } else { Expiry::Enforced };
    let root = match blocking(move || find(&place, expiry, &clock)).await? {
        Found::Member(credentials) => return Ok(Established { credentials, founds: None }),
        Found::Root(root) => Some(root),
        Found::Nothing => None,
    };
    let (place, clock) = (dir.clone(), env.clone());
    let Some(target) = &wish.join else {
        let autolock = wish.autolock;
        return blocking(move || found(&place, autolock, &clock)).await;
    };
    let joined = join::join(target, root, env, spawner).await?;
    blocking(move || keep(&place, joined, &clock)).await
}

/// Reads the state directory.
fn find(dir: &StateDir, expiry: Expiry, env: &Env) -> Result<Found, NodeError> {
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
    let credentials = Credentials::with_expiry(root.without_signer(), node, expiry, env).map_err(wrong)?;
    may_belong_to(&credentials.identity().cluster)?;
    Ok(Found::Member(credentials))
}

/// A new cluster, with this node as its first manager. An unlock key that was given is of no use to it; if it is to be
/// locked, it gets one of its own.
fn found(dir: &StateDir, autolock: bool, env: &Env) -> Result<Established, NodeError> {
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
    let lock = autolock.then(|| UnlockKey::generate(env));
    // What is there belongs to nothing any more, and may be locked with another key.
    keys.remove_node()?;
    keys.save_root(&root)?;
    keys.save_manager(&node, &ManagerLock { key: lock.clone(), ..ManagerLock::default() })?;
    let credentials = Credentials::new(root.without_signer(), node, env)?;
    Ok(Established { credentials, founds: Some((founding, FirstLeader { root, lock })) })
}

/// Keeps what a cluster gave to this node.
fn keep(dir: &StateDir, joined: Joined, env: &Env) -> Result<Established, NodeError> {
    let Joined { root, node, lock } = joined;
    may_belong_to(&node.identity().cluster)?;
    let keys = dir.keys();
    keys.save_root(&root)?;
    match lock {
        Some(lock) => keys.save_manager(&node, &lock)?,
        None => keys.save_node(&node)?,
    }
    tracing::info!(node = %node.identity().node, cluster = %node.identity().cluster, "joined the cluster");
    Ok(Established { credentials: Credentials::new(root, node, env)?, founds: None })
}

/// Refuses clusters whose demands this node does not meet.
fn may_belong_to(cluster: &ClusterId) -> Result<(), NodeError> {
    if cluster.as_str().starts_with(FIPS_CLUSTER) { Err(NodeError::Fips) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
