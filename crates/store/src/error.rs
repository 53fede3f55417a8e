//! What can go wrong, told in terms of what the caller can do.

/// Why a write was refused.
///
/// The texts of the first group reach clients of the wire, some of which match on them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Create: the id is taken. Choose another.
    #[error("object already exists")]
    Exists,
    /// Update or delete: nothing has that id.
    #[error("object does not exist")]
    NotFound,
    /// Another object of the kind has that name, in whatever case. Choose another.
    #[error("name conflicts with an existing object")]
    NameConflict,
    /// The object was written since it was read. Read it again and retry.
    #[error("update out of sequence")]
    OutOfSequence,
    /// The kind of a resource is no registered extension.
    #[error("object kind is unregistered")]
    NoKind,
    /// Extensions cannot be updated. Delete and create.
    #[error("extensions are immutable")]
    ExtensionImmutable,
    /// Delete the resources of that kind first.
    #[error("cannot delete extension because objects of this type exist in the data store")]
    ExtensionInUse,
    /// An object needs an id.
    #[error("missing value for index 'id'")]
    NoId,
    /// A volume needs a driver.
    #[error("missing value for index 'driver'")]
    NoDriver,

    /// The change set was not, or perhaps not, replicated.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

impl StoreError {
    /// Whether nothing was written for the sole reason that this manager does not lead (any more): the leader may do it.
    #[must_use]
    pub fn is_not_leader(&self) -> bool {
        matches!(self, Self::Propose(ProposeError::NotLeader { .. } | ProposeError::Superseded))
    }

    /// Whether the same write may work in a moment: nothing is wrong with it, and this manager may still lead. A control
    /// loop reads on and decides again; after any other error of a proposal it ends.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::OutOfSequence | Self::Propose(ProposeError::Failed(_) | ProposeError::Superseded))
    }
}

/// Why a change set was not replicated. Where upstream has the case, its words are those that clients know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This manager does not lead. Nothing was written; ask the leader.
    #[error(
        "raft: failed to process the request: node lost leader status{}",
        .leader.as_ref().map(|at| format!("; the leader is at {at}")).unwrap_or_default()
    )]
    NotLeader {
        /// The address of the leader, when known.
        leader: Option<String>,
    },
    /// Nothing was written, and the same may work later.
    #[error("the proposal failed: {0}")]
    Failed(String),
    /// A change set that this one was built on was not committed, so neither was this one. Retry.
    #[error("superseded: the state that the transaction was built on was not committed")]
    Superseded,
    /// Nobody knows whether the change set will be committed: leadership was lost while it was under way. Read before
    /// trying again.
    #[error("leadership was lost while the proposal was under way; its outcome is not known")]
    Unknown,
    /// One transaction changed too much to be replicated in one piece. Nothing was written; split it.
    #[error(
        "raft: raft message is too large and can't be sent: the change set has {size} bytes, more than the {limit} of one \
         proposal"
    )]
    TooLarge {
        /// Its encoded size, in bytes.
        size: usize,
        /// The most that is replicated in one piece, in bytes.
        limit: usize,
    },
    /// The store or its proposer was shut down.
    #[error("raft: failed to process the request: node is stopped")]
    Stopped,
}

/// Why a change set or a snapshot from the log cannot be taken over. The replica must not go on: it would diverge.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The bytes are no change set, and no snapshot.
    #[error("malformed change set or snapshot")]
    Malformed,
    /// An object in it cannot be read; it was written by a newer version, or is damaged.
    #[error("unreadable object")]
    Object(#[from] swarmkit_api::DecodeError),
    /// An action of a kind that this version does not know.
    #[error("unrecognized action type")]
    UnknownAction,
    /// A snapshot whose objects are not those that were written. Take another one.
    #[error("the snapshot does not hold what it says")]
    Damaged,
    /// A snapshot that ends in the middle of an object, or has no beginning.
    #[error("the snapshot is incomplete")]
    Truncated,
}

/// Why changes of the past cannot be told, by a watch that resumes or as a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// Too long ago: the changes since then are no longer kept. List again, and watch from there.
    #[error("the requested version was compacted away")]
    Compacted,
    /// The version lies in the future of this store.
    #[error("last version is out of bounds")]
    OutOfBounds,
    /// The first version of a range is newer than the last one.
    #[error("versions are out of order")]
    OutOfOrder,
}

/// The store was shut down, and so no more updates will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store is shut down")]
pub struct WatchEnded;
