//! Every replica that reaches a version has the same state there (Raft, figure 3), and none goes back within one life.

use std::{collections::BTreeMap, sync::Arc};

use super::{Contents, Verdict, broken};

const NAME: &str = "state machine safety";

/// The one history of states that all replicas go through.
#[derive(Debug, Default)]
pub struct StateMachineSafety {
    states: BTreeMap<u64, Arc<Contents>>,
    /// The newest version of each life of a replica.
    reached: BTreeMap<(Arc<str>, u64), u64>,
}

impl StateMachineSafety {
    /// A replica, in one of its lives, has reached a version.
    ///
    /// # Errors
    ///
    /// Another replica had another state there, or this one has been further.
    pub fn reached(&mut self, replica: &Arc<str>, life: u64, version: u64, state: &Arc<Contents>) -> Verdict {
        let before = self.reached.insert((replica.clone(), life), version);
        if before.is_some_and(|before| before > version) {
            return broken(NAME, format!("{replica} went back to version {version}"));
        }
        let known = self.states.entry(version).or_insert_with(|| state.clone());
        if known == state {
            return Ok(());
        }
        broken(NAME, format!("{replica} has at version {version} {state:?}, another had {known:?}"))
    }

    /// The state at a version, if any replica was seen there.
    #[must_use]
    pub fn at(&self, version: u64) -> Option<&Arc<Contents>> {
        self.states.get(&version)
    }

    /// How many versions were seen.
    #[must_use]
    pub fn versions(&self) -> usize {
        self.states.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(value: u64) -> Arc<Contents> {
        Arc::new(BTreeMap::from([(Arc::from("a"), value)]))
    }

    #[test]
    fn replicas_agree_on_every_version() {
        let mut seen = StateMachineSafety::default();
        let (one, two) = (Arc::from("n1"), Arc::from("n2"));
        seen.reached(&one, 1, 5, &state(1)).unwrap();
        seen.reached(&two, 1, 5, &state(1)).unwrap();
        assert!(seen.reached(&two, 1, 5, &state(2)).is_err());
    }

    #[test]
    fn a_replica_goes_back_only_in_another_life() {
        let mut seen = StateMachineSafety::default();
        let one = Arc::from("n1");
        seen.reached(&one, 1, 5, &state(1)).unwrap();
        seen.reached(&one, 2, 4, &state(0)).unwrap();
        assert!(seen.reached(&one, 1, 4, &state(0)).is_err());
    }
}
