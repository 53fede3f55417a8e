//! The last changes, for watchers that come back.

use std::{collections::VecDeque, sync::Arc};

use swarmkit_api::Version;

use crate::{Change, Digest, HistoryError};

/// The most changes that are kept: about as many log entries as upstream keeps between two snapshots. One keeps two
/// objects alive that are mostly alive anyway.
pub const HISTORY_CHANGES: usize = 10_000;

/// A change set that was committed, as the history of a store keeps it.
#[derive(Clone, Debug)]
pub struct PastChanges {
    /// The version that it made.
    pub version: Version,
    /// Its writes, in order, with what the objects were before.
    pub changes: Arc<[Change]>,
}

/// One change set.
pub(crate) struct Set {
    pub(crate) past: PastChanges,
    /// What the state after it comes to.
    digest: Digest,
}

/// The newest change sets, in order and without a gap.
pub(crate) struct History {
    sets: VecDeque<Set>,
    changes: usize,
    /// The oldest version that can be resumed from.
    floor: Version,
}

impl History {
    pub(crate) fn starting_at(floor: Version) -> Self {
        Self { sets: VecDeque::new(), changes: 0, floor }
    }

    /// Adds the newest change set, and forgets the oldest ones for it.
    pub(crate) fn push(&mut self, version: Version, digest: Digest, changes: Arc<[Change]>) {
        self.changes += changes.len();
        self.sets.push_back(Set { past: PastChanges { version, changes }, digest });
        while self.changes > HISTORY_CHANGES
            && let Some(oldest) = self.sets.pop_front()
        {
            self.changes -= oldest.past.changes.len();
            self.floor = oldest.past.version;
        }
    }

    /// Everything after `from`, up to `to`.
    pub(crate) fn between(&self, from: Version, to: Version) -> Result<impl Iterator<Item = &Set>, HistoryError> {
        if from > to {
            return Err(HistoryError::OutOfOrder);
        }
        if to > self.sets.back().map_or(self.floor, |newest| newest.past.version) {
            return Err(HistoryError::OutOfBounds);
        }
        if from < self.floor {
            return Err(HistoryError::Compacted);
        }
        let after = |version| self.sets.partition_point(|set| set.past.version <= version);
        Ok(self.sets.range(after(from)..after(to)))
    }

    /// What the state of a version came to, if it is remembered.
    pub(crate) fn digest_at(&self, version: Version) -> Option<Digest> {
        let at = self.sets.binary_search_by_key(&version, |set| set.past.version).ok()?;
        self.sets.get(at).map(|set| set.digest)
    }
}
