//! What openraft offers to a follower, stopped when it has a gap.
//!
//! openraft keeps a task for each follower, and tells it what to send through a cell that holds the newest order. An order
//! to send entries may lie there while the task waits for a member that does not answer. Meanwhile the leader gives that
//! order up, decides on a snapshot, and purges the log; the snapshot has a task of its own, so the old order stays where it
//! is. A task that then wakes up reads what the log still has, and offers it as if it followed on what the order says. A
//! follower whose log is empty would take it, and miss all that lies in between.

use std::{
    future::ready,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::{
    StreamExt as _,
    stream::{self, Stream},
};
use openraft::{
    errors::{NetworkError, RPCError},
    raft::AppendEntriesRequest,
};

use crate::{
    messenger::SendError,
    types::{Types, follow_on},
};

/// The offers of one stream, shared by both of its ends.
#[derive(Clone, Default)]
pub(super) struct Offers {
    gap: Arc<AtomicBool>,
}

impl Offers {
    /// Whether an offer may be sent. The first that may not is the last.
    pub(super) fn admit(&self, offer: &AppendEntriesRequest<Types>) -> bool {
        let whole = follow_on(offer.prev_log_id.as_ref(), &offer.entries);
        if !whole {
            self.gap.store(true, Ordering::Release);
        }
        whole
    }

    /// What follows on the last answer: nothing, or the error after which openraft waits for its next order.
    pub(super) fn end<T: Send>(self) -> impl Stream<Item = Result<T, RPCError<Types>>> + Send {
        stream::once(async move { self.gap.load(Ordering::Acquire) })
            .filter_map(|gap| ready(gap.then(|| Err(outdated()))))
    }
}

pub(super) fn outdated() -> RPCError<Types> {
    let lost = SendError::Lost("the log no longer has what was to be sent".to_owned());
    RPCError::Network(NetworkError::new(&lost))
}

#[cfg(test)]
mod tests {
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Entry, LogId, Vote, log_id};

    fn offer(previous: Option<LogId>, entries: impl IntoIterator<Item = u64>) -> AppendEntriesRequest<Types> {
        let entries =
            entries.into_iter().map(|index| Entry { log_id: log_id(2, index), payload: EntryPayload::Blank }).collect();
        AppendEntriesRequest { vote: Vote::new_committed(2, 1), prev_log_id: previous, entries, leader_commit: None }
    }

    async fn ends_with_an_error(offers: Offers) -> bool {
        offers.end::<()>().collect::<Vec<_>>().await.iter().any(Result::is_err)
    }

    #[tokio::test]
    async fn entries_that_follow_on_what_the_follower_has_are_sent() {
        let offers = Offers::default();
        assert!(offers.admit(&offer(None, 0..3)));
        assert!(offers.admit(&offer(Some(log_id(2, 89)), 90..95)));
        assert!(offers.admit(&offer(Some(log_id(2, 94)), [])));
        assert!(!ends_with_an_error(offers).await);
    }

    #[tokio::test]
    async fn entries_of_a_log_that_was_purged_meanwhile_are_not_sent() {
        for previous in [None, Some(log_id(2, 89))] {
            let offers = Offers::default();
            assert!(!offers.admit(&offer(previous, 159..186)));
            assert!(ends_with_an_error(offers).await);
        }
    }

    #[tokio::test]
    async fn entries_with_a_hole_are_not_sent() {
        let offers = Offers::default();
        assert!(!offers.admit(&offer(Some(log_id(2, 89)), [90, 91, 93])));
        assert!(ends_with_an_error(offers).await);
    }
}
