//! Supervised tasks: whoever starts a part awaits it.

use std::{future::Future, pin::pin, sync::Arc};

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

use crate::gate::{Gate, held};

tokio::task_local! {
    /// The crew that the running future belongs to.
    static CURRENT: Spawner;
}

/// Why a part failed. Parts of one crew fail in different ways, so the error is boxed where they meet.
pub type PartError = Box<dyn std::error::Error + Send + Sync>;

/// How a part ended.
#[derive(Debug)]
pub struct End {
    /// The name it was spawned under.
    pub part: &'static str,
    /// Its own verdict. A part that panicked is an error here, not a panic of whoever joins.
    pub result: Result<(), PartError>,
}

/// A part ended by panicking.
#[derive(Debug, thiserror::Error)]
#[error("part {part} panicked: {message}")]
struct Panicked {
    part: &'static str,
    message: String,
}

/// A set of named parts that live and end together.
///
/// Each part is handed a stop token. The first part to end, for whatever reason, stops the others; [`Crew::join`] awaits
/// them all and reports how each ended. Nest crews to fix the order in which layers stop.
#[derive(Debug)]
pub struct Crew {
    stop: CancellationToken,
    parts: JoinSet<End>,
    spawner: Spawner,
}

/// Starts short-lived futures on behalf of a crew: connections, streams, requests.
///
/// They are not parts: none of them ends the crew when it ends. The crew awaits them when it is joined, and they are
/// expected to watch the token they are given. Clones share the crew.
#[derive(Clone, Debug)]
pub struct Spawner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stop: CancellationToken,
    /// Cancelled when the crew is dropped without having been joined; ends what would otherwise be orphaned.
    abandoned: CancellationToken,
    tracker: TaskTracker,
    /// Holds up everything of the crew and of those below it, in a simulation.
    gate: Option<Gate>,
}

// === impl Crew ===

impl Crew {
    /// A crew that stops when `parent` is cancelled.
    #[must_use]
    pub fn under(parent: &CancellationToken) -> Self {
        Self::new(parent, Spawner::current().and_then(|current| current.0.gate.clone()))
    }

    /// A crew that a [`Gate`] can hold up, with all crews that are made below it.
    #[must_use]
    pub fn behind(gate: Gate, parent: &CancellationToken) -> Self {
        Self::new(parent, Some(gate))
    }

    fn new(parent: &CancellationToken, gate: Option<Gate>) -> Self {
        let stop = parent.child_token();
        let spawner = Spawner(Arc::new(Shared {
            stop: stop.clone(),
            abandoned: CancellationToken::new(),
            tracker: TaskTracker::new(),
            gate,
        }));
        Self { stop, parts: JoinSet::new(), spawner }
    }

    /// The token that every part is given. Cancelling it stops the crew.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts short-lived futures that this crew owns.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a part. It must end soon after its token is cancelled.
    pub fn spawn<F, Fut, E>(&mut self, part: &'static str, run: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<PartError>,
    {
        let run = run(self.stop.clone());
        let run = async move { End { part, result: run.await.map_err(Into::into) } };
        let inner = self.spawner.clone();
        let run = held(inner.0.gate.clone(), Guarded { part }.run(run));
        #[expect(clippy::disallowed_methods, reason = "the one place that starts a part")]
        self.parts.spawn(CURRENT.scope(inner, run).instrument(tracing::info_span!("part", name = part)));
    }

    /// Waits for the first part to end, or for the parent to stop; then stops the rest and awaits everything.
    pub async fn join(mut self) -> Vec<End> {
        let mut ends = Vec::new();
        while let Some(joined) = self.parts.join_next().await {
            self.stop.cancel();
            match joined {
                Ok(end) => ends.push(end),
                Err(error) => ends.push(End { part: "unknown", result: Err(error.into()) }),
            }
        }
        self.stop.cancel();
        self.spawner.0.tracker.close();
        self.spawner.0.tracker.wait().await;
        ends
    }

    /// Like [`Crew::join`], and gives the first error that a part ended with.
    ///
    /// # Errors
    ///
    /// The error of the part that failed first.
    pub async fn finish(self) -> Result<(), PartError> {
        self.join().await.into_iter().try_for_each(|end| end.result)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop.cancel();
        self.spawner.0.abandoned.cancel();
    }
}

// === impl Spawner ===

impl Spawner {
    /// The crew that the running future belongs to, for code that is handed no spawner.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Cancelled when the crew stops.
    #[must_use]
    pub fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Starts a future that the crew awaits when it is joined, and that is dropped when the crew is dropped unjoined.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts a short-lived future")]
    pub fn spawn<F>(&self, name: &'static str, run: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let abandoned = self.0.abandoned.clone();
        let run = held(self.0.gate.clone(), run);
        let run = async move {
            let mut run = pin!(run);
            tokio::select! { biased; // what was abandoned must not run again
                () = abandoned.cancelled() => None,
                output = &mut run => Some(output),
            }
        };
        let run = CURRENT.scope(self.clone(), run.instrument(tracing::debug_span!("spawned", name)));
        tokio::spawn(self.0.tracker.track_future(run))
    }

    /// Runs blocking work (files, system calls that wait) on a thread made for that.
    ///
    /// # Errors
    ///
    /// When the work panicked, or the runtime is shutting down.
    #[expect(clippy::disallowed_methods, reason = "the one place that leaves the asynchronous threads")]
    pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        tokio::task::spawn_blocking(work).await
    }
}

/// Turns a panic of a part into an error that names it.
struct Guarded {
    part: &'static str,
}

impl Guarded {
    async fn run(self, run: impl Future<Output = End> + Send + 'static) -> End {
        use futures_util::FutureExt as _;

        let part = self.part;
        std::panic::AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|panic| {
            let message = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_else(|| "no message".to_owned());
            End { part, result: Err(Panicked { part, message }.into()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::sync::oneshot;

    use super::*;

    fn failure(text: &'static str) -> Result<(), io::Error> {
        Err(io::Error::other(text))
    }

    #[tokio::test]
    async fn the_first_part_to_end_stops_the_others() {
        let mut crew = Crew::under(&CancellationToken::new());
        crew.spawn("waits", async |stop: CancellationToken| {
            stop.cancelled().await;
            Ok::<(), io::Error>(())
        });
        crew.spawn("fails", async |_| failure("no disk"));
        let ends = crew.join().await;
        assert_eq!(ends.iter().map(|end| end.part).collect::<Vec<_>>(), ["fails", "waits"]);
        assert_eq!(ends[0].result.as_ref().unwrap_err().to_string(), "no disk");
        assert!(ends[1].result.is_ok());
    }

    #[tokio::test]
    async fn a_panic_is_reported_with_the_name_of_the_part() {
        let mut crew = Crew::under(&CancellationToken::new());
        crew.spawn("careless", async |_| -> Result<(), io::Error> { panic!("index out of bounds") });
        let error = crew.finish().await.unwrap_err();
        assert_eq!(error.to_string(), "part careless panicked: index out of bounds");
    }

    #[tokio::test]
    async fn joining_awaits_what_parts_have_spawned() {
        let mut crew = Crew::under(&CancellationToken::new());
        let (done, is_done) = oneshot::channel();
        crew.spawn("server", async |_| {
            let spawner = Spawner::current().expect("a part runs in its crew");
            spawner.spawn("connection", async move {
                tokio::task::yield_now().await;
                done.send(()).ok();
            });
            Ok::<(), io::Error>(())
        });
        crew.finish().await.unwrap();
        assert_eq!(is_done.await, Ok(()));
    }

    #[tokio::test]
    async fn dropping_a_crew_ends_what_it_spawned() {
        let crew = Crew::under(&CancellationToken::new());
        let handle = crew.spawner().spawn("stuck", std::future::pending::<()>());
        drop(crew);
        assert_eq!(handle.await.unwrap(), None);
    }

    #[tokio::test]
    async fn stopping_the_parent_stops_the_crew() {
        let parent = CancellationToken::new();
        let mut crew = Crew::under(&parent);
        crew.spawn("waits", async |stop: CancellationToken| {
            stop.cancelled().await;
            Ok::<(), io::Error>(())
        });
        parent.cancel();
        crew.finish().await.unwrap();
    }
}
