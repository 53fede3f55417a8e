//! Why the rebalancer ends before it is told to.

use swarmkit_store::{StoreError, WatchEnded};

/// Why the loop ended. Either way this manager leads no more, or is about to stop: build a new term, or leave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can be written any more.
    #[error("the rebalancer can write no more")]
    Write(#[from] StoreError),
    /// Nothing can be read any more.
    #[error("the rebalancer can read no more")]
    Read(#[from] WatchEnded),
}
