//! What plugins refuse, and why the volume manager ends before it is told to.

use swarmkit_store::{StoreError, WatchEnded};

/// Why a plugin has not done what it was asked for. The texts reach operators, in the status of the volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// It was not reached, or gave no answer: whether it has done anything is not known. Ask again.
    #[error("{0}")]
    Unavailable(String),
    /// It says that it cannot do that now, and that nothing is known of what it has done. Ask again.
    #[error("{0}")]
    Failed(String),
    /// It says no, and has done nothing. Asking again helps only when something else has changed.
    #[error("{0}")]
    Refused(String),
}

/// Why the volume manager ended. Either way this manager leads no more, or is about to stop: build a new term, or leave.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing can be written any more.
    #[error("the volume manager can write no more")]
    Write(#[from] StoreError),
    /// Nothing can be read any more.
    #[error("the volume manager can read no more")]
    Read(#[from] WatchEnded),
}

// === impl PluginError ===

impl PluginError {
    /// Whether it is certain that nothing was done.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}
