//! Snapshots: the folder as a place where the newest one is kept.

mod file;
#[cfg(test)]
mod tests;

use std::{
    io::ErrorKind,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use swarmkit_runtime::Env;

use crate::{
    disk::Disk,
    log::LogError,
    seal::{LogKeys, Sealer},
    types::{SnapshotMeta, term_of},
};

pub(crate) use file::{SnapshotFile, SnapshotReader, SnapshotWriter};

const SUFFIX: &str = ".snap";
/// Files that are not finished end with this. They are removed at start.
pub(crate) const UNFINISHED: &str = ".tmp";

/// The pause between two pieces of a snapshot that is being made. Making and sealing a piece keeps a thread, and no write goes on
/// there meanwhile. Pieces of 256 KiB come to 26 MB a second at most. With 4 ms, writers of a store of a million tasks on
/// two cores waited twice as long (p99) while snapshots were made.
const REST: Duration = Duration::from_millis(10);

/// The folder as a place for snapshots. Clones share it.
#[derive(Clone)]
pub(crate) struct Shelf {
    disk: Arc<dyn Disk>,
    /// Seals what is begun now.
    sealer: Arc<Mutex<Sealer>>,
    env: Env,
    newest: Arc<Mutex<Option<SnapshotFile>>>,
    unfinished: Arc<Mutex<Vec<Unfinished>>>,
    /// How many older ones are kept beside the newest.
    older: Arc<AtomicU64>,
    /// Held while a snapshot becomes the newest, so that the key does not change in between.
    adopting: Arc<tokio::sync::Mutex<()>>,
}

/// A file that does not count yet, and whether anybody still works on it.
type Unfinished = (String, Weak<()>);

impl Shelf {
    /// Finds the newest snapshot, and removes what was never finished.
    pub(crate) async fn open(disk: Arc<dyn Disk>, keys: &LogKeys, env: Env) -> Result<Self, LogError> {
        let sealers = keys.sealers(&env);
        let shelf = Self {
            disk,
            sealer: Arc::new(Mutex::new(sealers[0].clone())),
            env,
            newest: Arc::default(),
            unfinished: Arc::default(),
            older: Arc::default(),
            adopting: Arc::default(),
        };
        let names = shelf.names(|_| true).await?;
        if let Some(name) = names.iter().filter(|name| name.ends_with(SUFFIX)).max() {
            let found = SnapshotFile::open(shelf.disk.clone(), name.clone(), &sealers).await?;
            // A process that was killed may have left the name without making it durable.
            shelf.disk.sync_names().await.map_err(LogError::io("sync the folder for", name))?;
            *shelf.newest.lock() = Some(found);
        }
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            shelf.disk.remove(name).await.map_err(LogError::io("remove", name))?;
        }
        Ok(shelf)
    }

    /// Keeps so many older ones beside the newest from now on.
    pub(crate) fn keep_older(&self, count: u64) {
        self.older.store(count, Ordering::Relaxed);
    }

    /// The newest snapshot.
    pub(crate) fn newest(&self) -> Option<SnapshotFile> {
        self.newest.lock().clone()
    }

    /// Lets others work before the next piece of a snapshot is made.
    pub(crate) async fn rest(&self) {
        self.env.sleep(REST).await;
    }

    /// Begins a snapshot. It counts only after [`Shelf::adopt`].
    pub(crate) async fn begin(&self, meta: SnapshotMeta) -> Result<SnapshotWriter, LogError> {
        self.sweep().await?;
        let name = format!("{}{UNFINISHED}", self.env.new_id());
        let used = Arc::new(());
        self.unfinished.lock().push((name.clone(), Arc::downgrade(&used)));
        let sealer = self.sealer.lock().clone();
        SnapshotWriter::create(self.disk.clone(), name, sealer, &self.env, meta, used).await
    }

    /// Seals with another key from now on, the newest snapshot too. When this returns, no other key is needed.
    pub(crate) async fn reseal(&self, sealer: &Sealer) -> Result<(), LogError> {
        {
            // One that is being adopted is the newest, or will ask for the key, before this goes on.
            let _one = self.adopting.lock().await;
            *self.sealer.lock() = sealer.clone();
        }
        if let Some(newest) = self.newest() {
            let kept = self.adopt(newest).await?;
            // The older ones are not worth a copy.
            self.remove_before(&kept.name, 0).await?;
        }
        Ok(())
    }

    /// Keeps a finished snapshot, durably, and removes all older ones. Does nothing for one that is kept already, and
    /// copies one of another folder or under another key.
    pub(crate) async fn adopt(&self, mut snapshot: SnapshotFile) -> Result<SnapshotFile, LogError> {
        let _one = self.adopting.lock().await;
        while !Arc::ptr_eq(&snapshot.disk, &self.disk) || !snapshot.sealer.same_key(&self.sealer.lock()) {
            snapshot = self.copy(&snapshot).await?;
        }
        let name = final_name(&snapshot.meta);
        if snapshot.name == name {
            return Ok(snapshot);
        }
        self.disk.rename(&snapshot.name, &name).await.map_err(LogError::io("rename", &snapshot.name))?;
        self.disk.sync_names().await.map_err(LogError::io("sync the folder for", &name))?;
        self.unfinished.lock().retain(|(other, _)| *other != snapshot.name);
        snapshot.name.clone_from(&name);
        {
            let mut newest = self.newest.lock();
            if newest.as_ref().is_none_or(|newest| newest.name <= name) {
                *newest = Some(snapshot.clone());
            }
        }
        self.remove_before(&name, self.older.load(Ordering::Relaxed)).await?;
        Ok(snapshot)
    }

    /// Removes what was begun and then given up: a snapshot that did not arrive whole, or that was not wanted.
    async fn sweep(&self) -> Result<(), LogError> {
        let (live, given_up): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.unfinished.lock()).into_iter().partition(|(_, used)| used.strong_count() > 0);
        self.unfinished.lock().extend(live);
        for (name, _) in given_up {
            match self.disk.remove(&name).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(LogError::io("remove", &name)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    async fn copy(&self, snapshot: &SnapshotFile) -> Result<SnapshotFile, LogError> {
        let mut writer = self.begin(snapshot.meta.clone()).await?;
        let mut reader = snapshot.reader();
        while let Some(piece) = reader.next().await? {
            writer.write(&piece).await?;
        }
        writer.finish().await
    }

    /// Removes what is older than a snapshot, but for so many.
    async fn remove_before(&self, newest: &str, kept: u64) -> Result<(), LogError> {
        let mut older = self.names(|name| name.ends_with(SUFFIX) && name < newest).await?;
        older.sort();
        older.truncate(older.len().saturating_sub(usize::try_from(kept).unwrap_or(usize::MAX)));
        for name in older {
            self.disk.remove(&name).await.map_err(LogError::io("remove", &name))?;
        }
        Ok(())
    }

    async fn names(&self, wanted: impl Fn(&str) -> bool + Send) -> Result<Vec<String>, LogError> {
        let mut names = self.disk.list().await.map_err(LogError::io("list", "the folder"))?;
        names.retain(|name| wanted(name));
        Ok(names)
    }
}

/// Whether a file is a snapshot that counts.
pub(crate) fn is_snapshot(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Whether a file was never finished.
pub(crate) fn is_unfinished(name: &str) -> bool {
    name.ends_with(UNFINISHED)
}

/// A name that sorts like the snapshots do.
fn final_name(meta: &SnapshotMeta) -> String {
    let (term, index) = meta.last_log_id.as_ref().map_or((0, 0), |id| (term_of(id), id.index));
    format!("{index:016x}-{term:016x}{SUFFIX}")
}
