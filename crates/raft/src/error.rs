//! Why raft cannot start, or has ended.

use swarmkit_api::NodeId;

use crate::{log::LogError, options::InvalidOptions};

/// Why raft cannot start, has ended, or refuses a change of the membership.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaftError {
    /// The log or a snapshot cannot be read, or cannot be written any more.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// The proposer was given to no store before raft was started.
    #[error("the proposer is attached to no store")]
    NoStore,
    /// A group of one was to be founded from the state of a survivor, and the disk holds none.
    #[error("there is no state from which a group could go on")]
    NothingToGoOnFrom,
    /// The state on the disk is that of another member.
    #[error("the state on the disk belongs to node {found}, not to {expected}")]
    OtherNode {
        /// Who was started.
        expected: NodeId,
        /// Whose state it is.
        found: NodeId,
    },
    /// A group cannot begin where there is a member's state.
    #[error("the disk holds the state of a member")]
    Taken,
    /// Raft has ended: it was stopped, or could not go on.
    #[error("raft: failed to process the request: node is stopped")]
    Stopped,
    /// Raft could not go on. Nothing was acknowledged that is not durable.
    #[error("raft cannot go on: {0}")]
    Fatal(String),
    /// Another member leads.
    #[error("raft: failed to process the request: node lost leader status")]
    NotLeader {
        /// The address of the leader, when known.
        leader: Option<String>,
    },
    /// A change of the membership is under way. Wait for it.
    #[error("a change of the membership is under way")]
    ChangeUnderWay,
    /// The membership has no such member, or not in that capacity.
    #[error("raft: member unknown")]
    UnknownMember,
    /// So few members answer that the group could not decide anything any more without this one.
    #[error("raft: member cannot be removed, because removing it may result in loss of quorum")]
    QuorumAtRisk,
    /// Something did not come about in time. It may still.
    #[error("timed out: {0}")]
    TimedOut(&'static str),
    /// A change of the membership was refused.
    #[error("the membership cannot be changed: {0}")]
    Refused(String),
}
