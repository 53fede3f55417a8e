//! A leader whose work gets nowhere hands over.
//!
//! Heartbeats need no disk, so a leader whose disk hangs would lead on for ever, and nothing would be decided. Readers and
//! writers of the store wait for nobody's lock, and nothing is written while one is held, so what can hang is what lies
//! below: the disk, or what openraft waits for.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    error::RaftError,
    raft::Raft,
    role::{Leadership, Role},
};

/// How long a leader may be at work without finishing anything. No disk that is only busy takes so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause after an attempt, as upstream: if the others are no better, leadership must not go round for ever.
const PAUSE: Duration = Duration::from_secs(60);

/// How many change sets were handed out and are not settled yet, and when that last got on. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<Shared>);

#[derive(Default)]
struct Shared {
    work: Mutex<Work>,
    begun: Notify,
}

#[derive(Clone, Copy, Default)]
struct Work {
    open: u64,
    /// Since when nothing was settled; nothing while nothing is open.
    idle_since: Option<Instant>,
}

impl Progress {
    /// A change set is handed out.
    pub(crate) fn begin(&self) {
        let mut work = self.0.work.lock();
        work.open += 1;
        if work.idle_since.is_none() {
            work.idle_since = Some(Instant::now());
            self.0.begun.notify_one();
        }
    }

    /// One is settled, in whatever way.
    pub(crate) fn end(&self) {
        let mut work = self.0.work.lock();
        work.open = work.open.saturating_sub(1);
        work.idle_since = (work.open > 0).then(Instant::now);
    }

    fn idle_since(&self) -> Option<Instant> {
        self.0.work.lock().idle_since
    }

    /// Waits until something has been open for so long, counted from `begin` at the earliest, with nothing settled.
    async fn stalled(&self, begin: Instant) {
        loop {
            let Some(since) = self.idle_since() else {
                self.0.begun.notified().await;
                continue;
            };
            let until = since.max(begin) + PATIENCE;
            if Instant::now() >= until {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Hands leadership over when what this member does as leader gets nowhere, until told to stop.
///
/// # Errors
///
/// When raft has ended.
pub(crate) async fn run(raft: Raft, progress: Progress, stop: CancellationToken) -> Result<(), RaftError> {
    let mut leadership = raft.leadership();
    let watching = async {
        loop {
            leadership.lead().await?;
            tokio::select! { biased; // who leads no more has nothing to hand over
                ended = until_it_ends(leadership.clone()) => ended?,
                () = progress.stalled(Instant::now()) => {
                    tracing::error!("this leader gets nothing done, and hands leadership over: its disk may hang");
                    match raft.transfer_leadership(None).await {
                        Ok(()) => tracing::info!("leadership is handed over"),
                        Err(error) => tracing::warn!(%error, "nobody takes leadership over"),
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    let ended = tokio::select! { biased; // stopping comes first
        () = stop.cancelled() => Ok(()),
        ended = watching => ended,
    };
    match ended {
        // Others say why.
        Err(RaftError::Stopped) => {
            stop.cancelled().await;
            Ok(())
        }
        ended => ended,
    }
}

async fn until_it_ends(mut leadership: Leadership) -> Result<(), RaftError> {
    while let Role::Leader { .. } = leadership.latest() {
        leadership.changed().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_open_and_gets_nowhere_for_long_is_stalled() {
        let progress = Progress::default();
        let stalls =
            async |within: Duration| tokio::time::timeout(within, progress.stalled(Instant::now())).await.is_ok();
        assert!(!stalls(Duration::from_secs(3600)).await, "there is nothing to do");
        progress.begin();
        progress.begin();
        assert!(!stalls(PATIENCE - Duration::from_millis(1)).await);
        progress.end();
        assert!(!stalls(PATIENCE - Duration::from_millis(1)).await, "one was settled meanwhile");
        assert!(stalls(PATIENCE).await, "the other one still is not");
        progress.end();
        assert!(!stalls(Duration::from_secs(3600)).await);
        progress.begin();
        tokio::time::sleep(PATIENCE).await;
        assert!(
            !stalls(PATIENCE - Duration::from_millis(1)).await,
            "what was open before this leadership counts from its begin"
        );
    }
}
