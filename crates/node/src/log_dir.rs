//! The folder of the log, and how a node forgets it that is no manager any more.
//!
//! A log that was left half-way removed could pass for one that was cut short, so the folder is put aside in one step
//! first. What is found aside at a later start is removed then.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{NodeError, state_dir::StateDir};

/// The folder of the log.
pub(crate) const RAFT: &str = "raft";
/// The same, on its way out.
const ASIDE: &str = "raft.removed";

/// Forgets the log and its key, if there is one. Blocks on the disk.
pub(crate) fn forget(dir: &StateDir) -> Result<(), NodeError> {
    let state_dir = dir.path();
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
    Ok(dir.keys().forget_data_keys()?)
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
    use swarmkit_api::{NodeRole, Version};
    use swarmkit_ca::{ManagerLock, UnlockKey};
    use swarmkit_runtime::Env;

    use super::*;
    use crate::{
        log_key,
        testing::{Authority, identity},
    };

    #[tokio::test]
    async fn a_log_is_forgotten_with_its_key_and_a_half_removed_one_is_never_found() {
        let (place, env) = (tempfile::tempdir().unwrap(), Env::real());
        let dir = StateDir::open(place.path().to_owned(), None, &env).await.unwrap();
        let certificate = Authority::new().await.certificate(&identity("n", NodeRole::Manager));
        let lock = ManagerLock { version: Version(7), key: Some(UnlockKey::generate(&env)) };
        dir.keys().save_manager(&certificate, &lock).unwrap();
        let first = log_key::load(&dir, false, &env).unwrap();
        dir.keys().update_data_keys(|keys| keys.pending = Some([8; 32].into())).unwrap();
        for folder in [RAFT, ASIDE] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("segment"), "entries").unwrap();
        }
        forget(&dir).unwrap();
        assert!(!dir.path().join(RAFT).exists() && !dir.path().join(ASIDE).exists());
        let left: Vec<_> = dir.keys().headers().unwrap().into_iter().collect();
        assert_eq!(left, [("kek-version".to_owned(), "7".to_owned())]);

        forget(&dir).unwrap();
        let second = log_key::load(&dir, false, &env).unwrap();
        assert_ne!(first.current.as_bytes(), second.current.as_bytes());
    }
}
