//! What lies on a disk, and what a crash leaves of it.

use std::{collections::BTreeMap, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};

use super::content::Content;
use crate::bug::Bug;

/// How long a sync of a healthy disk takes, in milliseconds.
pub(super) const QUICK_MS: (u64, u64) = (1, 4);

pub(super) struct State {
    pub(super) rng: SmallRng,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    /// Changes of names since the last sync of the folder, in order.
    pub(super) pending: Vec<NameOp>,
    pub(super) files: Vec<Content>,
    /// How many bytes may still be written before the disk is full.
    pub(super) room: Option<usize>,
    pub(super) failing_syncs: bool,
    /// Between which times a sync takes, in milliseconds.
    pub(super) sync_ms: (u64, u64),
    pub(super) aim: Option<Aim>,
    /// It was told to fail since it was last repaired.
    pub(super) faulty: bool,
    /// It was told to fail since it was last mounted.
    pub(super) was_faulty: bool,
    /// Bits have changed since it was last wiped.
    pub(super) decayed: bool,
}

#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

/// The moment at which the power is cut, as the disk sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Bytes were written, and their sync has not begun.
    Appended,
    /// A sync is done, and nobody was told.
    Synced,
    /// A file has a new name, and the folder is not synced.
    Renamed,
    /// A file was made, and the folder is not synced.
    Created,
    /// A file was removed, and the folder is not synced.
    Removed,
}

impl Moment {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Appended, Self::Synced, Self::Renamed, Self::Created, Self::Removed];
}

/// A crash that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aim {
    pub(super) moment: Moment,
    /// How many such moments pass before it strikes.
    pub(super) passes: u32,
}

impl State {
    pub(super) fn new(rng: SmallRng) -> Self {
        Self {
            rng,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            files: Vec::new(),
            room: None,
            failing_syncs: false,
            sync_ms: QUICK_MS,
            aim: None,
            faulty: false,
            was_faulty: false,
            decayed: false,
        }
    }

    /// Leaves what a crash leaves, and tells how many bytes were lost.
    pub(super) fn lose_power(&mut self, bug: Option<Bug>) -> usize {
        self.aim = None;
        let mut lost = 0;
        for file in &mut self.files {
            lost += file.lose_power(&mut self.rng);
        }
        if bug == Some(Bug::Amnesia) {
            self.durable_names.clear();
            self.pending.clear();
        }
        // None, all, the first ones, or any of them: the file system promises nothing.
        let kept = self.rng.random_range(0..4);
        let pending = std::mem::take(&mut self.pending);
        let first = self.rng.random_range(0..=pending.len());
        for (at, op) in pending.into_iter().enumerate() {
            let keep = match kept {
                0 => false,
                1 => true,
                2 => at < first,
                _ => self.rng.random_bool(0.5),
            };
            if keep {
                op.apply(&mut self.durable_names);
            }
        }
        self.names = self.durable_names.clone();
        lost
    }

    pub(super) fn sync_names(&mut self, bug: Option<Bug>) {
        let lies = bug == Some(Bug::SnapshotNameNotSynced)
            && matches!(self.pending.last(), Some(NameOp::Rename(_, to)) if to.ends_with(".snap"));
        if !lies {
            self.pending.clear();
            self.durable_names = self.names.clone();
        }
    }

    /// Whether the power goes off at this moment.
    pub(super) fn strikes(&mut self, moment: Moment) -> bool {
        match &mut self.aim {
            Some(aim) if aim.moment == moment && aim.passes == 0 => true,
            Some(aim) if aim.moment == moment => {
                aim.passes -= 1;
                false
            }
            _ => false,
        }
    }

    pub(super) fn sync_time(&mut self) -> Duration {
        let (from, to) = self.sync_ms;
        Duration::from_millis(self.rng.random_range(from..=to))
    }
}

impl NameOp {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, file) => {
                names.insert(name, file);
            }
            Self::Rename(from, to) => {
                if let Some(file) = names.remove(&from) {
                    names.insert(to, file);
                }
            }
            Self::Remove(name) => {
                names.remove(&name);
            }
        }
    }
}
