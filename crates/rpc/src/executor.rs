//! What hyper spawns belongs to a crew.

use std::future::Future;

use hyper::rt::Executor;
use swarmkit_runtime::Spawner;
use tokio_util::sync::CancellationToken;

/// Starts hyper's futures on behalf of the crew that serves or calls.
#[derive(Clone)]
pub(crate) struct CrewExecutor(pub(crate) Spawner);

impl<F> Executor<F> for CrewExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, run: F) {
        drop(self.0.spawn("http2", run));
    }
}

/// The same for a connection that can be cut: nothing of it goes on then.
#[derive(Clone)]
pub(crate) struct CallExecutor {
    spawner: Spawner,
    over: CancellationToken,
}

impl CallExecutor {
    pub(crate) fn new(spawner: &Spawner, over: &CancellationToken) -> Self {
        Self { spawner: spawner.clone(), over: over.clone() }
    }
}

impl<F> Executor<F> for CallExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, run: F) {
        let over = self.over.clone();
        let run = async move { over.run_until_cancelled(run).await.map(drop) };
        drop(self.spawner.spawn("http2", run));
    }
}
