//! Watching: first everything, then every change, never a gap.

mod history;
mod interest;
mod mailbox;
mod router;

use std::sync::Arc;

use swarmkit_api::Version;

pub use self::history::{HISTORY_CHANGES, PastChanges};
pub use self::interest::Interest;
pub(crate) use self::{
    history::History,
    mailbox::Mailbox,
    router::{Router, WatchId},
};
use crate::{Change, View, WatchEnded, line::Line};

/// The most deltas that wait for one watcher. One that falls further behind gets a new snapshot instead, so this bounds
/// its memory; it is far more than arrives while one decision is made.
pub const WATCH_QUEUE: usize = 1024;

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Update {
    /// Everything as it is now; what was said before is void. The first update, and again after falling behind.
    Snapshot(View),
    /// What changed since the last update.
    Delta(Delta),
}

impl Update {
    /// The state after this update.
    #[must_use]
    pub fn view(&self) -> &View {
        match self {
            Self::Snapshot(view) => view,
            Self::Delta(delta) => &delta.view,
        }
    }
}

/// One committed change set, as far as a watcher is interested in it.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The version that it made.
    pub version: Version,
    /// The writes of interest, in order; an object that was written twice is there twice. Never empty.
    pub changes: Arc<[Change]>,
    /// The state after it. In deltas that were replayed by [`crate::Store::watch_from`]: that, or a later one.
    pub view: View,
}

/// A subscription. Dropping it ends it.
pub struct Watch {
    line: Arc<Line>,
    mailbox: Arc<Mailbox>,
    id: WatchId,
}

impl Watch {
    pub(crate) fn new(line: Arc<Line>, mailbox: Arc<Mailbox>, id: WatchId) -> Self {
        Self { line, mailbox, id }
    }

    /// The next update. Waits until there is one. Nothing is lost if the wait is given up.
    ///
    /// # Errors
    ///
    /// [`WatchEnded`] after the store was closed.
    pub async fn next(&mut self) -> Result<Update, WatchEnded> {
        loop {
            if let Some(update) = self.try_next()? {
                return Ok(update);
            }
            self.mailbox.arrival().await;
        }
    }

    /// The next update, if there is one already: for whoever wants to absorb all that waits before deciding.
    ///
    /// # Errors
    ///
    /// [`WatchEnded`] after the store was closed.
    pub fn try_next(&mut self) -> Result<Option<Update>, WatchEnded> {
        self.mailbox.take(|| self.line.view())
    }

    /// Absorbs all that has arrived, and waits for more until version `least` is there: whoever has written something
    /// decides nothing twice on the same facts. Gives the version reached; `at` is the one that was reached before.
    ///
    /// # Errors
    ///
    /// [`WatchEnded`] after the store was closed, or the first error of `absorb`.
    pub async fn catch_up<E: From<WatchEnded>>(
        &mut self,
        mut at: Version,
        least: Version,
        mut absorb: impl FnMut(&Update) -> Result<(), E>,
    ) -> Result<Version, E> {
        loop {
            let update = match self.try_next()? {
                Some(update) => update,
                None if at < least => self.next().await?,
                None => return Ok(at),
            };
            absorb(&update)?;
            at = update.view().version();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.line.unsubscribe(self.id);
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("id", &self.id).finish_non_exhaustive()
    }
}
