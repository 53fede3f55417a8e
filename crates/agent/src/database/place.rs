//! Where a task database lies, and how it is opened there.

use std::{
    fs::{self, File, OpenOptions},
    io,
    ops::Bound,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::{
    Builder, DatabaseError, StorageBackend,
    backends::{FileBackend, InMemoryBackend},
};

use crate::AgentError;

/// The file in the state directory.
pub(super) const FILE: &str = "tasks.redb";
/// Where a damaged one is put.
pub(super) const DAMAGED: &str = "tasks.redb.damaged";
/// The memory that the database may use to keep pages. Tasks are in memory anyway.
const CACHE_BYTES: usize = 1 << 20;

/// Where a database lies.
pub(super) enum Place {
    /// In memory, forgotten with the process.
    Memory,
    /// In a file of this directory.
    Dir(PathBuf),
    /// On a stage where writes fail as a test says.
    #[cfg(test)]
    Stage(super::stage::Stage),
}

/// A database that was opened.
pub(super) struct Opened {
    pub(super) db: redb::Database,
    /// The same file, for telling the disk. `None` in memory.
    pub(super) file: Option<Arc<File>>,
}

// === impl Place ===

impl Place {
    /// Opens what is there, or makes it. What is damaged is set aside.
    pub(super) fn open(&self) -> Result<Opened, AgentError> {
        match self {
            Self::Memory => open_on(InMemoryBackend::new(), None).map_err(|error| error.of(Path::new("memory"))),
            Self::Dir(dir) => open_in(dir),
            #[cfg(test)]
            Self::Stage(stage) => match open_on(Unhurried(stage.clone()), None) {
                Ok(opened) => Ok(opened),
                Err(OpenError::Redb(error)) if stage.is_well() => {
                    tracing::warn!(%error, "damaged");
                    stage.clear();
                    open_on(Unhurried(stage.clone()), None).map_err(|error| error.of(Path::new(FILE)))
                }
                Err(error) => Err(error.of(Path::new(FILE))),
            },
        }
    }
}

fn open_in(dir: &Path) -> Result<Opened, AgentError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AgentError::StateDir { path, source }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
    let path = dir.join(FILE);
    match open_file(&path) {
        Ok(opened) => Ok(opened),
        Err(OpenError::Redb(error)) if !matches!(error, DatabaseError::DatabaseAlreadyOpen) => {
            tracing::warn!(%error, path = %path.display(), "the task database is damaged, beginning a new one");
            fs::rename(&path, dir.join(DAMAGED)).map_err(failed(&path))?;
            open_file(&path).map_err(|error| error.of(&path))
        }
        Err(error) => Err(error.of(&path)),
    }
}

fn open_file(path: &Path) -> Result<Opened, OpenError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let backend = FileBackend::new(file.try_clone()?)?;
    open_on(Unhurried(backend), Some(Arc::new(file)))
}

/// Opens it, and reads all of it: damage is to be seen now.
fn open_on(backend: impl StorageBackend, file: Option<Arc<File>>) -> Result<Opened, OpenError> {
    let db = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(backend)?;
    super::read_all(&db).map_err(|error| match error {
        redb::Error::Io(error) => OpenError::from(DatabaseError::Storage(redb::StorageError::Io(error))),
        error => OpenError::Redb(DatabaseError::Storage(redb::StorageError::Corrupted(error.to_string()))),
    })?;
    Ok(Opened { db, file })
}

/// Why a file could not be opened as a database.
enum OpenError {
    Io(io::Error),
    Redb(DatabaseError),
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<DatabaseError> for OpenError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(redb::StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                Self::Io(error)
            }
            error => Self::Redb(error),
        }
    }
}

impl OpenError {
    fn of(self, path: &Path) -> AgentError {
        let path = path.to_owned();
        match self {
            Self::Redb(DatabaseError::DatabaseAlreadyOpen) => AgentError::InUse { path },
            Self::Redb(error) => AgentError::Database(Box::new(error.into())),
            Self::Io(source) => AgentError::StateDir { path, source },
        }
    }
}

/// A file whose writes are not waited for on their way to the disk. See the module's purpose.
#[derive(Debug)]
struct Unhurried<B>(B);

impl<B: StorageBackend> StorageBackend for Unhurried<B> {
    fn len(&self) -> Result<u64, io::Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.0.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), redb::BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, redb::BackendError> {
        self.0.query_lock_range(start, end)
    }
}
