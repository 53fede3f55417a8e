//! The state directory as a whole: closed to others, and used by one node at a time.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::FlockOperation;
use swarmkit_ca::{KeyStore, UnlockKey};
use swarmkit_runtime::{Env, Spawner};

use crate::NodeError;

/// Only its owner may look into it.
const MODE: u32 = 0o700;
/// What nobody else may do with one that was there before.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A state directory that this node has for itself until the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    keys: KeyStore,
    _held: Arc<File>,
}

impl StateDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// `unlock` opens the key file if that is locked.
    pub(crate) async fn open(path: PathBuf, unlock: Option<UnlockKey>, env: &Env) -> Result<Self, NodeError> {
        let keys = KeyStore::new(&path, env).with_unlock_key(unlock);
        blocking(move || Self::take(path, keys)).await
    }

    fn take(path: PathBuf, keys: KeyStore) -> Result<Self, NodeError> {
        let failed = |action| {
            let path = path.clone();
            move |source| NodeError::StateDir { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(MODE).create(&path).map_err(failed("create"))?;
        let held = File::open(&path).map_err(failed("open"))?;
        close_to_writers(&path);
        match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { keys, path, _held: Arc::new(held) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(NodeError::InUse { path }),
            Err(error) => Err(failed("lock")(error.into())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates and keys in it. Whoever changes them does it through this one, or a clone of it.
    pub(crate) fn keys(&self) -> &KeyStore {
        &self.keys
    }
}

/// Takes away the right of others to replace what is in the directory. Whoever gave it to them may have used it, so it is
/// told, and does not stop the node. Whether others may look into a directory that was there before, its owner decides.
fn close_to_writers(path: &Path) {
    let Ok(mode) = fs::metadata(path).map(|directory| directory.permissions().mode()) else { return };
    if mode & WRITABLE_BY_OTHERS != 0 {
        let closed = fs::set_permissions(path, Permissions::from_mode(mode & !WRITABLE_BY_OTHERS)).is_ok();
        tracing::warn!(path = %path.display(), closed, "other users of this machine could write to the state directory");
    }
}

/// Does what waits for the disk on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NodeError> + Send + 'static,
) -> Result<T, NodeError> {
    Spawner::blocking(work).await.map_err(|panicked| NodeError::Part(panicked.into()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open(path: &Path) -> Result<StateDir, NodeError> {
        StateDir::open(path.to_owned(), None, &Env::real()).await
    }

    #[tokio::test]
    async fn a_directory_is_made_for_its_owner_and_held_by_one_node() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/state");
        let first = open(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let told = open(&path).await.unwrap_err().to_string();
        assert_eq!(told, format!("{} is in use by another node", path.display()));
        drop(first);
        open(&path).await.unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_others_may_write_to_is_closed_to_them_and_otherwise_left_as_it_is() {
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for (given, kept) in [(0o777, 0o755), (0o770, 0o750), (0o755, 0o755), (0o710, 0o710)] {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), Permissions::from_mode(given)).unwrap();
            open(dir.path()).await.unwrap();
            assert_eq!(mode(dir.path()), kept, "{given:o}");
        }
    }

    #[tokio::test]
    async fn a_place_where_no_directory_can_be_made_is_named() {
        let path = Path::new("/proc/swarmkit-state");
        let told = open(path).await.unwrap_err().to_string();
        assert!(told.starts_with("cannot create /proc/swarmkit-state: "), "{told}");
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = open(file.path()).await.unwrap_err().to_string();
        assert!(told.starts_with(&format!("cannot create {}: ", file.path().display())), "{told}");
    }
}
