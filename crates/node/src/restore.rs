//! A cluster from its backup: a state directory whose node leads it alone, on whatever machine.
//!
//! The node is a new one. Those that managed the cluster before are not members any more; whichever of them is to manage
//! again joins anew. Workers and their tasks are found again when they find the new manager.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use swarmkit_api::{Cluster, ClusterId, NodeId, NodeRole, Service, Version};
use swarmkit_ca::{Identity, KeySource as _, KeyStore, LEAF_VALIDITY_DEFAULT, NodeCertificate, RootCa, SystemKeys};
use swarmkit_raft::{Backup, LogKey, RealDisk};
use swarmkit_runtime::Env;
use swarmkit_store::{NodeBy, State, Store};

use crate::{
    Node, NodeError,
    founding::absent_is_fine,
    log_dir::RAFT,
    log_key,
    state_dir::{StateDir, blocking},
};

/// Lies in the state directory while it is being filled.
const MARK: &str = "restoring";

/// A cluster that can be started from a state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The new node, which is its only manager.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The version of its state.
    pub version: Version,
    /// How many services it has.
    pub services: usize,
    /// The nodes that managed it when the backup was taken. They are no members of what begins here.
    pub former_managers: Vec<NodeId>,
}

impl Node {
    /// Makes a state directory that holds the cluster of a backup, with a new node as its only manager, reached at
    /// `address` (`host:port`). The directory must be empty, or hold what an interrupted restore has left.
    ///
    /// # Errors
    ///
    /// The directory is in use or cannot be written, the backup is damaged, or the key of the cluster's root is not in
    /// it. A directory that was not restored wholly is refused by [`crate::NodeBuilder::start`].
    pub async fn restore(
        state_dir: impl Into<PathBuf>,
        backup: &Backup,
        address: &str,
        env: &Env,
    ) -> Result<Restored, NodeError> {
        let dir = StateDir::open(state_dir.into(), None, env).await?;
        let (state, root) = read(backup, env).await?;
        let (place, clock, cluster) = (dir.clone(), env.clone(), state.cluster.clone());
        let (own, log_key) = blocking(move || identity(&place, &root, &cluster, &clock)).await?;
        let path = dir.path().join(RAFT);
        let disk = blocking(move || {
            RealDisk::open(&path).map_err(|source| NodeError::StateDir { action: "open", path, source })
        });
        backup.found(Arc::new(disk.await?), &log_key, env, &own.node, address).await?;
        blocking(move || complete(dir.path())).await?;
        Ok(Restored {
            node: own.node,
            cluster: own.cluster,
            version: state.version,
            services: state.services,
            former_managers: state.managers,
        })
    }
}

/// Whether a state directory was not restored wholly.
pub(crate) fn is_unfinished(state_dir: &Path) -> bool {
    state_dir.join(MARK).exists()
}

/// What a backup says of its cluster.
struct Summary {
    cluster: Arc<Cluster>,
    version: Version,
    services: usize,
    managers: Vec<NodeId>,
}

/// Reads all of a backup, so that nothing is begun with a damaged one, and finds the key that makes certificates.
async fn read(backup: &Backup, env: &Env) -> Result<(Summary, RootCa), NodeError> {
    let store = Store::local(env.clone());
    let applier = store.applier();
    let (mut restore, mut reader) = (applier.restore(), backup.reader());
    while let Some(piece) = reader.next().await.map_err(swarmkit_raft::RaftError::from)? {
        restore.chunk(&piece).map_err(|error| NodeError::Backup(error.to_string()))?;
    }
    applier.install(restore).map_err(|error| NodeError::Backup(error.to_string()))?;
    let view = store.view();
    let cluster = view.cluster().ok_or_else(|| NodeError::Backup("it holds no cluster".to_owned()))?.clone();
    let root = swarmkit_issuer::root_ca(&cluster.root_ca, env)?;
    if !root.can_sign() {
        return Err(NodeError::Backup(
            "the key of the cluster's root is kept by an external authority, which alone could make a certificate"
                .to_owned(),
        ));
    }
    Ok((summary(&view, cluster), root))
}

fn summary(state: &State, cluster: Arc<Cluster>) -> Summary {
    Summary {
        cluster,
        version: state.version(),
        services: state.count::<Service>(),
        managers: state.find(NodeBy::Role(NodeRole::Manager)).map(|node| node.id.clone()).collect(),
    }
}

/// Makes the new node, with keys of its own, in an empty directory.
fn identity(dir: &StateDir, root: &RootCa, cluster: &Cluster, env: &Env) -> Result<(Identity, LogKey), NodeError> {
    let (state_dir, keys) = (dir.path(), dir.keys());
    begin(state_dir, keys)?;
    let own = Identity::new(NodeId::from(env.new_id()), NodeRole::Manager, cluster.id.clone());
    let key = SystemKeys.generate()?;
    let chain = root.issue(&key.request()?, &own, LEAF_VALIDITY_DEFAULT, env)?;
    keys.save_root(root)?;
    // In clear, also if the cluster is locked, since its unlock key may be lost: its manager locks itself when it starts.
    keys.save_node(&NodeCertificate::new(&chain, key)?)?;
    let log_keys = log_key::load(dir, false, env)?;
    Ok((own, log_keys.current))
}

/// Sets the mark, durably, in a directory that is empty or becomes so.
fn begin(state_dir: &Path, keys: &KeyStore) -> Result<(), NodeError> {
    if is_unfinished(state_dir) {
        keys.remove_node()?;
        absent_is_fine(fs::remove_dir_all(state_dir.join(RAFT)), "remove", &state_dir.join(RAFT))?;
        return Ok(());
    }
    let failed = |action| move |source| NodeError::StateDir { action, path: state_dir.to_owned(), source };
    if fs::read_dir(state_dir).map_err(failed("read"))?.next().is_some() {
        return Err(NodeError::NotEmpty { path: state_dir.to_owned() });
    }
    let mark = || File::create(state_dir.join(MARK))?.sync_all().and_then(|()| File::open(state_dir)?.sync_all());
    mark().map_err(failed("write"))
}

/// Takes the mark away: everything is there.
fn complete(state_dir: &Path) -> Result<(), NodeError> {
    let mark = state_dir.join(MARK);
    absent_is_fine(fs::remove_file(&mark), "remove", &mark)
}
