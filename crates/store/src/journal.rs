//! A journal on disk, for a store without replication that is to survive its process.
//!
//! ```no_run
//! use swarmkit_runtime::{Crew, Env};
//! use swarmkit_store::{Journal, RealFolder, Store};
//!
//! # async fn doc(stop: tokio_util::sync::CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
//! let journal = Journal::new(RealFolder::open("/var/lib/example/store")?);
//! let (store, writer) = Store::journaled(Env::real(), journal)?;
//! let mut crew = Crew::under(&stop);
//! crew.spawn("journal", |stop| writer.run(stop));
//! // From here on `store` is used like any other: what it acknowledges is on disk.
//! # Ok(()) }
//! ```
//!
//! The folder holds segments, `journal-<number>`, that are appended to, and snapshots, `snapshot-<number>`: the state
//! before the first record of the segment with that number. The module `record` says how a torn tail is told from damage.

mod folder;
mod record;
mod recovery;
mod writer;

use std::{io, sync::Arc};

pub use self::folder::{JournalFolder, RealFolder};
pub use self::writer::JournalWriter;
pub(crate) use self::writer::Queue;
use crate::{Applier, ApplyError};

/// How much is written, at least, before the journal is replaced by a snapshot: 4 MiB.
const COMPACT_AFTER: u64 = 4 * 1024 * 1024;

const SEGMENT: &str = "journal-";
const SNAPSHOT: &str = "snapshot-";
/// Ends the name of a snapshot that is being written.
const UNFINISHED: &str = ".new";

fn name(kind: &str, number: u64) -> String {
    format!("{kind}{number:016x}")
}

/// A journal that no store uses yet.
pub struct Journal {
    folder: Arc<dyn JournalFolder>,
    compact_after: u64,
}

impl Journal {
    /// The journal in that folder; it may be empty.
    #[must_use]
    pub fn new(folder: impl JournalFolder) -> Self {
        Self { folder: Arc::new(folder), compact_after: COMPACT_AFTER }
    }

    /// How many bytes are written, at least, before a snapshot replaces them; 4 MiB unless told otherwise. It is never
    /// less than the last snapshot had, so that snapshots at most double what is written.
    #[must_use]
    pub fn compact_after(mut self, bytes: u64) -> Self {
        self.compact_after = bytes;
        self
    }

    /// Gives a store what the journal holds, and what goes on writing it. Blocks while it reads.
    pub(crate) fn recover(self, applier: Applier, queue: Arc<Queue>) -> Result<JournalWriter, JournalError> {
        let recovered = recovery::recover(&self.folder, &applier)?;
        Ok(JournalWriter::new(self.folder, queue, applier, self.compact_after, &recovered))
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("compact_after", &self.compact_after).finish_non_exhaustive()
    }
}

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The operating system refused something.
    #[error("cannot {what} {name}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        name: String,
        /// What the operating system says.
        source: io::Error,
    },
    /// Bytes that were durable once cannot be read. Restore the folder from a backup: what comes after them depends on
    /// them.
    #[error("{name} is damaged at byte {offset}")]
    Damaged {
        /// The file.
        name: String,
        /// Where the first record lies that cannot be read.
        offset: u64,
    },
    /// A file is not there. Restore the folder from a backup.
    #[error("{0} is missing")]
    Missing(String),
    /// A record holds what this version cannot read: it was written by a newer one.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The runtime ended while the journal was being written.
    #[error("the runtime was shut down")]
    Interrupted,
}

/// Says what failed.
trait Failed<T> {
    fn failed(self, what: &'static str, name: &str) -> Result<T, JournalError>;
}

impl<T> Failed<T> for io::Result<T> {
    fn failed(self, what: &'static str, name: &str) -> Result<T, JournalError> {
        self.map_err(|source| JournalError::Io { what, name: name.to_owned(), source })
    }
}
