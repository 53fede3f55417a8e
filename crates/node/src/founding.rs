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
/// The mark where the certificate of the node was there before, from an authority that keeps the key of the root: nothing
/// but the log is lost with a founding that was interrupted.
const MARK_AS_GIVEN: &str = "founding-as-given";

/// The mark. It stays until it is removed, also when this is dropped. All methods block on the disk.
pub(crate) struct Founding {
    mark: PathBuf,
}

impl Founding {
    /// Clears away what an interrupted founding has left. Does nothing where there was none.
    pub(crate) fn clear(state_dir: &Path, keys: &KeyStore) -> Result<(), NodeError> {
        for (name, as_given) in [(MARK, false), (MARK_AS_GIVEN, true)] {
            let mark = state_dir.join(name);
            if !mark.exists() {
                continue;
            }
            tracing::warn!("the founding of a cluster was interrupted: starting over");
            if !as_given {
                keys.remove_node()?;
            }
            absent_is_fine(fs::remove_dir_all(state_dir.join(RAFT)), "remove", &state_dir.join(RAFT))?;
            absent_is_fine(fs::remove_file(&mark), "remove", &mark)?;
        }
        Ok(())
    }

    /// Sets the mark, durably.
    pub(crate) fn begin(state_dir: &Path) -> Result<Self, NodeError> {
        Self::set(state_dir, MARK)
    }

    /// Sets the mark of a founding by a node that has its certificate already, and keeps it.
    pub(crate) fn begin_as_given(state_dir: &Path) -> Result<Self, NodeError> {
        Self::set(state_dir, MARK_AS_GIVEN)
    }

    fn set(state_dir: &Path, name: &str) -> Result<Self, NodeError> {
        let mark = state_dir.join(name);
        match File::create(&mark).and_then(|file| file.sync_all()).and_then(|()| File::open(state_dir)?.sync_all()) {
            Ok(()) => Ok(Self { mark }),
            Err(source) => Err(NodeError::StateDir { action: "write", path: mark, source }),
        }
    }

    /// Takes the mark away: the cluster exists.
    pub(crate) fn complete(&self) -> Result<(), NodeError> {
        absent_is_fine(fs::remove_file(&self.mark), "remove", &self.mark)
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

    #[test]
    fn an_interrupted_founding_by_a_node_that_was_given_its_certificate_leaves_that() {
        let dir = tempfile::tempdir().unwrap();
        let (keys, certificate) =
            (KeyStore::new(dir.path(), &Env::real()), dir.path().join("certificates/swarm-node.crt"));
        fs::create_dir_all(certificate.parent().unwrap()).unwrap();
        fs::write(&certificate, "given").unwrap();
        for (as_given, left) in [(true, true), (false, false)] {
            if as_given { Founding::begin_as_given(dir.path()) } else { Founding::begin(dir.path()) }.unwrap();
            fs::create_dir_all(dir.path().join(RAFT)).unwrap();
            Founding::clear(dir.path(), &keys).unwrap();
            assert_eq!((certificate.exists(), dir.path().join(RAFT).exists()), (left, false));
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no mark is left");
        }
    }
}
