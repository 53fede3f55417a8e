//! What waits for one watcher.

use std::collections::VecDeque;

use parking_lot::Mutex;
use swarmkit_api::Version;
use tokio::sync::Notify;

use super::{Delta, Update, WATCH_QUEUE};
use crate::{View, WatchEnded};

/// The queue of one watcher.
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    arrival: Notify,
}

struct Queue {
    /// Deltas from before the watch began; bounded by the history that they come from.
    replay: VecDeque<Delta>,
    /// Deltas since.
    deltas: VecDeque<Delta>,
    /// The next update is a snapshot, and until it is taken no delta is kept.
    resync: bool,
    /// The version of the last snapshot. What it contains is not told again.
    seen: Version,
    ended: bool,
}

impl Mailbox {
    /// For a watcher that starts with a snapshot.
    pub(crate) fn fresh() -> Self {
        Self::with(VecDeque::new(), true, Version::default())
    }

    /// For a watcher that has seen everything up to a version, and what came after it.
    pub(crate) fn resumed(replay: VecDeque<Delta>, seen: Version) -> Self {
        Self::with(replay, false, seen)
    }

    fn with(replay: VecDeque<Delta>, resync: bool, seen: Version) -> Self {
        let queue = Queue { replay, deltas: VecDeque::new(), resync, seen, ended: false };
        Self { queue: Mutex::new(queue), arrival: Notify::new() }
    }

    /// Adds a delta. The state that it leads to must already be the one that a snapshot would show.
    pub(crate) fn push(&self, delta: Delta) {
        let mut queue = self.queue.lock();
        if queue.resync || delta.version <= queue.seen {
            return;
        }
        if queue.deltas.len() >= WATCH_QUEUE {
            queue.start_over();
        } else {
            queue.deltas.push_back(delta);
        }
        drop(queue);
        self.arrival.notify_one();
    }

    /// Makes the next update a snapshot.
    pub(crate) fn resync(&self) {
        self.queue.lock().start_over();
        self.arrival.notify_one();
    }

    /// No more updates will come; those that wait are still told.
    pub(crate) fn end(&self) {
        self.queue.lock().ended = true;
        self.arrival.notify_one();
    }

    /// The next update, if there is one. `now` reads the committed state.
    pub(crate) fn take(&self, now: impl FnOnce() -> View) -> Result<Option<Update>, WatchEnded> {
        let mut queue = self.queue.lock();
        if queue.resync {
            // Read under the queue's lock: whatever is pushed later is either newer, or known to be contained.
            let view = now();
            queue.resync = false;
            queue.seen = view.version();
            return Ok(Some(Update::Snapshot(view)));
        }
        let next = queue.replay.pop_front();
        match next.or_else(|| queue.deltas.pop_front()) {
            Some(delta) => Ok(Some(Update::Delta(delta))),
            None if queue.ended => Err(WatchEnded),
            None => Ok(None),
        }
    }

    /// Waits until something may have arrived.
    pub(crate) async fn arrival(&self) {
        self.arrival.notified().await;
    }
}

impl Queue {
    fn start_over(&mut self) {
        self.replay = VecDeque::new();
        self.deltas = VecDeque::new();
        self.resync = true;
    }
}
