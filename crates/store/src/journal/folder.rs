//! The folder that a journal lies in, as the journal sees it.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

/// One folder of plain files, used from threads that may block.
///
/// Obligations:
///
/// - A name that was created, renamed or removed survives a crash only after [`JournalFolder::sync_names`] has returned.
/// - Bytes survive a crash only after [`JournalFolder::sync`] has returned. A crash may keep any part of the rest.
/// - A failed sync is final: a later success proves nothing for what it should have covered.
pub trait JournalFolder: Send + Sync + 'static {
    /// The names of all files.
    ///
    /// # Errors
    ///
    /// What the operating system says; so with all operations.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Up to `len` bytes from `offset` on; fewer only at the end.
    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Makes an empty file. Fails with [`io::ErrorKind::AlreadyExists`] when the name is taken.
    fn create(&self, name: &str) -> io::Result<()>;

    /// Writes at the end of a file. A failure may have written a part.
    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes every earlier append and truncation of a file durable.
    fn sync(&self, name: &str) -> io::Result<()>;

    /// Cuts a file to `len` bytes.
    fn truncate(&self, name: &str, len: u64) -> io::Result<()>;

    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every change of names durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// Only the owner may look into the folder: it holds all of a cluster.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder of the machine's file system, locked against a second user for as long as this lives.
#[derive(Debug)]
pub struct RealFolder {
    path: PathBuf,
    /// Carries the lock; syncing it makes names durable.
    handle: File,
    /// The files that were written last, so that a commit opens none.
    open: Mutex<VecDeque<(String, Arc<File>)>>,
}

/// How many files are kept open: the segment, and the snapshot that is being written beside it.
const OPEN_FILES: usize = 2;

impl RealFolder {
    /// Opens a folder, and makes it if need be, with mode 0700.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when somebody else holds the folder; otherwise what the operating system says.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(&path)?;
        let handle = File::open(&path)?;
        handle.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        Ok(Self { path, handle, open: Mutex::default() })
    }

    /// A file that is open for appending. The lock is not held while it is used: a long sync of one delays no other.
    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some((_, file)) = open.iter().find(|(known, _)| known == name) {
            return Ok(file.clone());
        }
        let file = Arc::new(OpenOptions::new().read(true).append(true).open(self.path.join(name))?);
        open.truncate(OPEN_FILES - 1);
        open.push_front((name.to_owned(), file.clone()));
        Ok(file)
    }
}

impl JournalFolder for RealFolder {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let rest = usize::try_from(file.metadata()?.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(rest)];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn create(&self, name: &str) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(self.path.join(name)).map(drop)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.as_ref().write_all(bytes)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        self.file(name)?.set_len(len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        // An open file would answer to its old name.
        self.open.lock().clear();
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}
