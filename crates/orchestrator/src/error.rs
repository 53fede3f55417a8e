//! Why a loop of the orchestrator ends before it is told to.

use swarmkit_store::{StoreError, WatchEnded};

/// Why a loop ended. Either way this manager leads no more, or is about to stop: build a new term, or leave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can be written any more.
    #[error("the orchestrator can write no more")]
    Write(#[from] StoreError),
    /// Nothing can be read any more.
    #[error("the orchestrator can read no more")]
    Read(#[from] WatchEnded),
}
