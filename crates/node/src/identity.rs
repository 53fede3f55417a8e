//! Who this node is: as its state directory says, as the founder of a cluster, or as a cluster has told it.

use std::fs;

use swarmkit_allocator::NetworkOptions;
use swarmkit_api::{ClusterId, NodeId, NodeRole, wire};
use swarmkit_ca::{
    Credentials, Error as CaError, Expiry, Identity, KeySource as _, LEAF_VALIDITY_DEFAULT, ManagerLock,
    NodeCertificate, RootCa, SystemKeys, UnlockKey,
};
use swarmkit_manager::FirstLeader;
use swarmkit_rpc::{Remote, is_removed};
use swarmkit_runtime::{Env, Spawner};
use zeroize::Zeroizing;

use crate::{
    JoinError, NodeError,
    founding::Founding,
    join::{self, Joined, Target},
    log_dir::{self, RAFT},
    restore,
    state_dir::{StateDir, blocking},
};

mod plan;

use plan::{Held, Pair, Step, first_step};

/// What the id of a cluster begins with in which every node must use validated cryptography.
const FIPS_CLUSTER: &str = "FIPS.";

/// Where the files of a node's identity are, within its state directory.
const CERTIFICATES: &str = "certificates";

/// An identity, and the cluster that it founds if it does.
pub(crate) struct Established {
    pub(crate) credentials: Credentials,
    pub(crate) founds: Option<(Founding, FirstLeader)>,
}

/// What a node is to do that has no identity, or one whose time is over.
#[derive(Default)]
pub(crate) struct Wish {
    /// Whom to join. Without it, a cluster is founded.
    pub(crate) join: Option<Target>,
    /// A token without a manager to join, for one that remembers some.
    pub(crate) token: Option<Zeroizing<String>>,
    /// The manager to join, or else those that it remembers.
    pub(crate) known: Vec<Remote>,
    /// Who signs for a cluster that is founded, outside of it.
    pub(crate) external_cas: Vec<wire::ExternalCa>,
    /// Where the networks of a cluster that is founded get their addresses from.
    pub(crate) networks: NetworkOptions,
    /// Whether the managers of a cluster that is founded are to be locked.
    pub(crate) autolock: bool,
    /// Whether a certificate whose time is over is good enough: nobody is left who could renew it.
    pub(crate) alone: bool,
}

/// What a cluster is founded with.
struct Charter {
    external_cas: Vec<wire::ExternalCa>,
    networks: NetworkOptions,
    autolock: bool,
}

impl Wish {
    fn charter(&self) -> Charter {
        let (external_cas, networks) = (self.external_cas.clone(), self.networks.clone());
        Charter { external_cas, networks, autolock: self.autolock }
    }

    fn token(&self) -> Option<&str> {
        let of_join = self.join.as_ref().and_then(|target| target.token.as_ref());
        of_join.or(self.token.as_ref()).map(|token| token.as_str())
    }
}

/// What can be read in a state directory.
struct Found {
    root: Option<RootCa>,
    pair: Pair,
    /// Whether there is the log of a manager.
    log: bool,
}

/// Finds or makes this node's identity. How, [`first_step`] says.
pub(crate) async fn establish(
    dir: &StateDir,
    wish: &Wish,
    env: &Env,
    spawner: &Spawner,
) -> Result<Established, NodeError> {
    let (place, clock) = (dir.clone(), env.clone());
    let found = blocking(move || find(&place, &clock)).await?;
    Establishing { dir, wish, env, spawner }.go_on_from(found).await
}

struct Establishing<'a> {
    dir: &'a StateDir,
    wish: &'a Wish,
    env: &'a Env,
    spawner: &'a Spawner,
}

impl Establishing<'_> {
    async fn go_on_from(&self, Found { root, pair, log }: Found) -> Result<Established, NodeError> {
        match first_step(Held { path: self.dir.path(), pair, log }, self.wish)? {
            Step::GoOn(credentials) => Ok(Established { credentials, founds: None }),
            Step::Return(own, token, managers) => self.come_back(own, token, &managers).await,
            // Once: then there is a root.
            Step::LearnRoot(target, node) => Box::pin(self.go_on_from(self.learn_root(target, node, log).await?)).await,
            Step::Join(target) => {
                let joined = join::join(target, root, self.env, self.spawner).await?;
                self.blocking(move |dir, env| keep(dir, joined, env)).await
            }
            Step::FoundAs(own) => {
                let charter = self.wish.charter();
                self.blocking(move |dir, env| found_as(dir, own, charter, env)).await
            }
            Step::Found if self.wish.external_cas.iter().any(|authority| authority.ca_cert.is_empty()) => {
                Err(NodeError::NothingToSignFor { path: self.dir.path().join(CERTIFICATES) })
            }
            Step::Found => {
                let charter = self.wish.charter();
                self.blocking(move |dir, env| found(dir, charter, env)).await
            }
        }
    }

    /// Finds out whether the certificate of a node that has lost its root is of the cluster to join. Without a token whoever
    /// answers is believed, and that is safe: who is not of the cluster has no root that has signed this certificate.
    async fn learn_root(&self, target: &Target, node: NodeCertificate, log: bool) -> Result<Found, NodeError> {
        let root = join::learn_root(target, self.env, self.spawner).await?;
        let pair = match belonging(root.clone(), node, self.env) {
            // What is left of another cluster counts for nothing where the node joins.
            Err(CaError::UnknownAuthority) => Pair::None,
            pair => pair.map_err(|error| unusable(self.dir, error))?,
        };
        if let Pair::Good(own) | Pair::Expired(own, _) = &pair {
            may_belong_to(&own.identity().cluster)?;
            let root = root.clone();
            self.blocking(move |dir, _| Ok(dir.keys().save_root(&root)?)).await?;
        }
        Ok(Found { root: Some(root), pair, log })
    }

    /// Becomes the node again that it was.
    async fn come_back(&self, own: Credentials, token: &str, managers: &[Remote]) -> Result<Established, NodeError> {
        let was = own.identity();
        tracing::info!(node = %was.node, "the certificate has expired: another one is asked for with the join token");
        let joined = join::come_back(managers, token, &own.trust(), self.env, self.spawner).await;
        let joined = joined.map_err(|error| match error {
            JoinError::Refused { status, .. } if is_removed(&status, &was.node) => {
                NodeError::Removed { path: self.dir.path().to_owned() }
            }
            error => NodeError::Return(error),
        })?;
        self.blocking(move |dir, env| keep_return(dir, &was.node, joined, env)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&StateDir, &Env) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let (dir, env) = (self.dir.clone(), self.env.clone());
        blocking(move || work(&dir, &env)).await
    }
}

/// Reads the state directory.
fn find(dir: &StateDir, env: &Env) -> Result<Found, NodeError> {
    let (state_dir, keys) = (dir.path(), dir.keys());
    if restore::is_unfinished(state_dir) {
        return Err(NodeError::Unrestored { path: state_dir.to_owned() });
    }
    Founding::clear(state_dir, keys)?;
    let wrong = |error| unusable(dir, error);
    let root = match keys.load_root() {
        Ok(root) => Some(root),
        Err(CaError::NoLocalRoot) => None,
        Err(error) => return Err(wrong(error)),
    };
    let pair = match (keys.load_node(), &root) {
        (Ok(node), Some(root)) => belonging(root.without_signer(), node, env).map_err(wrong)?,
        (Ok(node), None) => Pair::Unverified(node),
        (Err(CaError::NoLocalCertificate { path }), _) => {
            if path.parent().is_some_and(|certificates| certificates.exists()) {
                tracing::info!(missing = %path.display(), "there is no certificate of this node");
            }
            Pair::None
        }
        (Err(error), _) => return Err(wrong(error)),
    };
    if let Pair::Good(own) | Pair::Expired(own, _) = &pair {
        may_belong_to(&own.identity().cluster)?;
    }
    let log = fs::read_dir(state_dir.join(RAFT)).is_ok_and(|mut files| files.next().is_some());
    Ok(Found { root, pair, log })
}

/// What a certificate makes this node under a root.
fn belonging(root: RootCa, node: NodeCertificate, env: &Env) -> Result<Pair, CaError> {
    match node.verify(&root, Expiry::Enforced, env.now()) {
        Ok(_) => Ok(Pair::Good(Credentials::new(root, node, env)?)),
        Err(over @ CaError::Expired { .. }) => {
            Ok(Pair::Expired(Credentials::with_expiry(root, node, Expiry::Tolerated, env)?, over))
        }
        Err(error) => Err(error),
    }
}

/// A new cluster, with this node as its first manager. An unlock key that was given is of no use to it; if it is to be
/// locked, it gets one of its own.
fn found(dir: &StateDir, charter: Charter, env: &Env) -> Result<Established, NodeError> {
    let Charter { external_cas, networks, autolock } = charter;
    let (state_dir, keys) = (dir.path(), dir.keys());
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
    Ok(Established { credentials, founds: Some((founding, FirstLeader { root, lock, external_cas, networks })) })
}

/// A new cluster, whose first manager has been given its certificate, and whose root's key is kept by somebody outside.
fn found_as(dir: &StateDir, own: Credentials, charter: Charter, env: &Env) -> Result<Established, NodeError> {
    let Charter { external_cas, networks, autolock } = charter;
    let founding = Founding::begin_as_given(dir.path())?;
    // The files are locked once the cluster has the key to them: until then it would be lost with the process, and they lay
    // there in clear anyway.
    let lock = autolock.then(|| UnlockKey::generate(env));
    let root = own.trust().root().clone();
    tracing::info!(cluster = %own.identity().cluster, "founding a cluster whose root is kept outside of it");
    Ok(Established { credentials: own, founds: Some((founding, FirstLeader { root, lock, external_cas, networks })) })
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

/// Keeps what a cluster gave to a node that came back, under its old id or not.
fn keep_return(dir: &StateDir, was: &NodeId, joined: Joined, env: &Env) -> Result<Established, NodeError> {
    let is = &joined.node.identity().node;
    if is != was {
        tracing::warn!(
            old = %was, new = %is,
            "the manager does not know how nodes come back: this is a new node now, and the old one can be removed"
        );
        // That of another member of the group, which the new node is not.
        log_dir::forget(dir)?;
    }
    keep(dir, joined, env)
}

/// What is wrong with a file, told with where it is.
fn unusable(dir: &StateDir, error: CaError) -> NodeError {
    match error {
        CaError::Locked => NodeError::Locked,
        source => NodeError::Identity { path: dir.path().to_owned(), source },
    }
}

/// Refuses clusters whose demands this node does not meet.
fn may_belong_to(cluster: &ClusterId) -> Result<(), NodeError> {
    if cluster.as_str().starts_with(FIPS_CLUSTER) { Err(NodeError::Fips) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
