//! Why a manager cannot start, or has ended.

use std::io;

use swarmkit_raft::RaftError;
use swarmkit_rpc::MountError;
use swarmkit_runtime::PartError;

/// Why a manager cannot start, or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on: it is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The log could not be opened, or written any more.
    #[error(transparent)]
    Raft(#[from] RaftError),
    /// There is no log to go on from, and nothing said to found or to join a cluster.
    #[error("there is no log to restart from")]
    NoLog,
    /// No manager is known to join.
    #[error("can't initialize raft node: no manager to join is known")]
    NoManager,
    /// The managers that were asked did not admit this one.
    #[error("can't initialize raft node: {address}: {reason}")]
    NotAdmitted {
        /// Who was asked last.
        address: String,
        /// What it said, or what stood in the way.
        reason: String,
    },
    /// The others have removed this member for good while it was away, or cut off. Its log is of no use any more; the node
    /// may be admitted again, as another member.
    #[error("raft: member was removed from the cluster")]
    Removed,
    /// A service lacks its row in the access table.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A part ended before its time.
    #[error("{0}")]
    Part(#[source] PartError),
}
