//! What an installed snapshot leaves of the log, if a crash came before the log was told.
//!
//! Raft drops the entries that contradict a snapshot, and then installs it. On the disk these are different files: the
//! snapshot can have its name while the log has not yet lost what it was told to drop. Those entries were never committed,
//! and never will be, since something else was committed in their place.

use super::{Log, LogError, record::Record, writer::Writer};
use crate::types::LogId;

/// Drops the entries of a log that was just opened if they contradict the newest snapshot of its member: then nothing in it
/// follows on the snapshot.
pub(crate) async fn settle(log: &Log, writer: &mut Writer, snapshot: Option<LogId>) -> Result<(), LogError> {
    let Some(snapshot) = snapshot else { return Ok(()) };
    let floor = {
        let mut index = log.shared.index.lock();
        if !index.contradicts(&snapshot) {
            return Ok(());
        }
        let floor = index.purged();
        index.truncate_after(floor);
        index.purge(snapshot);
        floor
    };
    tracing::warn!(%snapshot, "dropping entries that contradict the snapshot");
    let records = vec![Record::Truncate(floor), Record::Purge(snapshot)];
    writer.write(records, false).await.map_err(|error| log.shared.fail(error))
}
