//! The mark of a cluster that is being founded.
//!
//! The key of a new root is in memory alone until the first leader has stored it. A node that is killed before that has a
//! certificate, and a log, of a cluster that can never issue another one. The mark is there from before the first file to
//! after that commit; a node that finds it at its start has founded nothing, and starts over.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use swarmkit_ca::KeyStore;

use crate::{NodeError, log_dir::RAFT};

const MARK: &str = "founding";

/// The mark. It stays until it is removed, also when this is dropped. All methods block on the disk.
pub(crate) struct Founding {
    state_dir: PathBuf,
}

impl Founding {
    /// Clears away what an interrupted founding has left. Does nothing where there was none.
    pub(crate) fn clear(state_dir: &Path, keys: &KeyStore) -> Result<(), NodeError> {
        let mark = state_dir.join(MARK);
        if !mark.exists() {
            return Ok(());
        }
        tracing::warn!("the founding of a cluster was interrupted: starting over");
        keys.remove_node()?;
        absent_is_fine(fs::remove_dir_all(state_dir.join(RAFT)), "remove", &state_dir.join(RAFT))?;
        absent_is_fine(fs::remove_file(&mark), "remove", &mark)
    }

    /// Sets the mark, durably.
    pub(crate) fn begin(state_dir: &Path) -> Result<Self, NodeError> {
        let path = state_dir.join(MARK);
        let set = || File::create(&path)?.sync_all().and_then(|()| File::open(state_dir)?.sync_all());
        set().map_err(|source| NodeError::StateDir { action: "write", path, source })?;
        Ok(Self { state_dir: state_dir.to_owned() })
    }

    /// Takes the mark away: the cluster exists.
    pub(crate) fn complete(&self) -> Result<(), NodeError> {
        let path = self.state_dir.join(MARK);
        absent_is_fine(fs::remove_file(&path), "remove", &path)
    }
}

/// Succeeds also where there was nothing.
pub(crate) fn absent_is_fine(result: io::Result<()>, action: &'static str, path: &Path) -> Result<(), NodeError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(NodeError::StateDir { action, path: path.to_owned(), source }),
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_runtime::Env;

    use super::*;

    #[test]
    fn an_interrupted_founding_leaves_nothing_and_a_finished_one_everything() {
        let dir = tempfile::tempdir().unwrap();
        let keys = KeyStore::new(dir.path(), &Env::real());
        let log = dir.path().join(RAFT).join("segment");
        let write_log = || {
            fs::create_dir_all(dir.path().join(RAFT)).unwrap();
            fs::write(&log, "entries").unwrap();
        };
        Founding::begin(dir.path()).unwrap();
        write_log();
        Founding::clear(dir.path(), &keys).unwrap();
        assert!(!log.exists() && !dir.path().join(MARK).exists());

        let founding = Founding::begin(dir.path()).unwrap();
        write_log();
        founding.complete().unwrap();
        Founding::clear(dir.path(), &keys).unwrap();
        assert!(log.exists());
    }
}
