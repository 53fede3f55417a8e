//! An open file of a mounted disk.

use std::{io, time::Duration};

use bytes::Bytes;
use rand::RngExt as _;
use swarmkit_raft::{DiskFile, DiskFuture};

use super::{Moment, Mounted, ready};
use crate::bug::Bug;

/// How long entries stay without being durable when the disk acknowledges too early, at most, in milliseconds.
const EARLY_MS: u64 = 80;

#[derive(Clone)]
pub(super) struct OpenFile {
    disk: Mounted,
    file: usize,
    name: String,
}

impl OpenFile {
    pub(super) fn boxed(disk: Mounted, file: usize, name: &str) -> Box<dyn DiskFile> {
        Box::new(Self { disk, file, name: name.to_owned() })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.disk.with(Some(Moment::Appended), |state| state.files[self.file].append(bytes, &mut state.room))?;
        self.disk.note(format_args!("append {} {}", self.name, bytes.len()));
        Ok(())
    }

    /// Makes what is there now durable, in the disk's own time.
    async fn flush(&self, lie: Lie) -> io::Result<()> {
        let (takes, len) = self.disk.with(None, |state| Ok((state.sync_time(), state.files[self.file].len())))?;
        if lie == Lie::Early {
            return self.disk.with(None, |state| {
                let late = Duration::from_millis(state.rng.random_range(1..=EARLY_MS));
                state.files[self.file].promise(len, late);
                Ok(())
            });
        }
        tokio::time::sleep(takes).await;
        self.disk.with(Some(Moment::Synced), |state| {
            if state.failing_syncs {
                return Err(io::Error::other("the disk has failed"));
            }
            if lie != Lie::Never {
                state.files[self.file].sync(len);
            }
            Ok(())
        })?;
        self.disk.note(format_args!("synced {} {len}", self.name));
        Ok(())
    }

    /// What the disk says of a batch that it should make durable.
    fn lie(&self, bytes: &[u8]) -> Lie {
        let is_log = std::path::Path::new(&self.name).extension().is_some_and(|ending| ending == "log");
        match self.disk.disk.0.bug {
            Some(Bug::VoteNotSynced) if is_log && holds_only_votes(bytes) => Lie::Never,
            Some(Bug::AckBeforeSync) if is_log => Lie::Early,
            _ => Lie::None,
        }
    }
}

/// How a disk lies about a sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// It is done later.
    Early,
    /// It is never done.
    Never,
}

/// Length of the header of a record in the log, in bytes; where it has the kind, and the length of the body.
const RECORD_HEADER: usize = 16;
const RECORD_KIND: usize = 1;
const RECORD_LENGTH: usize = 8;
/// The bits of the kind that are the kind.
const RECORD_KIND_BITS: u8 = 0x7f;
/// The kinds of a vote, and of what may come with it.
const VOTE: u8 = 3;
const COMMITTED: u8 = 4;

/// Whether a batch of the log says nothing but who was voted for.
fn holds_only_votes(mut batch: &[u8]) -> bool {
    let mut votes = 0;
    while let Some((header, rest)) = batch.split_at_checked(RECORD_HEADER) {
        match header[RECORD_KIND] & RECORD_KIND_BITS {
            VOTE => votes += 1,
            COMMITTED => {}
            _ => return false,
        }
        let length: [u8; 4] =
            header[RECORD_LENGTH..RECORD_LENGTH + 4].try_into().expect("invariant: a range of four has four bytes");
        let Some(next) = rest.get(u32::from_le_bytes(length) as usize..) else { return false };
        batch = next;
    }
    votes > 0
}

impl DiskFile for OpenFile {
    fn size(&self) -> DiskFuture<u64> {
        ready(self.disk.with(None, |state| Ok(state.files[self.file].len() as u64)))
    }

    fn read_at(&self, offset: u64, len: usize) -> DiskFuture<Bytes> {
        ready(self.disk.with(None, |state| {
            let bytes = state.files[self.file].read(offset, len);
            bytes.map(Bytes::copy_from_slice).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
        }))
    }

    fn append(&self, bytes: Bytes) -> DiskFuture<()> {
        ready(self.write(&bytes))
    }

    fn sync(&self) -> DiskFuture<()> {
        let this = self.clone();
        Box::pin(async move { this.flush(Lie::None).await })
    }

    fn append_and_sync(&self, bytes: Bytes) -> DiskFuture<()> {
        let this = self.clone();
        Box::pin(async move {
            let lie = this.lie(&bytes);
            this.write(&bytes)?;
            this.flush(lie).await
        })
    }

    fn truncate(&self, len: u64) -> DiskFuture<()> {
        self.disk.note(format_args!("truncate {} {len}", self.name));
        ready(self.disk.with(None, |state| {
            state.files[self.file].truncate(usize::try_from(len).unwrap_or(usize::MAX));
            Ok(())
        }))
    }
}
