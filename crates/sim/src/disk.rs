//! The disk of one machine: it outlives the members that use it, and loses what a real one may lose.
//!
//! Each member mounts it for one life. When that life is over, whatever of it still runs gets errors, so a task of a dead
//! member that is polled once more does no harm.

mod content;
mod file;
mod platter;

use std::{io, sync::Arc};

use parking_lot::Mutex;
use rand::{RngExt as _, rngs::SmallRng};
use swarmkit_api::NodeId;
use swarmkit_raft::{Disk, DiskFile, DiskFuture};
use tokio_util::sync::CancellationToken;

use self::{
    content::Content,
    file::OpenFile,
    platter::{Aim, NameOp, QUICK_MS, State},
};
use crate::{Trace, bug::Bug};

pub use self::platter::Moment;

/// The disk of one machine. Clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Shared>);

struct Shared {
    node: NodeId,
    trace: Trace,
    bug: Option<Bug>,
    state: Mutex<State>,
}

/// The disk, mounted by one life of a member.
#[derive(Clone)]
struct Mounted {
    disk: SimDisk,
    life: CancellationToken,
}

// === impl SimDisk ===

impl SimDisk {
    /// An empty disk, whose faults come from `rng`.
    #[must_use]
    pub fn new(node: NodeId, rng: SmallRng, trace: Trace, bug: Option<Bug>) -> Self {
        let state = State::new(rng);
        Self(Arc::new(Shared { node, trace, bug, state: Mutex::new(state) }))
    }

    /// The disk for one life of a member. The power goes off by cancelling `life`, after [`SimDisk::lose_power`].
    #[must_use]
    pub fn mount(&self, life: CancellationToken) -> Arc<dyn Disk> {
        let mut state = self.0.state.lock();
        state.was_faulty = state.faulty;
        drop(state);
        Arc::new(Mounted { disk: self.clone(), life })
    }

    /// Cuts the power: of what was not synced, any part may be left.
    pub fn lose_power(&self) {
        let mut state = self.0.state.lock();
        let lost = state.lose_power(self.0.bug);
        drop(state);
        self.note(format_args!("loses power, and {lost} bytes"));
    }

    /// Repairs what makes the disk fail, and disarms what waits for its moment. The content stays.
    pub fn repair(&self) {
        let mut state = self.0.state.lock();
        (state.room, state.failing_syncs, state.faulty) = (None, false, false);
        (state.sync_ms, state.aim) = (QUICK_MS, None);
    }

    /// Lets so many bytes more be written, then no more.
    pub fn fill_up_after(&self, bytes: usize) {
        let mut state = self.0.state.lock();
        (state.room, state.faulty, state.was_faulty) = (Some(bytes), true, true);
    }

    /// Lets every sync fail from now on.
    pub fn fail_syncs(&self) {
        let mut state = self.0.state.lock();
        (state.failing_syncs, state.faulty, state.was_faulty) = (true, true, true);
    }

    /// Lets a sync take so many milliseconds.
    pub fn sync_takes(&self, from_ms: u64, to_ms: u64) {
        self.0.state.lock().sync_ms = (from_ms, to_ms);
    }

    /// Cuts the power at the next such moment but `passes`.
    pub fn cut_power_at(&self, moment: Moment, passes: u32) {
        self.0.state.lock().aim = Some(Aim { moment, passes });
    }

    /// Changes one bit of what was made durable before the last sync of a file, and tells of which. Nothing if there is no
    /// such bit.
    ///
    /// What came with the last sync is spared: damage there cannot be told from a write that was torn.
    pub fn decay(&self) -> Option<String> {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let candidates: Vec<(&String, usize)> = state
            .names
            .iter()
            .map(|(name, &file)| (name, file))
            .filter(|&(_, file)| state.files[file].old() > 0)
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let (name, file) = candidates[state.rng.random_range(0..candidates.len())];
        let at = state.rng.random_range(0..state.files[file].old());
        let bit = state.rng.random_range(0..8);
        state.files[file].flip(at, bit);
        state.decayed = true;
        let what = format!("{name} at {at}");
        self.note(format_args!("decays: {what}"));
        Some(what)
    }

    /// Forgets everything.
    pub fn wipe(&self) {
        let mut state = self.0.state.lock();
        state.names.clear();
        state.durable_names.clear();
        state.pending.clear();
        state.decayed = false;
        drop(state);
        self.note(format_args!("is wiped"));
    }

    /// Whether it was told to fail, and not repaired since.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        self.0.state.lock().faulty
    }

    /// Whether it was told to fail since it was mounted, or before that and was not repaired. A member takes a moment to
    /// end of a failure, in which the disk may be repaired.
    #[must_use]
    pub fn was_faulty(&self) -> bool {
        self.0.state.lock().was_faulty
    }

    /// Whether what it holds was damaged since it was last wiped.
    #[must_use]
    pub fn has_decayed(&self) -> bool {
        self.0.state.lock().decayed
    }

    /// Whether there is any file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.state.lock().names.is_empty()
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.0.trace.line(&self.0.node, format_args!("disk {what}"));
    }
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk({})", self.0.node)
    }
}

// === impl Mounted ===

impl Mounted {
    /// Does something at once, unless the life is over. `moment` is what it leads to.
    fn with<T>(&self, moment: Option<Moment>, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        if self.life.is_cancelled() {
            return Err(dead());
        }
        let mut state = self.disk.0.state.lock();
        let done = work(&mut state)?;
        if let Some(moment) = moment
            && state.strikes(moment)
        {
            let lost = state.lose_power(self.disk.0.bug);
            drop(state);
            self.disk.note(format_args!("loses power when {moment:?}, and {lost} bytes"));
            self.life.cancel();
            return Err(dead());
        }
        Ok(done)
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.disk.note(what);
    }
}

fn dead() -> io::Error {
    io::Error::other("the machine has no power")
}

fn missing(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

fn ready<T: Send + 'static>(result: io::Result<T>) -> DiskFuture<T> {
    Box::pin(std::future::ready(result))
}

impl Disk for Mounted {
    fn list(&self) -> DiskFuture<Vec<String>> {
        ready(self.with(None, |state| Ok(state.names.keys().cloned().collect())))
    }

    fn create(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let made = self.with(Some(Moment::Created), |state| {
            if state.names.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.files.len();
            state.files.push(Content::default());
            state.names.insert(name.to_owned(), file);
            state.pending.push(NameOp::Create(name.to_owned(), file));
            Ok(file)
        });
        self.note(format_args!("create {name}"));
        ready(made.map(|file| OpenFile::boxed(self.clone(), file, name)))
    }

    fn open(&self, name: &str) -> DiskFuture<Box<dyn DiskFile>> {
        let found = self.with(None, |state| state.names.get(name).copied().ok_or_else(|| missing(name)));
        ready(found.map(|file| OpenFile::boxed(self.clone(), file, name)))
    }

    fn rename(&self, from: &str, to: &str) -> DiskFuture<()> {
        self.note(format_args!("rename {from} {to}"));
        ready(self.with(Some(Moment::Renamed), |state| {
            let file = state.names.remove(from).ok_or_else(|| missing(from))?;
            state.names.insert(to.to_owned(), file);
            state.pending.push(NameOp::Rename(from.to_owned(), to.to_owned()));
            Ok(())
        }))
    }

    fn remove(&self, name: &str) -> DiskFuture<()> {
        self.note(format_args!("remove {name}"));
        ready(self.with(Some(Moment::Removed), |state| {
            state.names.remove(name).ok_or_else(|| missing(name))?;
            state.pending.push(NameOp::Remove(name.to_owned()));
            Ok(())
        }))
    }

    fn sync_names(&self) -> DiskFuture<()> {
        let this = self.clone();
        Box::pin(async move {
            let takes = this.with(None, |state| Ok(state.sync_time()))?;
            tokio::time::sleep(takes).await;
            let bug = this.disk.0.bug;
            this.with(Some(Moment::Synced), |state| {
                state.sync_names(bug);
                Ok(())
            })?;
            this.note(format_args!("synced names"));
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
