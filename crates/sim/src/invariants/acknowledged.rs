//! What a writer was told to be committed is never lost, and stands where it was told to stand.

use super::{Contents, Verdict, broken};

const NAME: &str = "acknowledged writes are durable";

/// A write that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The version that it made.
    pub version: u64,
    /// Where it was written.
    pub key: std::sync::Arc<str>,
    /// What; nothing for a removal.
    pub value: Option<u64>,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub struct AcknowledgedWrites {
    writes: Vec<Acknowledged>,
}

impl AcknowledgedWrites {
    /// A writer was told so.
    pub fn add(&mut self, write: Acknowledged) {
        self.writes.push(write);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// At the end: every replica has reached `last`, and `at` gives the state at a version.
    ///
    /// # Errors
    ///
    /// A write is beyond the end, or not in the state of its version.
    pub fn check<'a>(&self, last: u64, at: impl Fn(u64) -> Option<&'a Contents>) -> Verdict {
        for write in &self.writes {
            let Acknowledged { version, key, value } = write;
            if *version > last {
                return broken(NAME, format!("{key}={value:?} made version {version}, the replicas are at {last}"));
            }
            let found = at(*version).map(|state| state.get(key).copied());
            if found != Some(*value) {
                return broken(NAME, format!("{key}={value:?} made version {version}, which has {found:?}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

    #[test]
    fn a_write_is_found_where_it_was_acknowledged() {
        let mut writes = AcknowledgedWrites::default();
        writes.add(Acknowledged { version: 4, key: Arc::from("a"), value: Some(9) });
        let states = BTreeMap::from([(4, Contents::from([(Arc::from("a"), 9)])), (5, Contents::new())]);
        assert_eq!(writes.check(5, |version| states.get(&version)), Ok(()));
        assert!(writes.check(3, |version| states.get(&version)).unwrap_err().what.contains("are at 3"));
        writes.add(Acknowledged { version: 5, key: Arc::from("a"), value: Some(10) });
        assert!(writes.check(5, |version| states.get(&version)).unwrap_err().what.contains("has Some(None)"));
    }
}
