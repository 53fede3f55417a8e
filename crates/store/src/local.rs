//! A store of one, without replication.

use std::sync::OnceLock;

use crate::{Applier, Proposal, ProposeError, Proposer};

/// Commits everything at once, in memory: for tests, tools, and clusters that need not survive their process.
#[derive(Default)]
pub struct LocalProposer(OnceLock<Applier>);

impl LocalProposer {
    /// A proposer that is attached to no store yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Proposer for LocalProposer {
    fn attach(&self, applier: Applier) {
        self.0.set(applier).ok();
    }

    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError> {
        let applier = self.0.get().ok_or(ProposeError::Stopped)?;
        match applier.apply(&proposal.payload) {
            Ok(_) => Ok(()),
            Err(error) => Err(ProposeError::Failed(error.to_string())),
        }
    }
}
