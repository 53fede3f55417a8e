//! Opening a log: reading every segment, repairing a torn tail, refusing damage.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use swarmkit_api::NodeId;
use swarmkit_runtime::Env;

use super::{
    Owner, entry_place,
    error::LogError,
    index::{CACHE_BYTES, Gap, Index, Location},
    record::{self, Found, HEADER_BYTES, Record, Start},
    segment::{self, Active, FORMAT, Identity, LOG_ID_BYTES, Said, Segment},
};
use crate::{
    codec::{decode_payload, id_from_wire, vote_from_wire},
    disk::{self, Disk, DiskFile},
    seal::Sealer,
    types::LogId,
};

/// A log that was read back.
pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) identity: Identity,
    pub(super) active: Active,
    /// Every segment by number, the active one included.
    pub(super) segments: BTreeMap<u64, Segment>,
}

/// Reads the log, or begins one in a folder that has none.
pub(super) async fn open(disk: &dyn Disk, keys: Vec<Sealer>, env: &Env, owner: &Owner) -> Result<Recovered, LogError> {
    let names = disk.list().await.map_err(LogError::io("list", "the folder"))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            return Err(LogError::Missing { file: segment::name(pair[0] + 1) });
        }
    }
    let mut scan = Scan::new(keys, owner.clone());
    let mut segments = BTreeMap::new();
    let mut active = None;
    for (at, &number) in numbers.iter().enumerate() {
        let name = segment::name(number);
        let file: Arc<dyn DiskFile> = disk.open(&name).await.map_err(LogError::io("open", &name))?.into();
        let content = disk::read_all(&*file).await.map_err(LogError::io("read", &name))?;
        let read = scan.segment(number, &content, at + 1 == numbers.len())?;
        if read.end == 0 {
            // The crash came before the first record was durable, and so before anything relied on the file.
            disk.remove(&name).await.map_err(LogError::io("remove", &name))?;
            continue;
        }
        let torn = content.len() as u64 - read.end;
        if torn > 0 {
            if content[read.end as usize..].iter().any(|&byte| byte != 0) {
                tracing::warn!(file = name, offset = read.end, bytes = torn, "cutting a torn tail");
            }
            file.truncate(read.end).await.map_err(LogError::io("truncate", &name))?;
            file.sync().await.map_err(LogError::io("sync", &name))?;
        }
        file.expect_appends();
        segments.insert(number, Segment { file: file.clone(), sealer: scan.identity.sealer.clone() });
        active = Some(Active { number, file, len: read.end, next_batch: read.next_batch });
    }
    let (index, mut identity) = scan.finish(numbers.first().copied(), &segments)?;
    let active = match active {
        Some(active) => {
            // A process that was killed leaves what it wrote, synced or not, and a file whose name is not. From here on
            // all that was found counts as durable: entries are acknowledged and votes kept without being written again.
            active.file.sync().await.map_err(LogError::io("sync", &segment::name(active.number)))?;
            disk.sync_names().await.map_err(LogError::io("sync the folder for", &segment::name(active.number)))?;
            active
        }
        None => {
            env.fill_random(&mut identity.log);
            let active = Active::create(disk, 0, &identity.start(&Said::default())).await?;
            let file = active.file.clone();
            segments.insert(active.number, Segment { file, sealer: identity.sealer.clone() });
            active
        }
    };
    Ok(Recovered { index, identity, active, segments })
}

/// What reading one segment came to.
struct Read {
    /// Where the last whole batch ends.
    end: u64,
    next_batch: u32,
}

struct Scan {
    index: Index,
    /// What may open a segment.
    keys: Vec<Sealer>,
    /// With the key of the segment that was read last.
    identity: Identity,
    /// A first record was seen, so `identity` is that of the log.
    known: bool,
    /// What was purged in truth. `index` counts as purged everything that was in segments which are gone.
    purged: Option<LogId>,
    /// The newest entries, still sealed, to fill the cache with.
    recent: VecDeque<(LogId, Location, Bytes)>,
    recent_bytes: usize,
}

impl Scan {
    /// `keys` are never empty; the first one seals a log that begins now.
    fn new(keys: Vec<Sealer>, owner: Owner) -> Self {
        Self {
            index: Index::default(),
            identity: Identity { log: [0; LOG_ID_BYTES], owner, sealer: keys[0].clone() },
            keys,
            known: false,
            purged: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
        }
    }

    /// Reads every whole batch of a segment. Only in the `newest` may there be more than that: a torn tail.
    fn segment(&mut self, number: u64, content: &Bytes, newest: bool) -> Result<Read, LogError> {
        let file = segment::name(number);
        let mut read = Read { end: 0, next_batch: 0 };
        let mut batch_so_far: Vec<(Record, Location)> = Vec::new();
        let mut at = 0;
        loop {
            match record::read(content, number, at) {
                Found::Record { record, batch, last_of_batch, end } => {
                    if batch != read.next_batch || (at == 0) != matches!(record, Record::Start(_)) {
                        return Err(LogError::damaged(&file, at as u64, "a record is out of place"));
                    }
                    let len = u32::try_from(end - at).expect("invariant: the length of a record has 32 bits");
                    batch_so_far.push((record, Location { segment: number, offset: at as u64, len }));
                    at = end;
                    if last_of_batch {
                        for (record, location) in batch_so_far.drain(..) {
                            self.absorb(&file, record, location)?;
                        }
                        read = Read { end: at as u64, next_batch: batch + 1 };
                    }
                }
                Found::End if newest || batch_so_far.is_empty() => return Ok(read),
                Found::End => return Err(LogError::damaged(&file, at as u64, "a batch is cut off")),
                Found::Damage(_) if newest && !a_later_batch_follows(content, number, at, read.next_batch) => {
                    return Ok(read);
                }
                Found::Damage(what) => return Err(LogError::damaged(&file, at as u64, what)),
            }
        }
    }

    fn absorb(&mut self, file: &str, record: Record, at: Location) -> Result<(), LogError> {
        match record {
            Record::Start(start) => return self.start(file, &start),
            Record::Entry { id, sealed } => {
                self.index.push_found(&id, at).map_err(|Gap { expected, found }| {
                    LogError::damaged(file, at.offset, format!("entry {found} stands where {expected} belongs"))
                })?;
                self.recent_bytes += sealed.len();
                self.recent.push_back((id, at, sealed));
                while self.recent_bytes > CACHE_BYTES
                    && let Some((.., sealed)) = self.recent.pop_front()
                {
                    self.recent_bytes -= sealed.len();
                }
            }
            Record::Vote(vote) => self.index.vote = Some(vote),
            Record::Committed(id) => self.index.committed = Some(id),
            Record::Owner(owner) => self.identity.owner = owner,
            Record::GivenUp(id) => self.index.given_up = Some(id),
            Record::Truncate(last) => {
                self.index.truncate_after(last);
                if self.index.last() > last {
                    // What was cut lay in segments that are gone.
                    self.index.set_floor(last);
                }
                while self.recent.back().is_some_and(|(id, ..)| last.is_none_or(|last| id.index > last.index)) {
                    self.recent_bytes -= self.recent.pop_back().map_or(0, |(.., sealed)| sealed.len());
                }
            }
            Record::Purge(id) => {
                self.index.purge(id);
                self.purged = self.purged.max(Some(id));
            }
        }
        Ok(())
    }

    fn start(&mut self, file: &str, start: &Start) -> Result<(), LogError> {
        if start.format != FORMAT {
            return Err(LogError::Format { file: file.to_owned(), format: start.format });
        }
        let sealer = self.keys.iter().find(|sealer| segment::opens(sealer, start));
        self.identity.sealer = sealer.cloned().ok_or_else(|| LogError::WrongKey { file: file.to_owned() })?;
        let log =
            start.log.as_slice().try_into().map_err(|_| LogError::damaged(file, 0, "an identity is malformed"))?;
        let last = start.last.as_ref().map(id_from_wire);
        if self.known {
            if self.identity.log != log {
                return Err(LogError::damaged(file, 0, "the segment belongs to another log"));
            }
            if self.index.last() != last {
                return Err(LogError::damaged(file, 0, "the segment does not follow on the one before it"));
            }
            return Ok(());
        }
        // The oldest segment stands for all that were removed before it.
        (self.known, self.identity.log) = (true, log);
        self.identity.owner = Owner { raft_id: start.raft_id, node_id: NodeId::from(start.node_id.as_str()) };
        self.index.vote = start.vote.as_ref().map(vote_from_wire);
        self.index.committed = start.committed.as_ref().map(id_from_wire);
        self.index.set_floor(last);
        self.purged = start.purged.as_ref().map(id_from_wire);
        Ok(())
    }

    /// Fills the cache, and hands over what was read.
    fn finish(mut self, oldest: Option<u64>, segments: &BTreeMap<u64, Segment>) -> Result<(Index, Identity), LogError> {
        if self.index.purged() > self.purged {
            let missing = oldest.unwrap_or_default().saturating_sub(1);
            return Err(LogError::Missing { file: segment::name(missing) });
        }
        while let Some((id, at, sealed)) = self.recent.pop_back() {
            let opened = segments.get(&at.segment).and_then(|of| of.sealer.open(&entry_place(&id), &sealed).ok());
            let entry = opened.and_then(|payload| decode_payload(id, payload).ok()).ok_or_else(|| {
                LogError::damaged(&segment::name(at.segment), at.offset, "an entry cannot be unsealed")
            })?;
            self.index.warm(entry);
        }
        self.index.trim();
        Ok((self.index, self.identity))
    }
}

/// Whether a record of a batch after `torn` lies beyond `at`: then what stands at `at` was synced once, and is damage.
pub(super) fn a_later_batch_follows(content: &Bytes, segment: u64, at: usize, torn: u32) -> bool {
    let last_start = content.len().saturating_sub(HEADER_BYTES);
    (at + 1..=last_start)
        .any(|offset| matches!(record::read(content, segment, offset), Found::Record { batch, .. } if batch > torn))
}
