//! A disk in memory that loses on demand what a real one may lose.

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngExt as _, rngs::SmallRng};

use super::{Disk, DiskFile, DiskFuture};

/// A folder in memory. Clones share it; it outlives the node that uses it.
///
/// What is read is always what was last written. What [`MemoryDisk::crash`] leaves is what was synced, and a part of the
/// rest.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<State>>);

/// How much of what was not synced a crash leaves behind.
#[derive(Debug)]
pub enum Crash<'a> {
    /// Nothing.
    LoseAll,
    /// This many bytes of each file, and all changes of names.
    KeepBytes(usize),
    /// A part drawn at random for each file, its end sometimes overwritten with zeros, and perhaps the names.
    Torn(&'a mut SmallRng),
}

#[derive(Debug, Default)]
struct State {
    /// Raised by each crash; handles of an older one are dead.
    epoch: u64,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    /// How many bytes may still be written before the disk is full.
    room: Option<usize>,
    sync_delay: Duration,
    failing_syncs: bool,
    syncs: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    visible: Vec<u8>,
    /// How much of it, from the beginning, is durable.
    synced: usize,
    /// What is durable instead, while a cut below `synced` is not synced.
    before_cut: Option<Vec<u8>>,
}

impl MemoryDisk {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power: every open handle dies, and what was not synced is lost as `how` says.
    pub fn crash(&self, mut how: Crash<'_>) {
        let mut state = self.0.lock();
        state.epoch += 1;
        state.room = None;
        state.failing_syncs = false;
        for file in &mut state.files {
            let visible = leftover(file, &mut how);
            *file = Content::durable(visible);
        }
        let keep_names = match &mut how {
            Crash::LoseAll => false,
            Crash::KeepBytes(_) => true,
            Crash::Torn(rng) => rng.random_bool(0.5),
        };
        if keep_names {
            state.durable_names = state.names.clone();
        } else {
            state.names = state.durable_names.clone();
        }
    }

    /// Lets `bytes` more be written, then answers [`io::ErrorKind::StorageFull`]. A write that does not fit is cut off.
    pub fn fill_up_after(&self, bytes: usize) {
        self.0.lock().room = Some(bytes);
    }

    /// Lets every sync of a file fail from now on, until the next crash.
    pub fn fail_syncs(&self) {
        self.0.lock().failing_syncs = true;
    }

    /// Makes every sync of a file take this long on tokio's clock.
    pub fn delay_syncs(&self, by: Duration) {
        self.0.lock().sync_delay = by;
    }

    /// How many syncs of files have succeeded.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// What a file holds, as a reader would see it; `None` when there is no such file.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.0.lock();
        state.names.get(name).map(|&file| state.files[file].visible.clone())
    }

    /// Replaces what a file holds, durably: a disk that decays.
    pub fn overwrite(&self, name: &str, content: Vec<u8>) {
        let mut state = self.0.lock();
        if let Some(&file) = state.names.get(name) {
            state.files[file] = Content::durable(content);
        }
    }

    /// An independent disk with the same content.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let state = self.0.lock();
        Self(Arc::new(Mutex::new(State {
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            files: state.files.clone(),
            ..State::default()
        })))
    }

    fn handle(&self, file: usize, epoch: u64) -> Box<dyn DiskFile> {
        Box::new(MemoryFile { disk: self.clone(), file, epoch })
    }
}

impl Content {
    fn durable(visible: Vec<u8>) -> Self {
        Self { synced: visible.len(), visible, before_cut: None }
    }
}

/// What a crash leaves of one file.
fn leftover(file: &Content, how: &mut Crash<'_>) -> Vec<u8> {
    if let Some(before) = &file.before_cut {
        // The cut and what was written after it: all or nothing.
        let keep = match how {
            Crash::LoseAll => false,
            Crash::KeepBytes(_) => true,
            Crash::Torn(rng) => rng.random_bool(0.5),
        };
        return if keep { file.visible.clone() } else { before.clone() };
    }
    let synced = file.synced;
    let tail = file.visible.len() - synced;
    match how {
        Crash::LoseAll => file.visible[..synced].to_vec(),
        Crash::KeepBytes(bytes) => file.visible[..synced + tail.min(*bytes)].to_vec(),
        Crash::Torn(rng) => {
            let mut left = file.visible[..synced + rng.random_range(0..=tail)].to_vec();
            let kept = left.len() - synced;
            if rng.random_bool(0.3) {
                let zeros = rng.random_range(0..=kept);
                let from = left.len() - zeros;
                left[from..].fill(0);
            }
            left
        }
    }
}

fn ready<T: Send + 'static>(result: io::Result<T>) -> DiskFuture<T> {
    Box::pin(std::future::ready(result))
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Disk for MemoryDisk {
    fn list(&self) -> DiskFuture<Vec<String>> {
        ready(Ok(self.0.lock().names.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let mut state = self.0.lock();
        if state.names.contains_key(name) {
            return ready(Err(io::ErrorKind::AlreadyExists.into()));
        }
        let file = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), file);
        ready(Ok(self.handle(file, state.epoch)))
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let state = self.0.lock();
        ready(state.names.get(name).map(|&file| self.handle(file, state.epoch)).ok_or_else(|| missing(name)))
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        let mut state = self.0.lock();
        ready(match state.names.remove(from) {
            Some(file) => {
                state.names.insert(to.to_owned(), file);
                Ok(())
            }
            None => Err(missing(from)),
        })
    }

    fn remove(&self, name: &str) -> DiskFuture<()> {
        ready(self.0.lock().names.remove(name).map(|_| ()).ok_or_else(|| missing(name)))
    }

    fn sync_names(&self) -> DiskFuture<()> {
        let mut state = self.0.lock();
        state.durable_names = state.names.clone();
        ready(Ok(()))
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    file: usize,
    epoch: u64,
}

impl MemoryFile {
    /// Runs `work` unless the node that opened the file has crashed since.
    fn with<T>(&self, work: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.epoch != self.epoch {
            return Err(io::Error::other("the handle belongs to a node that has crashed"));
        }
        work(&mut state, self.file)
    }
}

fn append(state: &mut State, file: usize, bytes: &[u8]) -> io::Result<()> {
    let fits = state.room.map_or(bytes.len(), |room| room.min(bytes.len()));
    state.files[file].visible.extend_from_slice(&bytes[..fits]);
    if let Some(room) = &mut state.room {
        *room -= fits;
    }
    if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

fn sync(state: &mut State, file: usize) -> io::Result<()> {
    if state.failing_syncs {
        return Err(io::Error::other("the disk has failed"));
    }
    state.syncs += 1;
    let content = &mut state.files[file];
    content.synced = content.visible.len();
    content.before_cut = None;
    Ok(())
}

impl DiskFile for MemoryFile {
    fn size(&self) -> DiskFuture<u64> {
        ready(self.with(|state, file| Ok(state.files[file].visible.len() as u64)))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        ready(self.with(|state, file| {
            let from = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let visible = &state.files[file].visible;
            visible
                .get(from..from.saturating_add(len))
                .map(Bytes::copy_from_slice)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }))
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        ready(self.with(|state, file| append(state, file, &bytes)))
    }

    fn sync(&self) -> DiskFuture<()> {
        let (twin, delay) = (Self { disk: self.disk.clone(), ..*self }, self.disk.0.lock().sync_delay);
        Box::pin(async move {
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            twin.with(sync)
        })
    }

    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        let (written, synced) = (self.append(bytes), self.sync());
        Box::pin(async move {
            written.await?;
            synced.await
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        ready(self.with(|state, file| {
            let content = &mut state.files[file];
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if len < content.synced {
                content.before_cut.get_or_insert_with(|| content.visible[..content.synced].to_vec());
                content.synced = len;
            }
            content.visible.truncate(len);
            Ok(())
        }))
    }
}
