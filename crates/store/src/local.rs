//! A store of one, without replication.

use std::sync::{Arc, OnceLock};

use crate::{Applier, MAX_PROPOSAL_BYTES, Proposal, ProposeError, Proposer, journal::Queue};

/// Commits without replication. By itself it commits at once, in memory: for tests, tools, and clusters that need not
/// survive their process. With a journal ([`crate::Store::journaled`]) it commits what is on disk.
#[derive(Default)]
pub struct LocalProposer {
    applier: OnceLock<Applier>,
    journal: Option<Arc<Queue>>,
    unlimited: bool,
}

impl LocalProposer {
    /// A proposer that is attached to no store yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that takes proposals of any size: what it commits is sent nowhere and written nowhere.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { unlimited: true, ..Self::default() }
    }

    /// One whose proposals are committed by whoever writes the journal.
    pub(crate) fn journaled(queue: Arc<Queue>) -> Self {
        Self { journal: Some(queue), ..Self::default() }
    }
}

impl Proposer for LocalProposer {
    fn attach(&self, applier: Applier) {
        self.applier.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        if let Some(journal) = &self.journal {
            return journal.push(proposal);
        }
        let applier = self.applier.get().ok_or(ProposeError::Stopped)?;
        match applier.apply(&proposal.payload) {
            Ok(_) => Ok(()),
            Err(error) => Err(ProposeError::Failed(error.to_string())),
        }
    }

    fn max_bytes(&self) -> usize {
        if self.unlimited { usize::MAX } else { MAX_PROPOSAL_BYTES }
    }
}
