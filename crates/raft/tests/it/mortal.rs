//! A disk under which the machine dies at a chosen operation.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use swarmkit_raft::{Disk, DiskFile, DiskFuture, MemoryDisk};

/// Counts the operations that change something, and lets every one from a chosen one on fail without effect.
#[derive(Clone)]
pub(crate) struct MortalDisk {
    disk: MemoryDisk,
    life: Arc<Life>,
}

struct Life {
    used: AtomicU64,
    last: u64,
}

impl Life {
    fn spend(&self) -> std::io::Result<()> {
        let used = self.used.fetch_add(1, Ordering::Relaxed);
        if used < self.last { Ok(()) } else { Err(std::io::Error::other("the machine is dead")) }
    }
}

impl MortalDisk {
    /// A disk that survives so many changes.
    pub(crate) fn new(disk: MemoryDisk, changes: u64) -> Self {
        Self { disk, life: Arc::new(Life { used: AtomicU64::new(0), last: changes }) }
    }

    /// Whether an operation was refused.
    pub(crate) fn is_dead(&self) -> bool {
        self.life.used.load(Ordering::Relaxed) > self.life.last
    }

    fn change<T: Send + 'static>(&self, operation: impl FnOnce() -> DiskFuture<T>) -> DiskFuture<T> {
        match self.life.spend() {
            Ok(()) => operation(),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn file(&self, opened: DiskFuture<Box<dyn DiskFile>>) -> DiskFuture<Box<dyn DiskFile>> {
        let of = self.clone();
        Box::pin(async move { Ok(Box::new(MortalFile { file: opened.await?, of }) as Box<dyn DiskFile>) })
    }
}

impl Disk for MortalDisk {
    fn list(&self) -> DiskFuture<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        self.file(self.change(|| self.disk.create(name)))
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        self.file(self.disk.open(name))
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        self.change(|| self.disk.rename(from, to))
    }

    fn remove(&self, name: &str) -> DiskFuture<()> {
        self.change(|| self.disk.remove(name))
    }

    fn sync_names(&self) -> DiskFuture<()> {
        self.change(|| self.disk.sync_names())
    }
}

struct MortalFile {
    file: Box<dyn DiskFile>,
    of: MortalDisk,
}

impl DiskFile for MortalFile {
    fn size(&self) -> DiskFuture<u64> {
        self.file.size()
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        self.file.read_at(offset, len)
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        self.of.change(|| self.file.append(bytes))
    }

    fn sync(&self) -> DiskFuture<()> {
        self.of.change(|| self.file.sync())
    }

    /// Two changes: the machine may die between them.
    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        let written = self.append(bytes);
        let synced = self.sync();
        Box::pin(async move {
            written.await?;
            synced.await
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.of.change(|| self.file.truncate(len))
    }
}
