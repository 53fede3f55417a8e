//! The machine's disk.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
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
pub(super) fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> DiskFuture<T> {
    Box::pin(async move { Spawner::blocking(work).await.map_err(io::Error::other)? })
}

/// The names of the files in a folder, sorted.
pub(super) fn names(path: PathBuf) -> DiskFuture<Vec<String>> {
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

impl Disk for RealDisk {
    fn list(&self) -> DiskFuture<Vec<String>> {
        names(self.0.path.clone())
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let path = self.0.path.join(name);
        blocking(move || {
            let options = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).clone();
            Ok(Box::new(RealFile::new(options.open(path)?)?) as Box<dyn DiskFile>)
        })
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let path = self.0.path.join(name);
        blocking(move || {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            Ok(Box::new(RealFile::new(file)?) as Box<dyn DiskFile>)
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

/// How much longer a file is made at once for the appends that are expected, in bytes. A sync that finds a file as long as
/// before needs no entry in the file system's own journal; a larger step would be felt by the append that takes it.
const STEP: u64 = 256 << 10;
static ZEROS: [u8; STEP as usize] = [0; STEP as usize];

struct RealFile(Arc<Opened>);

struct Opened {
    file: File,
    /// How long it is for those who use it. Changed by its one owner.
    end: AtomicU64,
    /// How long it is on the disk, if that is more.
    reserved: AtomicU64,
    expects_appends: AtomicBool,
}

impl RealFile {
    fn new(file: File) -> io::Result<Self> {
        let end = AtomicU64::new(file.metadata()?.len());
        let (reserved, expects_appends) = (AtomicU64::new(0), AtomicBool::new(false));
        Ok(Self(Arc::new(Opened { file, end, reserved, expects_appends })))
    }
}

impl Opened {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let from = self.end.load(Ordering::Acquire);
        let to = from + bytes.len() as u64;
        self.file.write_all_at(bytes, from)?;
        if self.expects_appends.load(Ordering::Relaxed) && to > self.reserved.load(Ordering::Relaxed) {
            let upto = to.next_multiple_of(STEP);
            self.file.write_all_at(&ZEROS[..(upto - to) as usize], to)?;
            self.reserved.store(upto, Ordering::Relaxed);
        }
        self.end.store(to, Ordering::Release);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.reserved.store(0, Ordering::Relaxed);
        self.end.store(len, Ordering::Release);
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> DiskFuture<u64> {
        Box::pin(std::future::ready(Ok(self.0.end.load(Ordering::Acquire))))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        let opened = self.0.clone();
        blocking(move || {
            if offset.saturating_add(len as u64) > opened.end.load(Ordering::Acquire) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut buffer = vec![0; len];
            opened.file.read_exact_at(&mut buffer, offset)?;
            Ok(buffer.into())
        })
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        let opened = self.0.clone();
        blocking(move || opened.append(&bytes))
    }

    fn sync(&self) -> DiskFuture<()> {
        let opened = self.0.clone();
        blocking(move || opened.file.sync_data())
    }

    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        let opened = self.0.clone();
        blocking(move || {
            opened.append(&bytes)?;
            opened.file.sync_data()
        })
    }

    fn expect_appends(&self) {
        self.0.expects_appends.store(true, Ordering::Relaxed);
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        let opened = self.0.clone();
        blocking(move || opened.truncate(len))
    }
}
