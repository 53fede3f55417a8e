//! The one part that writes: it takes everything that waits, writes it once, syncs it once, and then answers in order.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::{mpsc, oneshot};

use super::{
    LogOptions, Shared, entry_place,
    error::LogError,
    index::Location,
    record::{self, Place, Record},
    reseal::Resealed,
    segment::{self, Active, Identity, Said, Segment},
};
use crate::{
    codec::encode_payload,
    disk::Disk,
    seal::Sealer,
    types::{Entry, LogId, Vote, term_of},
};

/// A batch takes no more operations once it has this many bytes.
const BATCH_BYTES: usize = 4 << 20;

/// Is told when something is durable, or that it never will be.
pub(super) type Done = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// What is to be written, in the order of the calls.
pub(super) enum Op {
    Append(Vec<Entry>, Done),
    Vote(Vote, Done),
    Truncate(Option<LogId>),
    Purge(LogId),
    /// Notes that whatever this member has proposed as a leader, and that is not committed, was given up.
    GiveUp,
    /// Seals with this from here on, in a segment of its own.
    Rekey(Sealer, Done),
    /// Puts a file in the place of a segment that has the same records under another key.
    Replace(Resealed, Done),
    Close(oneshot::Sender<Result<(), LogError>>),
}

/// Owns the files.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    identity: Identity,
    active: Active,
    options: LogOptions,
    queue: mpsc::Receiver<Op>,
    said: Said,
}

/// What one write carries.
#[derive(Default)]
struct Batch {
    records: Vec<Record>,
    /// Size of the payloads, in bytes.
    bytes: usize,
    done: Vec<Done>,
    purge: bool,
    give_up: bool,
    /// Ends the batch.
    after: Option<After>,
}

/// What is done once everything before it is durable.
enum After {
    Rekey(Sealer, Done),
    Replace(Resealed, Done),
    Close(oneshot::Sender<Result<(), LogError>>),
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        identity: Identity,
        active: Active,
        options: LogOptions,
        queue: mpsc::Receiver<Op>,
    ) -> Self {
        let said = {
            let index = shared.index.lock();
            let highest = index.highest_by_segment();
            Said { vote: index.vote, committed: index.committed, purged: index.purged(), last: index.last(), highest }
        };
        Self { disk, shared, identity, active, options, queue, said }
    }

    /// Writes until the log is closed. After a failure of the disk everything is refused with it.
    ///
    /// # Errors
    ///
    /// The failure, once the log is closed.
    pub(crate) async fn run(mut self) -> Result<(), LogError> {
        while let Some(op) = self.queue.recv().await {
            let mut batch = Batch::default();
            self.add(&mut batch, op);
            while batch.bytes < BATCH_BYTES
                && batch.after.is_none()
                && let Ok(op) = self.queue.try_recv()
            {
                self.add(&mut batch, op);
            }
            if batch.give_up {
                batch.records.extend(self.given_up(&batch.records));
            }
            let (after, purge) = (batch.after.take(), batch.purge);
            let closing = matches!(after, Some(After::Close(_)));
            let written = self.unless_failed(async |this| this.write(batch.records, closing).await).await;
            for done in batch.done {
                done(written.clone());
            }
            if purge {
                let _ = self.unless_failed(Self::remove_segments).await;
            }
            match after {
                None => {}
                Some(After::Rekey(sealer, done)) => {
                    done(self.unless_failed(async |this| this.rekey(sealer).await).await)
                }
                Some(After::Replace(file, done)) => {
                    done(self.unless_failed(async |this| this.replace(file).await).await)
                }
                Some(After::Close(done)) => {
                    let closed = self.unless_failed(async |this| this.active.trim().await).await;
                    // Whoever closed the log may have gone away by now.
                    let _ = done.send(closed.clone());
                    return closed;
                }
            }
        }
        self.shared.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Does something to the files, unless the disk has failed; a failure is final.
    async fn unless_failed(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let failed = self.shared.failure.lock().clone();
        match failed {
            Some(error) => Err(error),
            None => work(self).await.map_err(|error| self.shared.fail(error)),
        }
    }

    fn add(&self, batch: &mut Batch, op: Op) {
        match op {
            Op::Append(entries, done) => {
                for entry in &entries {
                    let record = self.entry_record(entry);
                    if let Record::Entry { sealed, .. } = &record {
                        batch.bytes += sealed.len();
                    }
                    batch.records.push(record);
                }
                batch.done.push(done);
            }
            Op::Vote(vote, done) => {
                batch.records.push(Record::Vote(vote));
                batch.done.push(done);
            }
            Op::Truncate(last) => batch.records.push(Record::Truncate(last)),
            Op::Purge(upto) => {
                batch.records.push(Record::Purge(upto));
                batch.purge = true;
            }
            Op::GiveUp => batch.give_up = true,
            Op::Rekey(sealer, done) => batch.after = Some(After::Rekey(sealer, done)),
            Op::Replace(resealed, done) => batch.after = Some(After::Replace(resealed, done)),
            Op::Close(done) => batch.after = Some(After::Close(done)),
        }
    }

    /// An entry as it is written.
    pub(super) fn entry_record(&self, entry: &Entry) -> Record {
        let sealed = self.identity.sealer.seal(&entry_place(&entry.log_id), &encode_payload(entry));
        Record::Entry { id: entry.log_id, sealed: sealed.into() }
    }

    /// Makes the records durable, and with them what is committed. That alone is never worth a write: to lose it costs
    /// nothing but a few entries that are applied a little later.
    pub(super) async fn write(&mut self, mut records: Vec<Record>, closing: bool) -> Result<(), LogError> {
        if (closing || !records.is_empty())
            && let Some(id) = self.newly_committed(&records)
        {
            records.push(Record::Committed(id));
        }
        if records.is_empty() {
            return Ok(());
        }
        if self.active.len >= self.options.segment_bytes {
            self.rotate().await?;
        }
        let (bytes, locations) = self.encode(&records);
        let _span = tracing::debug_span!("raft.append", records = records.len(), bytes = bytes.len());
        self.active.write(bytes.freeze()).await?;
        let mut index = self.shared.index.lock();
        for (record, location) in records.iter().zip(locations) {
            self.said.add(record, self.active.number);
            match record {
                Record::Entry { id, .. } => index.written(id, location),
                Record::GivenUp(id) => index.given_up = Some(*id),
                _ => {}
            }
        }
        index.trim();
        Ok(())
    }

    /// What is committed, if the files do not say so yet and have the entry, or get it with these records. A quorum may
    /// have an entry before this disk does, and a log must not claim what it has not.
    fn newly_committed(&self, records: &[Record]) -> Option<LogId> {
        let index = self.shared.index.lock();
        let id = index.committed.filter(|_| index.committed != self.said.committed)?;
        let has_it = index.is_written(&id)
            || records.iter().any(|record| matches!(record, Record::Entry { id: entry, .. } if *entry == id));
        has_it.then_some(id)
    }

    /// A mark that the newest entry, after these records, and what is not committed before it were given up. Nothing if
    /// this member did not lead in that entry's term: then others may have been told that it is committed.
    fn given_up(&self, records: &[Record]) -> Option<Record> {
        let appended = records.iter().rev().find_map(|record| match record {
            Record::Entry { id, .. } => Some(*id),
            _ => None,
        });
        let last = appended.or(self.said.last)?;
        let index = self.shared.index.lock();
        let led = index.vote == Some(Vote::new_committed(term_of(&last), self.identity.owner.raft_id));
        (led && index.committed < Some(last) && index.given_up != Some(last)).then_some(Record::GivenUp(last))
    }

    fn encode(&self, records: &[Record]) -> (BytesMut, Vec<Location>) {
        let mut bytes = BytesMut::new();
        let mut locations = Vec::with_capacity(records.len());
        for (at, record) in records.iter().enumerate() {
            let place = Place { segment: self.active.number, offset: self.active.len + bytes.len() as u64 };
            let before = bytes.len();
            record::put(&mut bytes, place, self.active.next_batch, record, at + 1 == records.len());
            let len = u32::try_from(bytes.len() - before).expect("invariant: the length of a record has 32 bits");
            locations.push(Location { segment: place.segment, offset: place.offset, len });
        }
        (bytes, locations)
    }

    /// Begins another segment. Everything in the one before is durable.
    async fn rotate(&mut self) -> Result<(), LogError> {
        self.active.trim().await?;
        let start = self.identity.start(&self.said);
        self.active = Active::create(&*self.disk, self.active.number + 1, &start).await?;
        let segment = Segment { file: self.active.file.clone(), sealer: self.identity.sealer.clone() };
        self.shared.segments.lock().insert(self.active.number, segment);
        Ok(())
    }

    /// Seals with another key from here on.
    async fn rekey(&mut self, sealer: Sealer) -> Result<(), LogError> {
        if self.identity.sealer.same_key(&sealer) {
            return Ok(());
        }
        self.identity.sealer = sealer;
        self.rotate().await
    }

    /// Puts a file in the place of a segment, unless that is gone by now.
    async fn replace(&mut self, by: Resealed) -> Result<(), LogError> {
        let name = segment::name(by.number);
        if !self.shared.segments.lock().contains_key(&by.number) {
            return self.disk.remove(&by.file).await.map_err(LogError::io("remove", &by.file));
        }
        self.disk.rename(&by.file, &name).await.map_err(LogError::io("rename", &by.file))?;
        self.disk.sync_names().await.map_err(LogError::io("sync the folder for", &name))?;
        self.shared.segments.lock().insert(by.number, by.segment);
        Ok(())
    }

    /// Removes the segments that hold nothing but entries which are gone; the oldest first, so that no gap can appear.
    async fn remove_segments(&mut self) -> Result<(), LogError> {
        // What the files say counts, not the index, which knows already what is still to be written.
        let oldest_needed = self.said.oldest_needed().unwrap_or(self.active.number).min(self.active.number);
        let removable: Vec<u64> =
            self.shared.segments.lock().range(..oldest_needed).map(|(&number, _)| number).collect();
        for number in removable {
            let name = segment::name(number);
            self.disk.remove(&name).await.map_err(LogError::io("remove", &name))?;
            self.disk.sync_names().await.map_err(LogError::io("sync the folder for", &name))?;
            self.shared.segments.lock().remove(&number);
            self.said.forget(number);
            tracing::debug!(file = name, "removed a segment");
        }
        Ok(())
    }
}
