//! Giving up a state that is damaged, so that its node can join the group anew.
//!
//! What a member has promised is in its log. When that is damaged, its votes may be lost with it, and a member that went
//! on under its raft id could vote twice. So it is never repaired from the others: its files are set aside, the node asks
//! to be admitted like a new one, the leader removes the old member and admits the node under a raft id that nobody has
//! ever had, and the new member gets everything from the leader.

use std::io::ErrorKind;

use crate::{
    disk::Disk,
    error::RaftError,
    log::{LogError, segment_number},
    raft::Raft,
    snapshot::{UNFINISHED, is_snapshot},
};

/// What the names of files end with that were set aside.
const ASIDE: &str = ".damaged";

impl LogError {
    /// Whether what is on the disk is not what was written there, and so of no use any more. Another key, a newer format
    /// and a disk that does not answer are no damage.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } | Self::Missing { .. } => true,
            Self::WrongKey { .. } | Self::Format { .. } | Self::Io { .. } | Self::Closed => false,
        }
    }
}

impl RaftError {
    /// Whether the member's state is damaged: it can come back with [`Raft::set_aside`] and a new admission only.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Log(error) if error.is_damage())
    }
}

impl Raft {
    /// Sets a state aside that does not open, and tells the files that it consisted of; afterwards the disk holds no state.
    /// What was set aside before is replaced.
    ///
    /// For a node of a group whose other members have a quorum. To be called only when nothing uses the disk, and only
    /// after [`RaftError::is_damage`]: a state that opens is worth more than any other.
    ///
    /// # Errors
    ///
    /// The disk fails. What is left then does not open either, and can be set aside again.
    pub async fn set_aside(disk: &dyn Disk) -> Result<Vec<String>, RaftError> {
        let names = disk.list().await.map_err(LogError::io("list", "the folder"))?;
        for name in names.iter().filter(|name| name.ends_with(UNFINISHED)) {
            disk.remove(name).await.map_err(LogError::io("remove", name))?;
        }
        // The oldest segment goes first, each for good before the next: what a crash leaves is a log without a beginning,
        // which does not open, and never one without an end, which would. Snapshots last: a log that begins in its
        // middle needs one.
        let (mut state, snapshots): (Vec<_>, Vec<_>) = names
            .into_iter()
            .filter(|name| is_snapshot(name) || segment_number(name).is_some())
            .partition(|name| !is_snapshot(name));
        state.extend(snapshots);
        for name in &state {
            let aside = format!("{name}{ASIDE}");
            match disk.rename(name, &aside).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(LogError::io("rename", name)(error).into());
                }
                _ => {}
            }
            disk.sync_names().await.map_err(LogError::io("sync the folder for", name))?;
        }
        tracing::warn!(files = ?state, "a damaged state was set aside");
        Ok(state)
    }
}
