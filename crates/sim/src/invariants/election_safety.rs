//! Each term has one leader at most, and nobody votes twice in one (Raft, figure 3, and §5.2).

use std::collections::BTreeMap;

use super::{Verdict, broken};

const NAME: &str = "election safety";

/// Who led, and who voted for whom. Members are named by their raft ids.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
}

impl ElectionSafety {
    /// A member acts as the leader of a term.
    ///
    /// # Errors
    ///
    /// Another one does too.
    pub fn leads(&mut self, term: u64, leader: u64) -> Verdict {
        match *self.leaders.entry(term).or_insert(leader) {
            known if known == leader => Ok(()),
            known => broken(NAME, format!("term {term} has two leaders, {known:x} and {leader:x}")),
        }
    }

    /// A member has given its vote.
    ///
    /// # Errors
    ///
    /// It had given it to another.
    pub fn votes(&mut self, voter: u64, term: u64, candidate: u64) -> Verdict {
        match *self.votes.entry((voter, term)).or_insert(candidate) {
            known if known == candidate => Ok(()),
            known => broken(NAME, format!("{voter:x} voted in term {term} for {known:x} and for {candidate:x}")),
        }
    }

    /// The highest term that had a leader.
    #[must_use]
    pub fn terms(&self) -> usize {
        self.leaders.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_has_one_leader_however_often_it_says_so() {
        let mut seen = ElectionSafety::default();
        assert_eq!((seen.leads(3, 1), seen.leads(3, 1), seen.leads(4, 2)), (Ok(()), Ok(()), Ok(())));
        assert!(seen.leads(3, 2).unwrap_err().what.contains("two leaders"));
    }

    #[test]
    fn a_vote_is_given_once_a_term() {
        let mut seen = ElectionSafety::default();
        assert_eq!((seen.votes(1, 3, 2), seen.votes(1, 3, 2), seen.votes(1, 4, 3)), (Ok(()), Ok(()), Ok(())));
        assert!(seen.votes(1, 3, 3).is_err());
    }
}
