//! When this member last heard from a leader.
//!
//! openraft goes on naming a leader until it hears of another one. While nobody can be elected that is a dead one, and
//! whoever wants to call it waits for nothing. So a leader that says nothing for long enough is nobody's leader.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

/// So many leases without a word end a leader for its followers. After two, the longest time is over that an election
/// takes to begin: a leader that is replaced in time is never missed in between.
const LEASES: u32 = 2;

/// Remembers the last word of a leader. Clones share it.
#[derive(Clone)]
pub(crate) struct Hearing(Arc<Ear>);

struct Ear {
    patience: Duration,
    last: Mutex<Option<Instant>>,
    again: Notify,
}

impl Hearing {
    /// Nothing was heard yet.
    pub(crate) fn new(lease: Duration) -> Self {
        Self(Arc::new(Ear { patience: LEASES * lease, last: Mutex::default(), again: Notify::new() }))
    }

    /// A leader has said something.
    pub(crate) fn note(&self) {
        let now = Instant::now();
        let before = self.0.last.lock().replace(now);
        if before.is_none_or(|before| before + self.0.patience <= now) {
            self.0.again.notify_one();
        }
    }

    /// Until when the last word counts; nothing if it does no longer, or none was heard.
    pub(crate) fn counts_until(&self) -> Option<Instant> {
        let until = (*self.0.last.lock())? + self.0.patience;
        (Instant::now() < until).then_some(until)
    }

    /// Waits for a word after a silence. Cancel safe; may come early once.
    pub(crate) async fn again(&self) {
        self.0.again.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(300);

    #[tokio::test(start_paused = true)]
    async fn a_word_counts_for_two_leases_and_the_next_one_is_told() {
        let hearing = Hearing::new(LEASE);
        assert_eq!(hearing.counts_until(), None, "nothing was heard yet");
        hearing.note();
        hearing.again().await;
        tokio::time::sleep(2 * LEASE - Duration::from_millis(1)).await;
        assert!(hearing.counts_until().is_some());
        hearing.note();
        tokio::time::sleep(2 * LEASE - Duration::from_millis(1)).await;
        assert!(hearing.counts_until().is_some(), "each word counts as long as the first");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(hearing.counts_until(), None);
        hearing.note();
        hearing.again().await;
        assert!(hearing.counts_until().is_some());
    }
}
