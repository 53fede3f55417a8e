//! The part that writes a journal, and commits what it has written.

use std::{future::Future, mem, pin::Pin, sync::Arc};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use swarmkit_runtime::Spawner;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Failed as _, JournalError, JournalFolder, SEGMENT, name,
    record::{self, Place},
    recovery::{self, Recovered},
};
use crate::{Applier, Proposal, ProposeError};

/// The most bytes of one batch, so that one sync does not wait for a write of many seconds.
const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// What waits to be written. Bounded by [`crate::MAX_IN_FLIGHT`], since every proposal has a place there.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    arrival: Notify,
}

#[derive(Default)]
struct Waiting {
    proposals: Vec<Proposal>,
    open: bool,
}

impl Queue {
    pub(crate) fn push(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let mut waiting = self.waiting.lock();
        if !waiting.open {
            return Err(ProposeError::Stopped);
        }
        waiting.proposals.push(proposal);
        drop(waiting);
        self.arrival.notify_one();
        Ok(())
    }

    /// The oldest proposals, as many as make a batch.
    fn take(&self) -> Vec<Proposal> {
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        let fits = |proposal: &&Proposal| {
            let first = bytes == 0;
            bytes += proposal.payload.len();
            first || bytes <= BATCH_BYTES
        };
        let count = waiting.proposals.iter().take_while(fits).count();
        let rest = waiting.proposals.split_off(count);
        mem::replace(&mut waiting.proposals, rest)
    }

    fn set_open(&self, open: bool) {
        self.waiting.lock().open = open;
    }
}

type Compaction = Pin<Box<dyn Future<Output = Result<u64, JournalError>> + Send>>;

/// Writes what a store commits: one write and one sync for everything that waits.
///
/// While it does not run, nothing is committed; when it ends, nothing more is.
#[must_use = "nothing is committed unless it runs"]
pub struct JournalWriter {
    folder: Arc<dyn JournalFolder>,
    queue: Arc<Queue>,
    applier: Applier,
    compact_after: u64,
    segment: u64,
    offset: u64,
    batch: u64,
    since_snapshot: u64,
    snapshot: u64,
    compaction: Option<Compaction>,
}

impl JournalWriter {
    pub(super) fn new(
        folder: Arc<dyn JournalFolder>,
        queue: Arc<Queue>,
        applier: Applier,
        compact_after: u64,
        recovered: &Recovered,
    ) -> Self {
        queue.set_open(true);
        Self {
            folder,
            queue,
            applier,
            compact_after,
            segment: recovered.segment,
            offset: 0,
            batch: 0,
            since_snapshot: recovered.since_snapshot,
            snapshot: recovered.snapshot,
            compaction: None,
        }
    }

    /// Writes until it is told to stop, and then what still waits.
    ///
    /// # Errors
    ///
    /// What could not be written or synced. It is not tried again, since nobody knows what the disk has; whatever was under
    /// way ends as [`ProposeError::Unknown`].
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), JournalError> {
        loop {
            self.compact().await?;
            let batch = self.queue.take();
            if !batch.is_empty() {
                self.commit(batch).await?;
            } else if stop.is_cancelled() {
                break;
            } else {
                // Biased: an order to stop outranks what it ends.
                tokio::select! { biased;
                    () = stop.cancelled() => self.queue.set_open(false),
                    result = finished(&mut self.compaction) => self.compacted(result?),
                    () = self.queue.arrival.notified() => {}
                }
            }
        }
        if let Some(compaction) = self.compaction.take() {
            compaction.await?;
        }
        Ok(())
    }

    async fn commit(&mut self, batch: Vec<Proposal>) -> Result<(), JournalError> {
        let mut bytes = Vec::with_capacity(batch.iter().map(|one| one.payload.len() + record::HEADER).sum());
        for (position, proposal) in batch.iter().enumerate() {
            let place = Place { file: self.segment, offset: self.offset + bytes.len() as u64 };
            record::encode(place, self.batch, position + 1 == batch.len(), &proposal.payload, &mut bytes);
        }
        let written = bytes.len() as u64;
        let (folder, name) = (self.folder.clone(), name(SEGMENT, self.segment));
        blocking(move || {
            folder.append(&name, &bytes).failed("write", &name)?;
            folder.sync(&name).failed("sync", &name)
        })
        .await?;
        self.batch += 1;
        self.offset += written;
        self.since_snapshot += written;
        for proposal in batch {
            self.applier.apply(&proposal.payload)?;
        }
        Ok(())
    }

    /// Looks after the snapshot under way, and begins one when it is time.
    async fn compact(&mut self) -> Result<(), JournalError> {
        if let Some(result) = self.compaction.as_mut().and_then(|compaction| compaction.now_or_never()) {
            self.compacted(result?);
        }
        if self.compaction.is_some() || self.since_snapshot < self.compact_after.max(self.snapshot) {
            return Ok(());
        }
        // Everything in the segments so far is applied, so the committed state is what the next one begins with.
        let (folder, number) = (self.folder.clone(), self.segment + 1);
        blocking(move || recovery::begin_segment(folder.as_ref(), number)).await?;
        (self.segment, self.offset, self.batch, self.since_snapshot) = (number, 0, 0, 0);
        let (folder, snapshot) = (self.folder.clone(), self.applier.snapshot());
        let write = blocking(move || recovery::write_snapshot(folder.as_ref(), number, &snapshot));
        self.compaction = Some(Box::pin(write));
        Ok(())
    }

    fn compacted(&mut self, size: u64) {
        self.snapshot = size;
        self.compaction = None;
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.queue.set_open(false);
        self.queue.waiting.lock().proposals.clear();
        self.applier.abandon(&ProposeError::Unknown);
    }
}

impl std::fmt::Debug for JournalWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalWriter").field("segment", &self.segment).field("offset", &self.offset).finish()
    }
}

/// The end of a compaction; never, if none is under way.
async fn finished(compaction: &mut Option<Compaction>) -> Result<u64, JournalError> {
    match compaction {
        Some(compaction) => compaction.await,
        None => std::future::pending().await,
    }
}

/// Runs work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, JournalError> + Send + 'static,
) -> Result<T, JournalError> {
    Spawner::blocking(work).await.map_err(|_| JournalError::Interrupted)?
}
