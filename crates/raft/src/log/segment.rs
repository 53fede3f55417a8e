//! Names and beginnings of segments.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    Owner,
    error::LogError,
    record::{self, Place, Record, Start},
};
use crate::{
    codec::{id_to_wire, vote_to_wire},
    disk::{Disk, DiskFile},
    seal::Sealer,
    types::{LogId, Vote},
};

/// Version of the format of segments.
pub(super) const FORMAT: u32 = 1;
/// Length of a log's identity, in bytes.
pub(super) const LOG_ID_BYTES: usize = 16;

const SUFFIX: &str = ".log";
/// Sealed places of keys are told apart by their first word.
const KEY_CHECK: &[u8] = b"log";

/// The file of a segment.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}{SUFFIX}")
}

/// The number in the name of a segment; nothing for other files.
pub(crate) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// What all records written so far come to. The next segment repeats it.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
    /// The newest entry, even if it is gone by now.
    pub(super) last: Option<LogId>,
    /// For each segment with entries the highest index of those that are not cut off.
    pub(super) highest: BTreeMap<u64, u64>,
}

impl Said {
    /// Takes one more record of a segment into account.
    pub(super) fn add(&mut self, record: &Record, segment: u64) {
        match record {
            Record::Start(_) | Record::Owner(_) | Record::GivenUp(_) => {}
            Record::Entry { id, .. } => {
                self.last = Some(*id);
                self.highest.insert(segment, id.index);
            }
            Record::Vote(vote) => self.vote = Some(*vote),
            Record::Committed(id) => self.committed = Some(*id),
            Record::Truncate(last) => {
                let kept = later(*last, self.purged);
                if later(self.last, kept) != kept {
                    self.last = kept;
                }
                match last {
                    Some(last) => self.highest.values_mut().for_each(|highest| *highest = last.index.min(*highest)),
                    None => self.highest.clear(),
                }
            }
            Record::Purge(id) => {
                self.purged = later(self.purged, Some(*id));
                self.last = later(self.last, Some(*id));
            }
        }
    }

    /// The oldest segment that holds an entry which is not gone.
    pub(super) fn oldest_needed(&self) -> Option<u64> {
        let purged = self.purged.map(|id| id.index);
        self.highest.iter().find(|(_, highest)| Some(**highest) > purged).map(|(&segment, _)| segment)
    }

    /// Forgets a segment that is removed.
    pub(super) fn forget(&mut self, segment: u64) {
        self.highest.remove(&segment);
    }
}

/// The one with the higher index; the first of equals.
fn later(a: Option<LogId>, b: Option<LogId>) -> Option<LogId> {
    if b.map(|id| id.index) > a.map(|id| id.index) { b } else { a }
}

/// A segment as it is read.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn DiskFile>,
    /// What opens it.
    pub(super) sealer: Sealer,
}

/// Which log it is, and what seals its newest segment.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) log: [u8; LOG_ID_BYTES],
    pub(super) owner: Owner,
    pub(super) sealer: Sealer,
}

impl Identity {
    /// The first record of a segment.
    pub(super) fn start(&self, said: &Said) -> Record {
        Record::Start(Start {
            format: FORMAT,
            log: self.log.to_vec(),
            raft_id: self.owner.raft_id,
            node_id: self.owner.node_id.to_string(),
            key_check: self.sealer.seal(KEY_CHECK, &self.log),
            vote: said.vote.as_ref().map(vote_to_wire),
            committed: said.committed.as_ref().map(id_to_wire),
            purged: said.purged.as_ref().map(id_to_wire),
            last: said.last.as_ref().map(id_to_wire),
        })
    }
}

/// Whether the first record of a segment was sealed with a key.
pub(super) fn opens(sealer: &Sealer, start: &Start) -> bool {
    sealer.open(KEY_CHECK, &start.key_check).is_ok_and(|log| log == start.log)
}

/// The first record of a segment that another key opens.
pub(super) fn rekeyed(start: Start, sealer: &Sealer) -> Start {
    Start { key_check: sealer.seal(KEY_CHECK, &start.log), ..start }
}

/// The segment that is written to.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) len: u64,
    /// The number of the next batch.
    pub(super) next_batch: u32,
}

impl Active {
    /// Begins a segment; it is durable, its name included, when this returns.
    pub(super) async fn create(disk: &dyn Disk, number: u64, start: &Record) -> Result<Self, LogError> {
        let name = name(number);
        let file = disk.create(&name).await.map_err(LogError::io("create", &name))?;
        file.expect_appends();
        let mut bytes = BytesMut::new();
        record::put(&mut bytes, Place { segment: number, offset: 0 }, 0, start, true);
        let len = bytes.len() as u64;
        file.append_and_sync(bytes.freeze()).await.map_err(LogError::io("write", &name))?;
        disk.sync_names().await.map_err(LogError::io("sync the folder for", &name))?;
        Ok(Self { number, file: file.into(), len, next_batch: 1 })
    }

    /// Takes away what was reserved behind the last record: in an older segment that would be damage.
    pub(super) async fn trim(&self) -> Result<(), LogError> {
        let name = name(self.number);
        self.file.truncate(self.len).await.map_err(LogError::io("truncate", &name))?;
        self.file.sync().await.map_err(LogError::io("sync", &name))
    }

    /// Writes a batch at the end, durably.
    pub(super) async fn write(&mut self, batch: Bytes) -> Result<(), LogError> {
        let len = batch.len() as u64;
        self.file.append_and_sync(batch).await.map_err(LogError::io("write", &name(self.number)))?;
        self.len += len;
        self.next_batch += 1;
        Ok(())
    }
}
