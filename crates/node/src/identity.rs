//! Who this node is: as its state directory says, as the founder of a cluster, or as a cluster has told it.

use std::path::Path;

use swarmkit_api::{ClusterId, NodeId, NodeRole};
use swarmkit_ca::{
    Credentials, Error as CaError, Expiry, Identity, KeySource, KeyStore, LEAF_VALIDITY_DEFAULT, NodeCertificate,
    RootCa, SystemKeys,
};
use swarmkit_runtime::{Env, Spawner};

use crate::{
    NodeError,
    founding::Founding,
    join::{self, Target},
};

/// An identity, and the cluster that it founds if it does.
pub(crate) struct Established {
    pub(crate) credentials: Credentials,
    pub(crate) founds: Option<(Founding, RootCa)>,
}

/// Finds or makes this node's identity.
pub(crate) async fn establish(
    state_dir: &Path,
    target: Option<&Target>,
    env: &Env,
    spawner: &Spawner,
) -> Result<Established, NodeError> {
    Founding::clear(state_dir)?;
    let keys = KeyStore::new(state_dir);
    let wrong = |source| NodeError::Identity { path: state_dir.to_owned(), source };
    let root = match keys.load_root(env) {
        Ok(root) => Some(root),
        Err(CaError::NoLocalRoot) => None,
        Err(error) => return Err(wrong(error)),
    };
    if let Some(root) = &root {
        match keys.load_node() {
            Ok(node) => {
                node.verify(root, Expiry::Enforced, env.now()).map_err(wrong)?;
                let credentials = Credentials::new(root.without_signer(), node, env).map_err(wrong)?;
                return Ok(Established { credentials, founds: None });
            }
            Err(CaError::NoLocalCertificate { .. }) => {}
            Err(error) => return Err(wrong(error)),
        }
    }
    let Some(target) = target else { return found(state_dir, &keys, env) };
    let (root, node) = join::join(target, root, env, spawner).await?;
    keys.save_root(&root)?;
    keys.save_node(&node)?;
    tracing::info!(node = %node.identity().node, cluster = %node.identity().cluster, "joined the cluster");
    Ok(Established { credentials: Credentials::new(root, node, env)?, founds: None })
}

/// A new cluster, with this node as its first manager.
fn found(state_dir: &Path, keys: &KeyStore, env: &Env) -> Result<Established, NodeError> {
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

#[cfg(test)]
mod tests {
    use std::{
        fs,
        time::{Duration, SystemTime},
    };

    use swarmkit_runtime::{Clock, Crew};
    use tokio_util::sync::CancellationToken;

    use super::*;

    async fn start(dir: &Path, env: &Env) -> Result<Established, NodeError> {
        let crew = Crew::under(&CancellationToken::new());
        establish(dir, None, env, &crew.spawner()).await
    }

    fn complete(established: &Established) {
        if let Some((founding, _)) = &established.founds {
            founding.complete().unwrap();
        }
    }

    struct Later(Duration);

    impl Clock for Later {
        #[expect(clippy::disallowed_methods, reason = "a clock")]
        fn now(&self) -> SystemTime {
            SystemTime::now() + self.0
        }
    }

    #[tokio::test]
    async fn an_empty_directory_founds_a_cluster_and_the_next_start_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::real();
        let first = start(dir.path(), &env).await.unwrap();
        assert!(first.founds.is_some());
        complete(&first);
        let second = start(dir.path(), &env).await.unwrap();
        assert!(second.founds.is_none());
        assert_eq!(second.credentials.identity(), first.credentials.identity());
    }

    #[tokio::test]
    async fn a_founding_that_was_interrupted_starts_over() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::real();
        let first = start(dir.path(), &env).await.unwrap();
        let second = start(dir.path(), &env).await.unwrap();
        assert!(second.founds.is_some());
        assert_ne!(second.credentials.identity(), first.credentials.identity());
    }

    #[tokio::test]
    async fn an_expired_certificate_is_told_with_both_times() {
        let dir = tempfile::tempdir().unwrap();
        complete(&start(dir.path(), &Env::real()).await.unwrap());
        let later = Env::seeded(1, Later(Duration::from_secs(120 * 24 * 3600)));
        let error = start(dir.path(), &later).await.err().expect("refused").to_string();
        assert!(error.contains("not valid after") && error.contains("it is currently"), "{error}");
    }

    #[tokio::test]
    async fn the_root_of_another_cluster_is_not_taken_for_ours() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let env = Env::real();
        for dir in [&dir, &other] {
            complete(&start(dir.path(), &env).await.unwrap());
        }
        let root = "certificates/swarm-root-ca.crt";
        fs::copy(other.path().join(root), dir.path().join(root)).unwrap();
        let error = start(dir.path(), &env).await.err().expect("refused").to_string();
        assert!(error.contains("unknown authority"), "{error}");
    }

    #[tokio::test]
    async fn a_damaged_key_file_is_told_and_nothing_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::real();
        complete(&start(dir.path(), &env).await.unwrap());
        let key = dir.path().join("certificates/swarm-node.key");
        fs::write(&key, "garbage").unwrap();
        let error = start(dir.path(), &env).await.err().expect("refused").to_string();
        assert!(error.contains("malformed private key"), "{error}");
        assert_eq!(fs::read_to_string(&key).unwrap(), "garbage");
    }
}
