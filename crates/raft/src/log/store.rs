//! The log as openraft sees it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::Arc,
};

use openraft::{
    RaftLogReader,
    storage::{IOFlushed, LogState, RaftLogStorage},
};
use tokio::sync::oneshot;

use super::{Gap, Log, LogError, Op, Shared};
use crate::types::{Entry, LogId, Types, Vote};

/// The entries of one message to a follower have about so many bytes at most, or are a single one. Together with the
/// largest proposal that stays below the 4 MiB of a message.
const MESSAGE_BYTES: usize = 2 << 20;

/// Reads entries, from memory as far as they are recent.
#[derive(Clone)]
pub(crate) struct LogReader(Arc<Shared>);

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        Ok(self.0.read(start..end).await?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let end = self.0.index.lock().end_within(start..end, MESSAGE_BYTES);
        Ok(self.0.read(start..end).await?)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.0.index.lock().vote)
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let index = self.shared.index.lock();
        Ok(LogState { last_purged_log_id: index.purged(), last_log_id: index.last() })
    }

    async fn get_log_reader(&mut self) -> LogReader {
        LogReader(self.shared.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, saved) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.submit(Op::Vote(*vote, done)).await?;
        saved.await.unwrap_or(Err(LogError::Closed))?;
        self.shared.index.lock().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.shared.index.lock().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.shared.index.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        {
            let mut index = self.shared.index.lock();
            for entry in &entries {
                index.push(entry.clone()).map_err(|Gap { expected, found }| {
                    io::Error::other(format!("entry {found} is appended where {expected} belongs"))
                })?;
            }
        }
        let done = Box::new(move |result: Result<(), LogError>| flushed.io_completed(result.map_err(io::Error::from)));
        Ok(self.submit(Op::Append(entries, done)).await?)
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.shared.index.lock().truncate_after(last);
        Ok(self.submit(Op::Truncate(last)).await?)
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.shared.index.lock().purge(upto);
        Ok(self.submit(Op::Purge(upto)).await?)
    }
}
