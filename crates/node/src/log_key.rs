//! The key that encrypts the log, kept in a header of the node's key file.

use std::path::Path;

use swarmkit_ca::{DataKeys, KeyStore, UnlockKey};
use swarmkit_raft::{LogKey, LogKeys};
use swarmkit_runtime::Env;

use crate::{NodeError, state_dir::StateDir};

/// The header, as upstream names it.
const HEADER: &str = "raft-dek";
/// Where it is, for people.
const KEY_FILE: &str = "certificates/swarm-node.key";

/// The keys that the log is encrypted with: those that are kept, or a fresh one that is kept from now on.
///
/// With a log there must be a key: a fresh one would not open it. Blocks on the disk.
pub(crate) fn load(dir: &StateDir, has_log: bool, env: &Env) -> Result<LogKeys, NodeError> {
    if let Some(keys) = log_keys_of(&dir.keys().data_keys()?) {
        return Ok(keys);
    }
    if has_log {
        return Err(damaged(dir.path(), format!("there is a log, but no header {HEADER} with the key that opens it")));
    }
    let key = LogKey::generate(env);
    dir.keys().update_data_keys(|keys| keys.current = Some((*key.as_bytes()).into()))?;
    Ok(key.into())
}

/// The keys that the log in a state directory may be encrypted with, for tools that read it: the one in use and, while
/// the key is being changed, the next one. Blocks on the disk, and works beside a node that runs.
///
/// # Errors
///
/// [`NodeError::Locked`] when the node is locked and `unlock` is not its unlock key; otherwise the key file cannot be read,
/// or holds no key of a log.
pub fn log_keys(state_dir: &Path, unlock: Option<&UnlockKey>) -> Result<Vec<LogKey>, NodeError> {
    let keys = KeyStore::new(state_dir, &Env::real()).with_unlock_key(unlock.cloned()).looking_only();
    let keys = log_keys_of(&keys.data_keys()?);
    let none = || damaged(state_dir, format!("there is no header {HEADER}: the node has no log, or was a worker last"));
    let LogKeys { current, pending } = keys.ok_or_else(none)?;
    Ok([Some(current), pending].into_iter().flatten().collect())
}

fn log_keys_of(keys: &DataKeys) -> Option<LogKeys> {
    let current = LogKey::new(**keys.current.as_ref()?);
    Some(LogKeys { current, pending: keys.pending.as_ref().map(|key| LogKey::new(**key)) })
}

fn damaged(state_dir: &Path, reason: String) -> NodeError {
    NodeError::Damaged { path: state_dir.join(KEY_FILE), reason }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeRole;
    use swarmkit_ca::ManagerLock;

    use super::*;
    use crate::testing::{Authority, identity};

    #[tokio::test]
    async fn a_key_is_made_once_and_never_for_a_log_that_is_there() {
        let (place, env) = (tempfile::tempdir().unwrap(), Env::real());
        let dir = StateDir::open(place.path().to_owned(), None, &env).await.unwrap();
        dir.keys().save_node(&Authority::new().await.certificate(&identity("m", NodeRole::Manager))).unwrap();
        let told = load(&dir, true, &env).unwrap_err().to_string();
        assert!(told.contains("there is a log, but no header raft-dek"), "{told}");
        let first = load(&dir, false, &env).unwrap();
        let file = || std::fs::read(place.path().join(KEY_FILE)).unwrap();
        let before = file();
        assert_eq!(load(&dir, true, &env).unwrap().current.as_bytes(), first.current.as_bytes());
        assert_eq!(file(), before, "what is there is left alone");
    }

    #[tokio::test]
    async fn while_a_key_is_being_changed_there_are_two() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
        let keys = KeyStore::new(dir.path(), &env);
        assert!(log_keys(dir.path(), None).is_err(), "there is no key file");
        let authority = Authority::new().await;
        keys.save_node(&authority.certificate(&identity("m", NodeRole::Manager))).unwrap();
        let told = log_keys(dir.path(), None).unwrap_err().to_string();
        assert!(told.contains("there is no header raft-dek"), "{told}");

        let (current, pending) = ([1; 32], [2; 32]);
        let both = DataKeys { current: Some(current.into()), pending: Some(pending.into()), needs_rotation: false };
        keys.update_data_keys(|keys| *keys = both).unwrap();
        let read: Vec<_> = log_keys(dir.path(), None).unwrap().iter().map(|key| *key.as_bytes()).collect();
        assert_eq!(read, [current, pending]);
    }

    #[tokio::test]
    async fn the_keys_of_a_locked_node_are_read_with_its_unlock_key_only() {
        let (dir, env) = (tempfile::tempdir().unwrap(), Env::real());
        let (unlock, other) = (UnlockKey::generate(&env), UnlockKey::generate(&env));
        let keys = KeyStore::new(dir.path(), &env);
        let certificate = Authority::new().await.certificate(&identity("m", NodeRole::Manager));
        keys.save_manager(&certificate, &ManagerLock { key: Some(unlock.clone()), ..ManagerLock::default() }).unwrap();
        keys.update_data_keys(|keys| keys.current = Some([1; 32].into())).unwrap();
        assert_eq!(log_keys(dir.path(), Some(&unlock)).unwrap()[0].as_bytes(), &[1; 32]);
        for wrong in [None, Some(&other)] {
            let told = log_keys(dir.path(), wrong).unwrap_err();
            assert!(matches!(told, NodeError::Locked), "{told}");
        }
    }
}
