//! The last changes, for watchers that come back.

use std::{collections::VecDeque, sync::Arc};

use swarmkit_api::Version;

use crate::{Change, Digest, ResumeError};

/// The most changes that are kept: about as many log entries as upstream keeps between two snapshots. One keeps two
/// objects alive that are mostly alive anyway.
pub const HISTORY_CHANGES: usize = 10_000;

/// One change set.
pub(crate) struct Set {
    pub(crate) version: Version,
    /// What the state after it comes to.
    digest: Digest,
    pub(crate) changes: Arc<[Change]>,
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
        self.sets.push_back(Set { version, digest, changes });
        while self.changes > HISTORY_CHANGES
            && let Some(oldest) = self.sets.pop_front()
        {
            self.changes -= oldest.changes.len();
            self.floor = oldest.version;
        }
    }

    /// Everything after a version.
    pub(crate) fn since(&self, version: Version) -> Result<impl Iterator<Item = &Set>, ResumeError> {
        if version < self.floor {
            return Err(ResumeError::Compacted);
        }
        let first = self.sets.partition_point(|set| set.version <= version);
        Ok(self.sets.range(first..))
    }

    /// What the state of a version came to, if it is remembered.
    pub(crate) fn digest_at(&self, version: Version) -> Option<Digest> {
        let at = self.sets.binary_search_by_key(&version, |set| set.version).ok()?;
        self.sets.get(at).map(|set| set.digest)
    }
}
