//! What a proposer is given: the way of committed change sets into the store.

use std::sync::Arc;

use swarmkit_api::Version;

use crate::{ApplyError, Divergence, ProposalId, ProposeError, Restore, Snapshot, View, line::Line};

/// What became of a committed change set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It made this version.
    Committed(Version),
    /// It was skipped, here as on every other replica, since it was built on a change set that was not committed.
    Superseded,
}

/// Takes committed change sets and snapshots into a store. Clones share the store.
#[derive(Clone)]
pub struct Applier(pub(crate) Arc<Line>);

impl Applier {
    /// Takes over a committed payload. To be called in the order of the log.
    ///
    /// It depends on the payload and the committed state alone, so every replica comes to the same state. It asks no
    /// rule: that was done when the change set was made.
    ///
    /// # Errors
    ///
    /// The payload cannot be read; nothing was changed. The caller must not go on: this replica would diverge.
    pub fn apply(&self, payload: &[u8]) -> Result<Applied, ApplyError> {
        self.0.apply(payload)
    }

    /// Reports that a proposal, and so every one after it, will not be committed, or that nobody knows.
    ///
    /// Does nothing if the proposal has ended otherwise.
    pub fn reject(&self, id: ProposalId, error: ProposeError) {
        self.0.reject(id, error);
    }

    /// Fails everything under way; the newest state is the committed one again. Leadership was lost.
    ///
    /// Use [`ProposeError::Unknown`] if any of it may have been handed to another replica.
    pub fn abandon(&self, error: &ProposeError) {
        self.0.abandon(error);
    }

    /// The committed state.
    #[must_use]
    pub fn view(&self) -> View {
        self.0.view()
    }

    /// The first difference between this replica and the leader that was noticed; see [`Divergence`].
    #[must_use]
    pub fn divergence(&self) -> Option<Divergence> {
        self.0.divergence()
    }

    /// The committed state, to be written out while the store goes on. Takes constant time.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.0.view())
    }

    /// Starts reading a snapshot. It is read beside the store, and replaces its state when it is
    /// [installed](Applier::install).
    #[must_use]
    pub fn restore(&self) -> Restore {
        Restore::new(self.0.specs.clone())
    }

    /// Replaces the state by one that was read from a snapshot.
    ///
    /// Watchers stay, and are told the difference as one delta. Whatever was under way ends as
    /// [`ProposeError::Unknown`].
    ///
    /// # Errors
    ///
    /// The snapshot is not complete.
    pub fn install(&self, restore: Restore) -> Result<Version, ApplyError> {
        let state = restore.finish()?;
        let version = state.version;
        self.0.install(state);
        Ok(version)
    }

    /// Ends the store: nothing can be written any more, and all watches end.
    pub fn close(&self) {
        self.0.close();
    }
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Applier").field(&self.view().version()).finish()
    }
}
