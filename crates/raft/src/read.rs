//! Reads that are as new as the cluster.

use openraft::{
    errors::{LinearizableReadError, RaftError as CoreError},
    raft::ReadPolicy,
};

use crate::{error::RaftError, raft::Raft};

impl Raft {
    /// Waits until the store shows everything that was committed, by whatever leader, before this was called.
    ///
    /// [`Role::Leader`](crate::Role::Leader) alone does not promise that: it is true of the moment when it was announced,
    /// and after a transfer of leadership another member leads at once. This asks a quorum whether there is a newer
    /// leader, which costs a round trip and no write. It has no deadline of its own.
    ///
    /// # Errors
    ///
    /// [`RaftError::NotLeader`] if this member does not lead, or can no longer prove it, and [`RaftError::Stopped`].
    pub async fn read_barrier(&self) -> Result<(), RaftError> {
        match self.core.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(CoreError::Fatal(_)) => Err(RaftError::Stopped),
            Err(CoreError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Err(RaftError::NotLeader { leader: to.leader_node.map(|peer| peer.addr) })
            }
            Err(CoreError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(RaftError::NotLeader { leader: None })
            }
        }
    }

    /// Whether the group has no such member, and no change under way that may bring it. For a member that was admitted
    /// before this was called, that means that it was removed for good.
    ///
    /// A quorum is asked, as by [`Raft::read_barrier`]: a leader that was deposed may not know of a member yet.
    ///
    /// # Errors
    ///
    /// As for [`Raft::read_barrier`].
    pub async fn has_removed(&self, raft_id: u64) -> Result<bool, RaftError> {
        self.read_barrier().await?;
        let members = self.members();
        Ok(self.is_membership_settled() && members.iter().all(|status| status.member.raft_id != raft_id))
    }
}
