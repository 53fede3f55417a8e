//! How far one run of a job has come: what its slots add up to.

use std::collections::BTreeMap;

use crate::{
    numbers::Numbers,
    slot::{Place, Progress},
};

/// The slots of one run, and what they add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    slots: BTreeMap<Place, (Progress, u64)>,
    /// The numbers of slots that somebody works on, or that are done with.
    pub(crate) taken: Numbers,
    /// How many slots are worked on.
    pub(crate) running: u64,
    /// How many are done.
    pub(crate) complete: u64,
    /// How many failed as often as they may.
    pub(crate) spent: u64,
    /// How many tasks failed, in all slots.
    pub(crate) failures: u64,
}

impl Ledger {
    /// Notes how far a slot has come, and how many tasks failed in it.
    pub(crate) fn set(&mut self, place: &Place, progress: Progress, failures: u64) {
        let now = (progress, failures);
        let before = match now {
            (Progress::None, 0) => self.slots.remove(place),
            _ if self.slots.get(place) == Some(&now) => return,
            _ => self.slots.insert(place.clone(), now),
        };
        let (was, failed) = before.unwrap_or((Progress::None, 0));
        if let Some(count) = self.count(was) {
            *count -= 1;
        }
        if let Some(count) = self.count(progress) {
            *count += 1;
        }
        self.failures = self.failures + failures - failed;
        if let Place::Number(number) = place {
            self.taken.set(*number, progress != Progress::None);
        }
    }

    /// How far a slot has come.
    pub(crate) fn progress(&self, place: &Place) -> Progress {
        self.slots.get(place).map_or(Progress::None, |(progress, _)| *progress)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn count(&mut self, progress: Progress) -> Option<&mut u64> {
        match progress {
            Progress::None => None,
            Progress::Running => Some(&mut self.running),
            Progress::Complete => Some(&mut self.complete),
            Progress::Spent => Some(&mut self.spent),
        }
    }
}
