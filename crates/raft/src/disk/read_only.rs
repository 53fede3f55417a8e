//! The machine's disk, for whoever only looks.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    Disk, DiskFile, DiskFuture,
    real::{blocking, names},
};

/// A folder of the machine's file system that is read and never changed: nothing is created, locked or repaired, and
/// everything that writes fails with [`io::ErrorKind::ReadOnlyFilesystem`]. A manager may use the folder meanwhile; then
/// a file may vanish between being listed and being read.
#[derive(Clone, Debug)]
pub struct ReadOnlyDisk(PathBuf);

impl ReadOnlyDisk {
    /// Takes an existing folder.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

fn refused<T: Send + 'static>() -> DiskFuture<T> {
    Box::pin(std::future::ready(Err(io::ErrorKind::ReadOnlyFilesystem.into())))
}

impl Disk for ReadOnlyDisk {
    fn list(&self) -> DiskFuture<Vec<String>> {
        names(self.0.clone())
    }

    fn create(&self, _: &str) -> DiskFuture<Box<dyn DiskFile>> {
        refused()
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let path = self.0.join(name);
        blocking(move || Ok(Box::new(ReadOnlyFile(Arc::new(File::open(path)?))) as Box<dyn DiskFile>))
    }

    fn rename(&self, _: &str, _: &str) -> DiskFuture<()> {
        refused()
    }

    fn remove(&self, _: &str) -> DiskFuture<()> {
        refused()
    }

    fn sync_names(&self) -> DiskFuture<()> {
        refused()
    }
}

struct ReadOnlyFile(Arc<File>);

impl DiskFile for ReadOnlyFile {
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

    fn append(&self, _: Bytes) -> DiskFuture<()> {
        refused()
    }

    fn sync(&self) -> DiskFuture<()> {
        refused()
    }

    fn append_and_sync(&self, _: Bytes) -> DiskFuture<()> {
        refused()
    }

    fn truncate(&self, _: u64) -> DiskFuture<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_read_and_never_changed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "content").unwrap();
        let disk = ReadOnlyDisk::new(dir.path());
        assert_eq!(disk.list().await.unwrap(), ["a"]);
        let file = disk.open("a").await.unwrap();
        assert_eq!((file.size().await.unwrap(), file.read_at(3, 4).await.unwrap()), (7, "tent".into()));
        for refused in [file.truncate(0).await, file.append("x".into()).await, disk.remove("a").await] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        assert!(disk.create("b").await.is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("a")).unwrap(), "content");
    }
}
