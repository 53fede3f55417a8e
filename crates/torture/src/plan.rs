//! What is done to the cluster, round by round, from a seed.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use crate::network::Cut;

/// What happens to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; at the end of the fault it is started again.
    Kill,
    /// SIGSTOP; at the end of the fault it goes on.
    Pause,
    /// It is separated from the others; at the end of the fault it is not any more.
    Cut(Cut),
}

/// Whom it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Who leads when the round begins.
    Leader,
    /// One that does not: the so-manieth of them, round and round.
    Follower(usize),
}

/// One fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Whom it happens to.
    pub target: Target,
    /// What happens.
    pub fault: Fault,
    /// When, from the beginning of the round.
    pub after: Duration,
    /// For how long.
    pub lasts: Duration,
}

/// How long anything that is done to a member may last, in milliseconds: from shorter than an election to many of them.
const LASTS_MS: std::ops::RangeInclusive<u64> = 200..=3_000;

/// How far apart the faults of one round begin at most, in milliseconds.
const APART_MS: u64 = 700;

/// How often a round hits the leader.
const LEADER_SHARE: f64 = 0.55;

/// How often a round kills everybody at once, as a power cut does.
const POWER_CUT_SHARE: f64 = 0.04;

/// The faults of a round. The same seed and round give the same.
#[must_use]
pub fn round(seed: u64, round: u32, managers: usize, can_cut: bool) -> Vec<Planned> {
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(round));
    let lasts = |rng: &mut SmallRng| Duration::from_millis(rng.random_range(LASTS_MS));
    if rng.random_bool(POWER_CUT_SHARE) {
        let lasts = lasts(&mut rng);
        let kill = |target| Planned { target, fault: Fault::Kill, after: Duration::ZERO, lasts };
        return std::iter::once(Target::Leader).chain((0..managers - 1).map(Target::Follower)).map(kill).collect();
    }
    // Two of three are no quorum: the others wait until one is back.
    let count = if managers > 1 && rng.random_bool(0.4) { 2 } else { 1 };
    let first = rng.random_range(0..managers);
    let hits_leader = managers == 1 || rng.random_bool(LEADER_SHARE);
    (0..count)
        .map(|nth| Planned {
            target: if nth == 0 && hits_leader { Target::Leader } else { Target::Follower(first + nth) },
            fault: fault(&mut rng, can_cut),
            after: Duration::from_millis(if nth == 0 { 0 } else { rng.random_range(0..=APART_MS) }),
            lasts: lasts(&mut rng),
        })
        .collect()
}

fn fault(rng: &mut SmallRng, can_cut: bool) -> Fault {
    match rng.random_range(0..if can_cut { 10 } else { 6 }) {
        0..=3 => Fault::Kill,
        4..=5 => Fault::Pause,
        6..=7 => Fault::Cut(Cut::Off),
        8 => Fault::Cut(Cut::Deaf),
        _ => Fault::Cut(Cut::Mute),
    }
}

impl Target {
    /// The member that is meant.
    #[must_use]
    pub fn member(self, leader: usize, managers: usize) -> usize {
        match self {
            Self::Leader => leader,
            Self::Follower(_) if managers == 1 => leader,
            Self::Follower(nth) => (leader + 1 + nth % (managers - 1)) % managers,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_rounds_and_another_one_others() {
        let rounds = |seed| (0..50).map(|number| round(seed, number, 3, true)).collect::<Vec<_>>();
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }

    #[test]
    fn two_faults_of_a_round_never_hit_the_same_member() {
        for managers in [3, 5] {
            for number in 0..500 {
                let faults = round(1, number, managers, true);
                let hit: BTreeSet<_> = faults.iter().map(|planned| planned.target.member(2, managers)).collect();
                assert_eq!(hit.len(), faults.len(), "round {number} of {managers}: {faults:?}");
            }
        }
    }

    #[test]
    fn followers_are_never_the_leader_and_all_of_them_are_meant() {
        let hit: BTreeSet<_> = (0..9).map(|nth| Target::Follower(nth).member(3, 5)).collect();
        assert_eq!(hit, BTreeSet::from([0, 1, 2, 4]));
        assert_eq!(Target::Follower(4).member(0, 1), 0);
    }

    #[test]
    fn every_fault_comes_up_and_cuts_only_where_they_can_be_made() {
        let faults = |can_cut| -> Vec<Fault> {
            (0..200).flat_map(|number| round(1, number, 3, can_cut)).map(|planned| planned.fault).collect()
        };
        for wanted in [Fault::Kill, Fault::Pause, Fault::Cut(Cut::Off), Fault::Cut(Cut::Deaf), Fault::Cut(Cut::Mute)] {
            assert!(faults(true).contains(&wanted), "{wanted:?}");
        }
        assert!(faults(false).iter().all(|fault| matches!(fault, Fault::Kill | Fault::Pause)));
    }
}
