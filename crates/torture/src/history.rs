//! What clients asked for and what they were told, with the times of both.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::Instant;

/// Which write it was: every write that is tried has a number of its own, and what it writes carries the number.
pub type Tag = u64;

/// The kinds of objects that are written: nobody but our clients touches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// Plain data.
    Config,
    /// Sensitive data.
    Secret,
}

/// The name of an object. At most one object of a kind has it at a time, but one after the other may.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Name {
    /// What kind of object.
    pub kind: Kind,
    /// The round that it is used in: names are left behind, so that histories stay short.
    pub round: u32,
    /// Which of the round's.
    pub number: u32,
}

impl Name {
    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let (round, number) = text.strip_prefix('r')?.split_once('-')?;
        Some(Self { kind, round: round.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}-{}", self.round, self.number)
    }
}

/// An object as somebody saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// Its id.
    pub id: String,
    /// The write that made it what it is.
    pub tag: Tag,
    /// Its own version.
    pub version: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Call {
    /// Make an object of the name.
    Create {
        /// This write.
        tag: Tag,
    },
    /// Change the object if it is still what it was when the client saw it.
    Update {
        /// What the client has seen.
        base: Seen,
        /// This write.
        tag: Tag,
    },
    /// Remove the object, whatever it is by now.
    Remove {
        /// Its id.
        id: String,
    },
    /// Look the name up.
    Find,
    /// Look the id up.
    Get {
        /// The id.
        id: String,
    },
}

impl Call {
    /// Whether it would change something.
    #[must_use]
    pub fn writes(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Update { .. } | Self::Remove { .. } => true,
            Self::Find | Self::Get { .. } => false,
        }
    }

    /// The number of the write, if what it writes can carry one.
    #[must_use]
    pub fn tag(&self) -> Option<Tag> {
        match self {
            Self::Create { tag } | Self::Update { tag, .. } => Some(*tag),
            Self::Remove { .. } | Self::Find | Self::Get { .. } => None,
        }
    }
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// It was created or updated, and is now this.
    Written(Seen),
    /// It was removed.
    Removed,
    /// It is this.
    Found(Seen),
    /// Nothing has that name or id.
    Missing,
    /// Refused: the name is taken.
    Taken,
    /// Refused: it was written since it was seen.
    Stale,
    /// The cluster says, or it is certain otherwise, that nothing happened.
    Failed(String),
    /// It may have happened, or not, or may happen yet.
    Unknown(String),
}

/// One operation.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Who asked.
    pub client: u32,
    /// Which member was asked.
    pub member: usize,
    /// About what.
    pub name: Name,
    /// For what.
    pub call: Call,
    /// When, in nanoseconds since the beginning.
    pub invoked: u64,
    /// When the client knew the outcome or gave up.
    pub returned: u64,
    /// What it was told.
    pub outcome: Outcome,
}

/// How many writes there were of each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub accepted: u64,
    /// Writes that were refused for what they ask: a name that is taken, an object that is gone or has changed.
    pub refused: u64,
    /// Writes that certainly did not happen.
    pub failed: u64,
    /// Writes that may have happened.
    pub unknown: u64,
    /// Reads that were answered.
    pub reads: u64,
    /// The longest time between two accepted writes.
    pub slowest_gap: Duration,
}

/// Everything that clients did, of the rounds that are not judged yet; the file has all of it.
pub struct History {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    file: BufWriter<File>,
    next_tag: Tag,
    /// Operations that were asked and not answered, by round.
    open: BTreeMap<u32, u32>,
    records: BTreeMap<Name, Vec<Record>>,
    tally: Tally,
    accepted_last: Option<u64>,
}

impl History {
    /// An empty history that is written to a file as it grows.
    ///
    /// # Errors
    ///
    /// When the file cannot be made.
    pub fn new(file: &Path) -> Result<Self> {
        let inner = Inner {
            file: BufWriter::new(File::create(file)?),
            next_tag: 1,
            open: BTreeMap::new(),
            records: BTreeMap::new(),
            tally: Tally::default(),
            accepted_last: None,
        };
        Ok(Self { began: Instant::now(), inner: Mutex::new(inner) })
    }

    /// Nanoseconds since the beginning.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A number for a write that is to be tried.
    pub fn next_tag(&self) -> Tag {
        let mut inner = self.inner.lock();
        let tag = inner.next_tag;
        inner.next_tag += 1;
        tag
    }

    /// An operation on a name of this round begins, and gives its time.
    pub fn invoked(&self, name: &Name) -> u64 {
        *self.inner.lock().open.entry(name.round).or_default() += 1;
        self.now()
    }

    /// It has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub fn returned(&self, record: Record) -> Result<()> {
        let mut inner = self.inner.lock();
        serde_json::to_writer(&mut inner.file, &record)?;
        inner.file.write_all(b"\n")?;
        inner.count(&record);
        if let Some(open) = inner.open.get_mut(&record.name.round) {
            *open -= 1;
        }
        inner.records.entry(record.name.clone()).or_default().push(record);
        Ok(())
    }

    /// Writes down something that happened to the cluster.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub fn note(&self, what: &str) -> Result<()> {
        let line = serde_json::json!({ "at": self.now(), "note": what });
        let mut inner = self.inner.lock();
        serde_json::to_writer(&mut inner.file, &line)?;
        inner.file.write_all(b"\n")?;
        Ok(inner.file.flush()?)
    }

    /// Whether some operation on the names of a round is not answered yet.
    #[must_use]
    pub fn is_open(&self, round: u32) -> bool {
        self.inner.lock().open.get(&round).is_some_and(|open| *open > 0)
    }

    /// The operations on the names of a round, which are forgotten here.
    #[must_use]
    pub fn take(&self, round: u32) -> BTreeMap<Name, Vec<Record>> {
        let mut inner = self.inner.lock();
        let all = std::mem::take(&mut inner.records);
        let (taken, kept) = all.into_iter().partition(|(name, _)| name.round == round);
        inner.records = kept;
        inner.open.remove(&round);
        taken
    }

    /// The counts so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.inner.lock().tally
    }
}

impl Inner {
    fn count(&mut self, record: &Record) {
        let tally = &mut self.tally;
        match (&record.outcome, record.call.writes()) {
            (Outcome::Written(_) | Outcome::Removed, _) => {
                tally.accepted += 1;
                if let Some(last) = self.accepted_last {
                    let gap = Duration::from_nanos(record.returned.saturating_sub(last));
                    tally.slowest_gap = tally.slowest_gap.max(gap);
                }
                self.accepted_last = Some(record.returned);
            }
            (Outcome::Missing | Outcome::Taken | Outcome::Stale, true) => tally.refused += 1,
            (Outcome::Failed(_), true) => tally.failed += 1,
            (Outcome::Unknown(_), true) => tally.unknown += 1,
            (Outcome::Found(_) | Outcome::Missing | Outcome::Taken | Outcome::Stale, _) => tally.reads += 1,
            (Outcome::Failed(_) | Outcome::Unknown(_), false) => {}
        }
    }
}
