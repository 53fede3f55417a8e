//! A store of one, without replication.

use std::sync::{Arc, OnceLock};

use crate::{Applier, Proposal, ProposeError, Proposer, journal::Queue};

/// Commits without replication. By itself it commits at once, in memory: for tests, tools, and clusters that need not
/// survive their process. With a journal ([`crate::Store::journaled`]) it commits what is on disk.
#[derive(Default)]
pub struct LocalProposer {
    applier: OnceLock<Applier>,
    journal: Option<Arc<Queue>>,
}

impl LocalProposer {
    /// A proposer that is attached to no store yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose proposals are committed by whoever writes the journal.
    pub(crate) fn journaled(queue: Arc<Queue>) -> Self {
        Self { applier: OnceLock::new(), journal: Some(queue) }
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
}
