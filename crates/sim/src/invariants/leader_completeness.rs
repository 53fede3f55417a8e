//! What was committed is in the log of every later leader (Raft, figure 3, and §5.4).

use std::collections::BTreeMap;

use super::{Verdict, broken, log_matching::EntryId};

const NAME: &str = "leader completeness";

/// What was committed, as far as leaders have said so.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    /// By index: the term of the entry, and the lowest term whose leader called it committed.
    committed: BTreeMap<u64, (u64, u64)>,
    /// The newest version of the store that a writer was told of.
    acknowledged: u64,
}

impl LeaderCompleteness {
    /// The leader of a term calls an entry committed.
    ///
    /// # Errors
    ///
    /// Another entry was committed in its place.
    pub fn committed(&mut self, (index, term): EntryId, leader_term: u64) -> Verdict {
        let known = self.committed.entry(index).or_insert((term, leader_term));
        if known.0 != term {
            return broken(NAME, format!("index {index} is committed with terms {} and {term}", known.0));
        }
        known.1 = known.1.min(leader_term);
        Ok(())
    }

    /// The leader of a term has this entry.
    ///
    /// # Errors
    ///
    /// A leader of an earlier term called another one committed.
    pub fn has(&self, (index, term): EntryId, leader_term: u64) -> Verdict {
        match self.committed.get(&index) {
            Some(&(committed, since)) if since < leader_term && committed != term => broken(
                NAME,
                format!(
                    "the leader of term {leader_term} has at {index} term {term}; term {committed} is committed there"
                ),
            ),
            _ => Ok(()),
        }
    }

    /// A writer was told that its write made a version of the store.
    pub fn acknowledged(&mut self, version: u64) {
        self.acknowledged = self.acknowledged.max(version);
    }

    /// A member is announced as the leader of a term, and its store has a version.
    ///
    /// # Errors
    ///
    /// A later version was acknowledged.
    pub fn announced(&self, term: u64, version: u64) -> Verdict {
        if version >= self.acknowledged {
            return Ok(());
        }
        broken(
            NAME,
            format!("the leader of term {term} begins at version {version}, {} is acknowledged", self.acknowledged),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_leader_has_what_was_committed() {
        let mut seen = LeaderCompleteness::default();
        seen.committed((7, 2), 3).unwrap();
        assert_eq!(seen.has((7, 2), 4), Ok(()));
        assert_eq!(seen.has((7, 1), 3), Ok(()), "the leader of the term itself may not have sent all yet");
        assert!(seen.has((7, 1), 4).is_err());
        assert!(seen.committed((7, 1), 5).is_err());
    }

    #[test]
    fn a_leader_begins_with_all_that_was_acknowledged() {
        let mut seen = LeaderCompleteness::default();
        seen.acknowledged(12);
        seen.acknowledged(11);
        assert_eq!(seen.announced(4, 12), Ok(()));
        assert!(seen.announced(4, 11).is_err());
    }
}
