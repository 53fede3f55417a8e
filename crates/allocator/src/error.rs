//! Why the allocator ends before it is told to.

use swarmkit_store::{StoreError, WatchEnded};

use crate::NetworkError;

/// Why the allocator ended. Either way this manager leads no more, or is about to stop: build a new term, or leave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can be written any more.
    #[error("the allocator can write no more")]
    Write(#[from] StoreError),
    /// Nothing can be read any more.
    #[error("the allocator can read no more")]
    Read(#[from] WatchEnded),
    /// The provider of networks cannot work with what the cluster says about addresses.
    #[error("networks cannot be allocated in this cluster")]
    Provider(#[from] NetworkError),
}
