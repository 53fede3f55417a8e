//! Sealing a log with another key while it is in use.
//!
//! New segments are sealed with the new key from the moment of the change. Older ones are written anew, record by record,
//! and take the place of what they were copied from. Sealing adds the same number of bytes under any key, so every record
//! keeps its place, and whoever knows where an entry lies finds it there before and after. A crash leaves each segment
//! under one key or the other, which is why both are needed until the end.

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::{
    Log, LogError, Shared, entry_place,
    record::{self, Found, Place, Record},
    segment::{self, Segment},
    writer::{Done, Op},
};
use crate::{
    disk::{self, Disk},
    seal::Sealer,
};

/// How many bytes are sealed before others get their turn.
const STRIDE: usize = 256 << 10;

/// A file that is to take the place of a segment.
pub(super) struct Resealed {
    pub(super) number: u64,
    pub(super) file: String,
    pub(super) segment: Segment,
}

impl Log {
    /// Seals everything with another key. When this returns, no other key is needed to open the log.
    ///
    /// Files that are not finished are named `prefix` and the number of a segment; the caller removes what a crash left.
    pub(crate) async fn reseal(&self, disk: &dyn Disk, sealer: &Sealer, unfinished: &str) -> Result<(), LogError> {
        self.wait_for(|done| Op::Rekey(sealer.clone(), done)).await?;
        let old: Vec<(u64, Segment)> = {
            let segments = self.shared.segments.lock();
            segments.iter().filter(|(_, of)| !of.sealer.same_key(sealer)).map(|(&at, of)| (at, of.clone())).collect()
        };
        for (number, of) in old {
            let content = disk::read_all(&*of.file).await.map_err(LogError::io("read", &segment::name(number)))?;
            let content = self.shared.copy(number, &content, &of.sealer, sealer).await;
            let content = content.map_err(|error| self.shared.fail(error))?;
            let file = format!("{number:016x}{unfinished}");
            let written = match write(disk, &file, content).await {
                Ok(written) => written,
                Err(error) => {
                    // If it cannot be removed either, the next start does it.
                    let _ = disk.remove(&file).await;
                    return Err(error);
                }
            };
            let segment = Segment { file: written, sealer: sealer.clone() };
            let resealed = Resealed { number, file, segment };
            self.wait_for(|done| Op::Replace(resealed, done)).await?;
        }
        Ok(())
    }

    pub(super) async fn wait_for(&self, op: impl FnOnce(Done) -> Op) -> Result<(), LogError> {
        let (done, waiting) = oneshot::channel();
        self.submit(op(Box::new(move |result| drop(done.send(result))))).await?;
        waiting.await.unwrap_or(Err(LogError::Closed))
    }
}

impl Shared {
    /// The records of a segment under another key, each at its place.
    async fn copy(&self, number: u64, content: &Bytes, old: &Sealer, new: &Sealer) -> Result<Bytes, LogError> {
        let name = segment::name(number);
        let mut out = BytesMut::with_capacity(content.len());
        let mut rested_at = 0;
        loop {
            let at = out.len();
            match record::read(content, number, at) {
                Found::Record { record, batch, last_of_batch, end } => {
                    let record = match record {
                        Record::Entry { id, sealed } => {
                            let place = entry_place(&id);
                            let payload = old
                                .open(&place, &sealed)
                                .map_err(|_| LogError::damaged(&name, at as u64, "an entry cannot be unsealed"))?;
                            Record::Entry { id, sealed: new.seal(&place, &payload).into() }
                        }
                        Record::Start(start) => Record::Start(segment::rekeyed(start, new)),
                        clear => clear,
                    };
                    record::put(&mut out, Place { segment: number, offset: at as u64 }, batch, &record, last_of_batch);
                    assert_eq!(out.len(), end, "invariant: sealing adds the same number of bytes under any key");
                }
                Found::End => return Ok(out.freeze()),
                Found::Damage(what) => return Err(LogError::damaged(&name, at as u64, what)),
            }
            if out.len() - rested_at > STRIDE {
                rested_at = out.len();
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Writes a whole file, durably but for its name.
async fn write(disk: &dyn Disk, name: &str, content: Bytes) -> Result<std::sync::Arc<dyn disk::DiskFile>, LogError> {
    let file = disk.create(name).await.map_err(LogError::io("create", name))?;
    file.append_and_sync(content).await.map_err(LogError::io("write", name))?;
    Ok(file.into())
}
