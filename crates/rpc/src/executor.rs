//! What hyper spawns belongs to a crew.

use std::future::Future;

use hyper::rt::Executor;
use swarmkit_runtime::Spawner;

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
