//! The folder of the log, and how a node forgets it that is no manager any more.
//!
//! A log that was left half-way removed could pass for one that was cut short, so the folder is put aside in one step
//! first. What is found aside at a later start is removed then.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use swarmkit_ca::KeyStore;

use crate::{NodeError, log_key};

/// The folder of the log.
pub(crate) const RAFT: &str = "raft";
/// The same, on its way out.
const ASIDE: &str = "raft.removed";

/// Forgets the log and its key, if there is one. Blocks on the disk.
pub(crate) fn forget(state_dir: &Path, keys: &KeyStore) -> Result<(), NodeError> {
    clear(state_dir)?;
    let (log, aside) = (state_dir.join(RAFT), state_dir.join(ASIDE));
    let put_aside = fs::rename(&log, &aside).and_then(|()| File::open(state_dir)?.sync_all());
    match put_aside {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(failed(log)(source)),
        Ok(()) => {
            clear(state_dir)?;
            tracing::info!("the log of the manager that this node was is removed");
        }
    }
    log_key::forget(keys)
}

/// Removes what was put aside and is still there. Blocks on the disk.
pub(crate) fn clear(state_dir: &Path) -> Result<(), NodeError> {
    let aside = state_dir.join(ASIDE);
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(aside)(error)),
        _ => Ok(()),
    }
}

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> NodeError {
    move |source| NodeError::StateDir { action: "remove", path, source }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::NodeRole;
    use swarmkit_runtime::Env;

    use super::*;
    use crate::testing::{Authority, identity};

    #[tokio::test]
    async fn a_log_is_forgotten_with_its_key_and_a_half_removed_one_is_never_found() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path());
        let certificate = Authority::new().await.certificate(&identity("n", NodeRole::Manager));
        keys.save_node(&certificate).unwrap();
        let first = log_key::load(dir.path(), &keys, false, &Env::real()).unwrap();
        keys.update_headers(|headers| {
            headers.insert("raft-dek-pending".to_owned(), "x".to_owned());
            headers.insert("kek-version".to_owned(), "7".to_owned());
        })
        .unwrap();
        for folder in [RAFT, ASIDE] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("segment"), "entries").unwrap();
        }
        forget(dir.path(), &keys).unwrap();
        assert!(!dir.path().join(RAFT).exists() && !dir.path().join(ASIDE).exists());
        let left: Vec<_> = keys.headers().unwrap().into_iter().collect();
        assert_eq!(left, [("kek-version".to_owned(), "7".to_owned())]);

        forget(dir.path(), &keys).unwrap();
        let second = log_key::load(dir.path(), &keys, false, &Env::real()).unwrap();
        assert_ne!(first.as_bytes(), second.as_bytes());
    }
}
