//! The disk as the log sees it: one folder of plain files.
//!
//! The seam lies at the level of files, so that segments, checksums and the repair of torn tails are what a simulation
//! exercises. [`RealDisk`] is the machine's; [`MemoryDisk`] forgets on demand what was not synced.

mod memory;
mod read_only;
mod real;

use std::io;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use memory::{Crash, MemoryDisk};
pub use read_only::ReadOnlyDisk;
pub use real::RealDisk;

/// What an operation on a [`Disk`] resolves to.
pub type DiskFuture<T> = BoxFuture<'static, io::Result<T>>;

/// One folder without folders in it.
///
/// Obligations:
///
/// - A name that was created, renamed or removed survives a crash only after [`Disk::sync_names`] has returned.
/// - Bytes survive a crash only after [`DiskFile::sync`] has returned. A crash may keep any part of what was not synced.
/// - Operations on one file take effect in the order in which their futures were made and awaited by its one owner.
/// - A failed sync is final: what it should have covered is in an unknown state, and a later success proves nothing.
/// - A handle belongs to one incarnation of the node: once the node has crashed, its handles answer with an error.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files, sorted.
    fn list(&self) -> DiskFuture<Vec<String>>;

    /// Makes an empty file. Fails with [`io::ErrorKind::AlreadyExists`] when the name is taken.
    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>>;

    /// Opens a file for reading and appending.
    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing what had that name.
    fn rename(&self, from: &str, to: &str) -> DiskFuture<()>;

    /// Removes a name. Open handles go on working.
    fn remove(&self, name: &str) -> DiskFuture<()>;

    /// Makes every change of names durable.
    fn sync_names(&self) -> DiskFuture<()>;
}

/// An open file: read anywhere, written only at its end.
pub trait DiskFile: Send + Sync + 'static {
    /// How long it is, in bytes.
    fn size(&self) -> DiskFuture<u64>;

    /// Exactly `len` bytes from `offset` on; [`io::ErrorKind::UnexpectedEof`] when there are fewer.
    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes>;

    /// Writes at the end. A failure may have written a part.
    fn append(&self, bytes: Bytes) -> DiskFuture<()>;

    /// Makes every earlier append and truncation durable.
    fn sync(&self) -> DiskFuture<()>;

    /// Writes at the end and makes that durable, in one step where a step costs something.
    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()>;

    /// Says that many small appends will follow, each of them synced. The file may be longer on the disk from then on than
    /// what was appended, so that not every append has to make it longer: by zeros, which whoever opens it after a crash
    /// finds at its end, and which [`DiskFile::truncate`] takes away. May do nothing.
    fn expect_appends(&self) {}

    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> DiskFuture<()>;
}

/// Reads a whole file.
pub(crate) async fn read_all(file: &dyn DiskFile) -> io::Result<Bytes> {
    let len = usize::try_from(file.size().await?).map_err(|_| io::ErrorKind::FileTooLarge)?;
    file.read_at(0, len).await
}
