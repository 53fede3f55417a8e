//! Mistakes that are made on purpose, to prove that the invariants see them.
//!
//! None of them is in the code that is simulated: each is a disk that lies, or a client or a watcher that does not keep to
//! the rules. So production code has no switch for them.

use std::{fmt, str::FromStr};

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The disk says that a vote is durable, and it is not.
    VoteNotSynced,
    /// The disk says that entries are durable some milliseconds before they are.
    AckBeforeSync,
    /// The disk does not keep the new name of a snapshot, although it was told to.
    SnapshotNameNotSynced,
    /// A member that lost its disk comes back under its old raft id.
    Amnesia,
    /// A watch loses what arrives while something else waits already.
    WatchDrops,
    /// A reader asks whoever it last knew to lead, and believes what it sees.
    DeposedRead,
    /// A write of which nobody knows the fate is reported as failed.
    UnknownIsFailed,
    /// What a replica holds changes by itself, once in each of its lives.
    MemoryFault,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::VoteNotSynced,
        Self::AckBeforeSync,
        Self::SnapshotNameNotSynced,
        Self::Amnesia,
        Self::WatchDrops,
        Self::DeposedRead,
        Self::UnknownIsFailed,
        Self::MemoryFault,
    ];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::VoteNotSynced => "vote-not-synced",
            Self::AckBeforeSync => "ack-before-sync",
            Self::SnapshotNameNotSynced => "snapshot-name-not-synced",
            Self::Amnesia => "amnesia",
            Self::WatchDrops => "watch-drops",
            Self::DeposedRead => "deposed-read",
            Self::UnknownIsFailed => "unknown-is-failed",
            Self::MemoryFault => "memory-fault",
        }
    }

    /// Within how many seeds, from 0 on, an invariant breaks. `docs/decisions/012-simulation.md` says what was measured.
    #[must_use]
    pub fn caught_within(self) -> u64 {
        40
    }
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|bug| bug.name() == name).ok_or_else(|| format!("one of {}", names()))
    }
}
