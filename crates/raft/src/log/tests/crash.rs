//! Crashes at random moments, against a model.

use std::time::Duration;

use openraft::storage::RaftLogStorage as _;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::{SMALL, entry, flushed, open_with};
use crate::{
    disk::{Crash, MemoryDisk},
    types::{Entry, LogId, Vote},
};

/// What a log should say.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<Entry>,
}

impl Model {
    fn next(&self) -> u64 {
        self.entries
            .last()
            .map(|entry| entry.log_id.index)
            .or(self.purged.map(|id| id.index))
            .map_or(0, |last| last + 1)
    }

    fn truncate(&mut self, keep: usize) -> Option<LogId> {
        self.entries.truncate(keep);
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }
}

/// One life of a log: random operations, of which some are awaited, then a crash. `history` gets the state after each
/// operation; the result is the number of operations that were acknowledged.
async fn live(disk: &MemoryDisk, rng: &mut SmallRng, term: u64, history: &mut Vec<Model>) -> usize {
    let mut opened = open_with(disk, SMALL).await.unwrap();
    let mut acknowledged = 0;
    let mut waits = Vec::new();
    for _ in 0..rng.random_range(1..20) {
        let mut state = history.last().cloned().unwrap();
        match rng.random_range(0..10) {
            0 => {
                let vote = Vote::new(term, rng.random_range(1..4));
                opened.log.save_vote(&vote).await.unwrap();
                state.vote = Some(vote);
                acknowledged = history.len();
            }
            1 if !state.entries.is_empty() => {
                let keep = rng.random_range(0..=state.entries.len());
                let last = state.truncate(keep);
                opened.log.truncate_after(last).await.unwrap();
            }
            2 if !state.entries.is_empty() => {
                let drop = rng.random_range(1..=state.entries.len());
                let upto = state.entries[drop - 1].log_id;
                state.entries.drain(..drop);
                state.purged = Some(upto);
                opened.log.purge(upto).await.unwrap();
            }
            _ => {
                let first = state.next();
                let new: Vec<_> = (first..first + rng.random_range(1..4)).map(|index| entry(term, index)).collect();
                state.entries.extend(new.iter().cloned());
                let (flushed, wait) = flushed();
                opened.log.append(new, flushed).await.unwrap();
                if rng.random_bool(0.3) {
                    wait.await.unwrap().unwrap();
                    acknowledged = history.len();
                } else {
                    waits.push(wait);
                }
            }
        }
        history.push(state);
        if rng.random_bool(0.2) {
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..8))).await;
        }
    }
    disk.crash(Crash::Torn(rng));
    acknowledged
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_a_state_that_was_once_and_nothing_acknowledged_is_lost() {
    for seed in 0..80 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = MemoryDisk::new();
        disk.delay_syncs(Duration::from_millis(3));
        let mut history = vec![Model::default()];
        for term in 1..8 {
            let acknowledged = live(&disk, &mut rng, term, &mut history).await;
            let mut opened = open_with(&disk, SMALL).await.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let (purged, last) = opened.state().await;
            let found = Model { vote: opened.vote(), purged, entries: opened.entries().await };
            let at = history.iter().rposition(|state| *state == found);
            let at = at.unwrap_or_else(|| panic!("seed {seed}, term {term}: {found:?} never was; {history:?}"));
            assert!(at >= acknowledged, "seed {seed}, term {term}: back at {at}, {acknowledged} was acknowledged");
            assert_eq!(last, found.entries.last().map(|entry| entry.log_id).or(purged));
            // Half of the time the recovered log is closed in order, else it is left as a crash would.
            if rng.random_bool(0.5) {
                opened.close().await;
            } else {
                drop(opened);
                disk.crash(Crash::LoseAll);
            }
            history = vec![found];
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_killed_process_left_unsynced_is_durable_once_the_next_one_has_found_it() {
    let disk = MemoryDisk::new();
    let mut first = open_with(&disk, SMALL).await.unwrap();
    first.append([entry(1, 0)]).await;
    disk.delay_syncs(Duration::from_secs(1));
    let (flushed, _wait) = flushed();
    first.log.append([entry(1, 1)], flushed).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    drop(first.crew);

    disk.delay_syncs(Duration::ZERO);
    let second = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(second.entries().await.len(), 2, "it was written, though not synced");
    drop(second.crew);
    disk.crash(Crash::LoseAll);

    let third = open_with(&disk, SMALL).await.unwrap();
    assert_eq!(third.entries().await, [entry(1, 0), entry(1, 1)]);
    third.close().await;
}
