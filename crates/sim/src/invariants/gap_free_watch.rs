//! Who applies the updates of a watch, in order, has at each version what the store had there: no gap, nothing twice.

use std::sync::Arc;

use super::{Contents, Verdict, broken};

const NAME: &str = "a watch has no gap";

/// One write, as a watch tells it: the key, what it was, and what it is.
pub type Told = (Arc<str>, Option<u64>, Option<u64>);

/// What a watcher believes the store to hold.
#[derive(Debug, Default)]
pub struct Mirror {
    contents: Contents,
    version: u64,
}

impl Mirror {
    /// The version of the last update.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The watch starts over.
    pub fn replace(&mut self, version: u64, contents: Contents) {
        (self.version, self.contents) = (version, contents);
    }

    /// The watch tells what changed. `truth` is the state at that version, if it is known.
    ///
    /// # Errors
    ///
    /// The change does not fit what the watcher was told before, or does not lead to the truth.
    pub fn absorb(&mut self, version: u64, changes: &[Told], truth: Option<&Contents>) -> Verdict {
        if version <= self.version {
            return broken(NAME, format!("after version {} came version {version}", self.version));
        }
        for (key, before, after) in changes {
            let known = self.contents.get(key).copied();
            if known != *before {
                return broken(
                    NAME,
                    format!("version {version} changes {key} from {before:?}, the watcher had {known:?}"),
                );
            }
            match after {
                Some(value) => self.contents.insert(key.clone(), *value),
                None => self.contents.remove(key),
            };
        }
        self.version = version;
        match truth {
            Some(truth) if *truth != self.contents => {
                broken(NAME, format!("at version {version} the watcher has {:?}, the store {truth:?}", self.contents))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: Option<u64>, after: Option<u64>) -> Vec<Told> {
        vec![(Arc::from("a"), before, after)]
    }

    #[test]
    fn a_lost_change_is_seen_by_the_next_one_of_the_key_or_by_the_truth() {
        let mut mirror = Mirror::default();
        mirror.replace(3, Contents::from([(Arc::from("a"), 1)]));
        assert_eq!(mirror.absorb(4, &told(Some(1), Some(2)), None), Ok(()));
        assert!(mirror.absorb(6, &told(Some(3), Some(4)), None).is_err());

        let mut mirror = Mirror::default();
        mirror.replace(3, Contents::from([(Arc::from("a"), 1), (Arc::from("b"), 2)]));
        let truth = Contents::from([(Arc::from("a"), 9)]);
        assert!(mirror.absorb(5, &told(Some(1), Some(9)), Some(&truth)).is_err(), "the removal of b was lost");
    }

    #[test]
    fn nothing_is_told_twice() {
        let mut mirror = Mirror::default();
        mirror.replace(3, Contents::new());
        assert!(mirror.absorb(3, &told(None, Some(1)), None).is_err());
    }
}
