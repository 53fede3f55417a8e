//! The log on the disk: segments of checksummed records, written in batches with one sync each.
//!
//! One part owns the files ([`writer`]). Everybody else sees the [`Index`] in memory, which knows the newest entries
//! themselves, and hands operations to the writer through one queue, so the order of calls is the order on the disk.

mod error;
mod index;
mod record;
mod recovery;
mod refound;
mod reseal;
mod segment;
mod settle;
mod store;
#[cfg(test)]
mod tests;
mod walk;
mod writer;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use swarmkit_api::NodeId;
use swarmkit_runtime::Env;
use tokio::sync::{mpsc, oneshot};

use self::{
    index::{Gap, Hit, Index, Location},
    record::{Found, Place, Record},
    segment::Segment,
    writer::Op,
};
use crate::{
    codec::decode_payload,
    disk::Disk,
    seal::LogKeys,
    types::{Entry, LogId, term_of},
};

pub use error::LogError;
pub(crate) use refound::refound;
pub(crate) use segment::number as segment_number;
pub(crate) use settle::settle;
pub(crate) use walk::Walk;
pub(crate) use writer::Writer;

/// How many operations may wait for the writer. openraft merges appends before they come here, so a few suffice.
const QUEUE_OPS: usize = 1024;

/// What the log is told once.
#[derive(Clone, Debug)]
pub(crate) struct LogOptions {
    /// A segment that is at least this long is followed by another, in bytes.
    pub(crate) segment_bytes: u64,
}

/// Whose log it is. Written when the log begins, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) raft_id: u64,
    pub(crate) node_id: NodeId,
}

/// A handle of the log. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    shared: Arc<Shared>,
    ops: mpsc::Sender<Op>,
}

struct Shared {
    index: Mutex<Index>,
    segments: Mutex<BTreeMap<u64, Segment>>,
    owner: Owner,
    /// Why nothing can be written any more.
    failure: Mutex<Option<LogError>>,
}

impl Log {
    /// Whether a folder holds a log.
    pub(crate) async fn exists(disk: &dyn Disk) -> Result<bool, LogError> {
        let names = disk.list().await.map_err(LogError::io("list", "the folder"))?;
        Ok(names.iter().any(|name| segment::number(name).is_some()))
    }

    /// Reads the log back, or begins one that belongs to `owner`. The writer must be run as a part, or nothing is ever written.
    pub(crate) async fn open(
        disk: Arc<dyn Disk>,
        keys: &LogKeys,
        env: &Env,
        owner: &Owner,
        options: LogOptions,
    ) -> Result<(Self, Writer), LogError> {
        let recovered = recovery::open(&*disk, keys.sealers(env), env, owner).await?;
        let shared = Arc::new(Shared {
            index: Mutex::new(recovered.index),
            segments: Mutex::new(recovered.segments),
            owner: recovered.identity.owner.clone(),
            failure: Mutex::new(None),
        });
        let (ops, queue) = mpsc::channel(QUEUE_OPS);
        let writer = Writer::new(disk, shared.clone(), recovered.identity, recovered.active, options, queue);
        Ok((Self { shared, ops }, writer))
    }

    /// Whose log it is.
    pub(crate) fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    /// Whether the log holds nothing at all: no vote, no entry, and never an entry that is gone by now.
    pub(crate) fn is_pristine(&self) -> bool {
        let index = self.shared.index.lock();
        index.vote.is_none() && index.last().is_none()
    }

    /// The first of the entries up to one that are at most so many, and have at most so many bytes.
    pub(crate) fn first_within(&self, last: u64, entries: u64, bytes: u64) -> u64 {
        self.shared.index.lock().first_within(last, entries, bytes)
    }

    /// Everything up to this entry is in a snapshot only.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.shared.index.lock().purged()
    }

    /// Why the log stopped working, if it did.
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.shared.failure.lock().clone()
    }

    /// Writes what is left to write, and ends the writer.
    pub(crate) async fn close(&self) -> Result<(), LogError> {
        let (done, closed) = oneshot::channel();
        if self.ops.send(Op::Close(done)).await.is_err() {
            return self.failure().map_or(Ok(()), Err);
        }
        closed.await.unwrap_or(Err(LogError::Closed))
    }

    /// Notes that whatever this member proposed as a leader, and that is not committed, was given up. Does without the
    /// note if the disk is too busy: it matters only when a group of one is founded from this log.
    pub(crate) fn give_up(&self) {
        let _ = self.ops.try_send(Op::GiveUp);
    }

    async fn submit(&self, op: Op) -> Result<(), LogError> {
        self.ops.send(op).await.map_err(|_| self.failure().unwrap_or(LogError::Closed))
    }
}

impl Shared {
    /// The entries of a range, as far as they are there.
    async fn read(&self, range: std::ops::Range<u64>) -> Result<Vec<Entry>, LogError> {
        let hits = self.index.lock().get(range);
        let mut entries = Vec::with_capacity(hits.len());
        for hit in hits {
            match hit {
                Hit::Cached(entry) => entries.push(entry),
                Hit::OnDisk(id, at) => match self.load(id, at).await {
                    Ok(entry) => entries.push(entry),
                    // Its segment was removed while it was being read.
                    Err(_) if self.index.lock().purged() >= Some(id) => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(entries)
    }

    /// Reads one entry from the disk.
    async fn load(&self, id: LogId, at: Location) -> Result<Entry, LogError> {
        let file = segment::name(at.segment);
        let segment = self.segments.lock().get(&at.segment).cloned();
        let segment = segment.ok_or_else(|| LogError::Missing { file: file.clone() })?;
        let bytes = segment.file.read_at(at.offset, at.len as usize).await.map_err(LogError::io("read", &file))?;
        let place = Place { segment: at.segment, offset: at.offset };
        match record::read_at(&bytes, place) {
            Found::Record { record: Record::Entry { id: found, sealed }, .. } if found == id => {
                let opened = segment.sealer.open(&entry_place(&id), &sealed);
                let entry = opened.ok().and_then(|payload| decode_payload(id, payload).ok());
                entry.ok_or_else(|| LogError::damaged(&file, at.offset, "an entry cannot be unsealed"))
            }
            Found::Damage(what) => Err(LogError::damaged(&file, at.offset, what)),
            _ => Err(LogError::damaged(&file, at.offset, "another record stands where an entry was written")),
        }
    }

    fn fail(&self, error: LogError) -> LogError {
        self.failure.lock().get_or_insert(error).clone()
    }
}

/// What the sealed payload of an entry is bound to.
fn entry_place(id: &LogId) -> [u8; 21] {
    let mut place = *b"entry----------------";
    place[5..13].copy_from_slice(&term_of(id).to_le_bytes());
    place[13..].copy_from_slice(&id.index.to_le_bytes());
    place
}
