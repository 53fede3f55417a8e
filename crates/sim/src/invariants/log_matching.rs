//! Two logs that hold an entry of the same index and term are the same up to it (Raft, figure 3).
//!
//! Seen through what leaders send: what an entry says, and the term of the one before it, follow from its index and term.

use std::collections::BTreeMap;

use super::{Verdict, broken};

const NAME: &str = "log matching";

/// Index and term of an entry.
pub type EntryId = (u64, u64);

/// The entries that were seen.
#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index and term: the term of the entry before it, and a sum of what it says.
    entries: BTreeMap<EntryId, (Option<u64>, u64)>,
}

impl LogMatching {
    /// A leader has sent an entry, which follows one of `before` if that is known.
    ///
    /// # Errors
    ///
    /// The entry was seen to say something else, or to follow another one.
    pub fn entry(&mut self, id: EntryId, before: Option<u64>, sum: u64) -> Verdict {
        let known = *self.entries.entry(id).or_insert((before, sum));
        if known == (before, sum) {
            return Ok(());
        }
        let (index, term) = id;
        let what = if known.1 == sum {
            format!("entry {index} of term {term} follows one of term {:?}, and one of {before:?}", known.0)
        } else {
            format!("entry {index} of term {term} says two things")
        };
        broken(NAME, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_one_thing_and_follows_one_entry() {
        let mut seen = LogMatching::default();
        assert_eq!((seen.entry((5, 2), Some(1), 77), seen.entry((5, 2), Some(1), 77)), (Ok(()), Ok(())));
        assert_eq!(seen.entry((5, 3), Some(2), 78), Ok(()), "another term may have another entry there");
        assert!(seen.entry((5, 2), Some(1), 99).unwrap_err().what.contains("says two things"));
        assert!(seen.entry((5, 2), Some(2), 77).unwrap_err().what.contains("follows"));
    }
}
