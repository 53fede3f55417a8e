//! The machine's disk.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::FlockOperation;
use swarmkit_runtime::Spawner;

use super::{Disk, DiskFile, DiskFuture};

/// Only the owner may look into the folder: its files hold the cluster's state.
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder of the machine's file system.
#[derive(Clone, Debug)]
pub struct RealDisk(Arc<Folder>);

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    /// Open as long as the folder is used: it carries the lock, if there is one, and syncing it makes names durable.
    handle: File,
}

impl RealDisk {
    /// Opens a folder and locks it against a second user; makes it if need be, with mode 0700. Blocks the calling thread for a moment.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::WouldBlock`] when another process, or another disk of this one, holds the folder; otherwise what
    /// the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(DIR_MODE).create(path)?;
        let handle = File::open(path)?;
        rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self(Arc::new(Folder { path: path.to_owned(), handle })))
    }

    /// Opens a folder that others use as well. It must be there, and nobody is kept out of it.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn shared(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Folder { path: path.to_owned(), handle: File::open(path)? })))
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}

/// Runs one operation on a thread that may block.
fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> DiskFuture<T> {
    Box::pin(async move { Spawner::blocking(work).await.map_err(io::Error::other)? })
}

impl Disk for RealDisk {
    fn list(&self) -> DiskFuture<Vec<String>> {
        let path = self.0.path.clone();
        blocking(move || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let entry = entry?;
                if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                    names.push(name);
                }
            }
            names.sort();
            Ok(names)
        })
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let path = self.0.path.join(name);
        blocking(move || {
            let options = OpenOptions::new().read(true).append(true).create_new(true).mode(FILE_MODE).clone();
            Ok(Box::new(RealFile(Arc::new(options.open(path)?))) as Box<dyn DiskFile>)
        })
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let path = self.0.path.join(name);
        blocking(move || {
            let file = OpenOptions::new().read(true).append(true).open(path)?;
            Ok(Box::new(RealFile(Arc::new(file))) as Box<dyn DiskFile>)
        })
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        let (from, to) = (self.0.path.join(from), self.0.path.join(to));
        blocking(move || std::fs::rename(from, to))
    }

    fn remove(&self, name: &str) -> DiskFuture<()> {
        let path = self.0.path.join(name);
        blocking(move || std::fs::remove_file(path))
    }

    fn sync_names(&self) -> DiskFuture<()> {
        let folder = self.0.clone();
        blocking(move || folder.handle.sync_all())
    }
}

/// Opened for appending, so the operating system keeps every write at the end.
struct RealFile(Arc<File>);

impl DiskFile for RealFile {
    fn size(&self) -> DiskFuture<u64> {
        let file = self.0.clone();
        blocking(move || Ok(file.metadata()?.len()))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        let file = self.0.clone();
        blocking(move || {
            let mut buffer = vec![0; len];
            file.read_exact_at(&mut buffer, offset)?;
            Ok(buffer.into())
        })
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        let file = self.0.clone();
        blocking(move || (&*file).write_all(&bytes))
    }

    fn sync(&self) -> DiskFuture<()> {
        let file = self.0.clone();
        blocking(move || file.sync_data())
    }

    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        let file = self.0.clone();
        blocking(move || {
            (&*file).write_all(&bytes)?;
            file.sync_data()
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        let file = self.0.clone();
        blocking(move || file.set_len(len))
    }
}
