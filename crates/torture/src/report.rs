//! What a run did and found, for people.

use std::{fmt, time::Duration};

use crate::history::Tally;

/// What was done to the cluster, and how it bore it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rounds that were played to their end.
    pub rounds: u32,
    /// Processes that were killed.
    pub kills: u32,
    /// Processes that were paused.
    pub pauses: u32,
    /// Members that were cut off.
    pub cuts: u32,
    /// Names whose history fits an order.
    pub names: u64,
    /// Names of which too much overlaps to tell.
    pub undecided: u64,
    /// Watches that went on where they had ended.
    pub resumes: u64,
    /// Watches that could not, because the member no longer kept what had happened since.
    pub resyncs: u64,
    /// Objects that every member had in the end.
    pub objects: usize,
    /// From the end of the faults of the last round until every member took a write.
    pub alive_last: Duration,
    /// The slowest of these.
    pub alive_slowest: Duration,
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was done.
    pub counts: Counts,
    /// What clients were told.
    pub tally: Tally,
    /// What is wrong, in words; nothing in a good run.
    pub faults: Vec<String>,
}

/// How many faults are told in full.
const SHOWN: usize = 20;

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, tally, faults } = self;
        let mut row = |what: &str, value: String| writeln!(f, "{what:<44} {value}");
        row("rounds", counts.rounds.to_string())?;
        row("kills / pauses / cuts", format!("{} / {} / {}", counts.kills, counts.pauses, counts.cuts))?;
        row("writes accepted", tally.accepted.to_string())?;
        row("writes refused (taken, stale, gone)", tally.refused.to_string())?;
        row("writes failed / of unknown fate", format!("{} / {}", tally.failed, tally.unknown))?;
        row("reads answered", tally.reads.to_string())?;
        row("slowest gap without an accepted write", format!("{:.2} s", tally.slowest_gap.as_secs_f64()))?;
        row("slowest until all take writes after healing", format!("{:.2} s", counts.alive_slowest.as_secs_f64()))?;
        row("histories linearizable / undecided", format!("{} / {}", counts.names, counts.undecided))?;
        row("watches resumed / begun anew", format!("{} / {}", counts.resumes, counts.resyncs))?;
        row("objects that all members have alike", counts.objects.to_string())?;
        for fault in faults.iter().take(SHOWN) {
            writeln!(f, "\nWRONG: {fault}")?;
        }
        if faults.len() > SHOWN {
            writeln!(f, "\nand {} more", faults.len() - SHOWN)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_good_without_faults_and_tells_each_that_there_is() {
        let good = Report { counts: Counts::default(), tally: Tally::default(), faults: Vec::new() };
        assert!(good.is_good() && !good.to_string().contains("WRONG"));
        let bad = Report { faults: vec!["a write was lost".to_owned(); 25], ..good };
        assert!(!bad.is_good());
        assert_eq!(bad.to_string().matches("WRONG: a write was lost").count(), 20);
        assert!(bad.to_string().contains("and 5 more"));
    }
}
