//! When a snapshot is due, and how much of the log stays behind it.
//!
//! openraft fixes both when it starts. Here they may change while a member runs, so it is told never to take a snapshot by
//! itself, and to keep everything; one part asks for both, by count and by size.

use std::sync::Arc;

use openraft_rt::WatchReceiver as _;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{log::Log, machine::Machine, options::RaftOptions, snapshot::Shelf, types::Types};

/// The entries that stay behind a snapshot for followers that lag have about so many bytes at most. More than that is
/// sent faster as a snapshot.
const KEPT_BYTES: u64 = 64 << 20;

/// When a member takes a snapshot, and what it keeps. Each member follows its own, so all should have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// A snapshot is written once this many entries were applied since the last. 0: never, however long the log grows.
    pub interval: u64,
    /// How many entries that a snapshot covers are kept for followers that lag a little.
    pub kept_entries: u64,
    /// How many snapshots are kept beside the newest.
    pub kept_snapshots: u64,
}

impl From<&RaftOptions> for SnapshotPolicy {
    fn from(options: &RaftOptions) -> Self {
        Self { interval: options.snapshot_interval, kept_entries: options.kept_entries, kept_snapshots: 0 }
    }
}

/// What was applied since the last snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Since {
    entries: u64,
    bytes: u64,
}

/// Counts what is applied, and knows when that is enough. Clones share it.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Pages>);

struct Pages {
    since: Mutex<Since>,
    policy: Mutex<SnapshotPolicy>,
    /// So many bytes are enough whatever their number.
    enough_bytes: u64,
    due: Notify,
}

impl Ledger {
    pub(crate) fn new(options: &RaftOptions) -> Self {
        let policy = Mutex::new(options.into());
        Self(Arc::new(Pages {
            since: Mutex::default(),
            policy,
            enough_bytes: options.snapshot_bytes,
            due: Notify::new(),
        }))
    }

    /// Takes into account what was applied.
    pub(crate) fn applied(&self, entries: u64, bytes: u64) {
        {
            let mut since = self.0.since.lock();
            since.entries += entries;
            since.bytes += bytes;
        }
        if self.is_due() {
            self.0.due.notify_one();
        }
    }

    /// A snapshot of this moment is taken or installed.
    pub(crate) fn begin_anew(&self) {
        *self.0.since.lock() = Since::default();
    }

    pub(crate) fn set_policy(&self, policy: SnapshotPolicy) {
        *self.0.policy.lock() = policy;
        self.0.due.notify_one();
    }

    pub(crate) fn policy(&self) -> SnapshotPolicy {
        *self.0.policy.lock()
    }

    fn is_due(&self) -> bool {
        is_due(*self.0.since.lock(), self.policy().interval, self.0.enough_bytes)
    }
}

fn is_due(since: Since, interval: u64, enough_bytes: u64) -> bool {
    interval > 0 && (since.entries >= interval || since.bytes >= enough_bytes)
}

/// Has snapshots taken, and the log cut behind them.
pub(crate) struct Compactor {
    pub(crate) raft: openraft::Raft<Types, Machine>,
    pub(crate) log: Log,
    pub(crate) shelf: Shelf,
    pub(crate) ledger: Ledger,
}

impl Compactor {
    /// Runs until told to stop, or until openraft ends; why it ended, others say.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.ledger.0.due.notified().await;
                self.shelf.keep_older(self.ledger.policy().kept_snapshots);
                while self.ledger.is_due() {
                    if self.compact().await.is_none() {
                        return;
                    }
                }
            }
        };
        tokio::select! { biased; // to stop comes first
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Takes one snapshot. Nothing when openraft has ended.
    async fn compact(&self) -> Option<()> {
        let before = self.raft.metrics().borrow_watched().snapshot;
        self.raft.trigger().snapshot().await.ok()?;
        let mut metrics = self.raft.metrics();
        let index = loop {
            let newest = metrics.borrow_and_update().snapshot;
            if let Some(newest) = newest.filter(|_| newest > before) {
                break newest.index;
            }
            metrics.changed().await.ok()?;
        };
        let first_kept = self.log.first_within(index, self.ledger.policy().kept_entries, KEPT_BYTES);
        match first_kept.checked_sub(1) {
            Some(upto) => self.raft.trigger().purge_log(upto).await.ok(),
            None => Some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_by_count_or_by_size_and_never_without_an_interval() {
        let since = |entries, bytes| Since { entries, bytes };
        assert!(!is_due(since(9, 999), 10, 1000));
        assert!(is_due(since(10, 0), 10, 1000));
        assert!(is_due(since(1, 1000), 10, 1000));
        assert!(!is_due(since(1_000_000, 1 << 40), 0, 1000));
    }
}
