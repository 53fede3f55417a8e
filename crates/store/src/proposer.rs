//! The seam below the store: whoever replicates its change sets.

use bytes::Bytes;
use swarmkit_api::Version;

use crate::{Applier, ProposeError};

/// The most bytes of one proposal: what upstream's managers accept as one request.
pub const MAX_PROPOSAL_BYTES: usize = 1_572_864;

/// What tells one proposal from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId {
    /// The version that it makes. Used again after a failure.
    pub version: Version,
    /// A number that no other proposal has.
    pub nonce: u64,
}

/// A change set that asks to be committed.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// To name it by in [`Applier::reject`].
    pub id: ProposalId,
    /// What to commit, and to give to [`Applier::apply`] on every replica: an encoded `InternalRaftRequest`.
    pub payload: Bytes,
}

/// Replicates change sets.
///
/// # Obligations
///
/// - **Order of calls is order of commit.** [`Proposer::propose`] is called under the store's writer slot, so it only
///   queues, and must not block. It may call the applier before it returns.
/// - **A failed proposal fails all after it.** If one cannot be committed, none that was proposed after it may be
///   committed as long as this process leads. (A late one does no harm: replicas skip what was built on a change set that
///   they do not have. But its writer would wait in vain.)
/// - **Applied exactly once, in the order of the log.** Each committed payload is given to [`Applier::apply`] on each
///   replica once, and after a restart again from the snapshot on.
/// - **Every proposal ends.** Either it is applied, or it is rejected: by an error of [`Proposer::propose`], by
///   [`Applier::reject`], or with all others by [`Applier::abandon`].
/// - **What is not known is not called failed.** If a proposal may still be committed, it ends with
///   [`ProposeError::Unknown`]. All other errors promise that it never will be.
/// - **No deadline.** An entry that was handed out can be committed later; only the loss of leadership ends the wait.
///
/// The outcome travels through the [`Applier`] rather than through a future of the call, since a writer may give up
/// waiting at any time, and the store still has to learn that its proposal failed.
///
/// [`crate::conformance`] checks an implementation.
pub trait Proposer: Send + Sync + 'static {
    /// Takes what committed payloads are given to. Called once, before anything is proposed.
    fn attach(&self, applier: Applier);

    /// Queues a proposal.
    ///
    /// # Errors
    ///
    /// When it will certainly not be committed: this manager does not lead, or was shut down.
    fn propose(&self, proposal: Proposal) -> Result<(), ProposeError>;

    /// The most bytes of one proposal. What would take more is refused before it is proposed.
    fn max_bytes(&self) -> usize {
        MAX_PROPOSAL_BYTES
    }
}
