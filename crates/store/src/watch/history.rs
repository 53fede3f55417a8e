//! The last changes, for watchers that come back.

use std::{collections::VecDeque, sync::Arc};

use swarmkit_api::Version;

use crate::{Change, ResumeError};

/// The most changes that are kept: about as many log entries as upstream keeps between two snapshots. One keeps two
/// objects alive that are mostly alive anyway.
pub const HISTORY_CHANGES: usize = 10_000;

/// The newest change sets, in order and without a gap.
pub(crate) struct History {
    sets: VecDeque<(Version, Arc<[Change]>)>,
    changes: usize,
    /// The oldest version that can be resumed from.
    floor: Version,
}

impl History {
    pub(crate) fn starting_at(floor: Version) -> Self {
        Self { sets: VecDeque::new(), changes: 0, floor }
    }

    /// Adds the newest change set, and forgets the oldest ones for it.
    pub(crate) fn push(&mut self, version: Version, changes: Arc<[Change]>) {
        self.changes += changes.len();
        self.sets.push_back((version, changes));
        while self.changes > HISTORY_CHANGES
            && let Some((version, changes)) = self.sets.pop_front()
        {
            self.changes -= changes.len();
            self.floor = version;
        }
    }

    /// Everything after a version.
    pub(crate) fn since(
        &self,
        version: Version,
    ) -> Result<impl Iterator<Item = &(Version, Arc<[Change]>)>, ResumeError> {
        if version < self.floor {
            return Err(ResumeError::Compacted);
        }
        let first = self.sets.partition_point(|(made, _)| *made <= version);
        Ok(self.sets.range(first..))
    }
}
