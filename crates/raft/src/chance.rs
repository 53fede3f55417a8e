//! openraft's runtime: its tasks belong to the crew that started it, and its chance comes from one seed.

use std::{
    cell::Cell,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::{TokioInstant, TokioMpsc, TokioMutex, TokioOneshot, TokioRuntime, TokioWatch};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use swarmkit_runtime::Spawner;
use tokio::task::JoinHandle;

tokio::task_local! {
    /// The seed that the running future draws from next.
    static SEED: Cell<u64>;
}

/// Runs a future of openraft, or one that calls it, so that all chance below it follows from `seed`.
pub(crate) fn seeded<F: Future>(seed: u64, run: F) -> impl Future<Output = F::Output> {
    SEED.scope(Cell::new(seed), run)
}

/// Draws from the seed of the running future.
fn draw() -> u64 {
    SEED.try_with(|seed| {
        let mut rng = SmallRng::seed_from_u64(seed.get());
        let drawn = rng.next_u64();
        seed.set(rng.next_u64());
        drawn
    })
    // A future that entered openraft from outside (a handler of a request) makes no choices that matter.
    .unwrap_or_default()
}

/// Spawns into the current crew; time and channels are tokio's.
#[derive(Debug)]
pub(crate) struct Runtime;

/// A task that openraft started.
pub(crate) struct Task<T>(JoinHandle<Option<T>>);

/// A task ended without a result.
pub(crate) enum TaskError {
    /// Its crew was dropped.
    Abandoned,
    Failed(tokio::task::JoinError),
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abandoned => f.write_str("the task was abandoned"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|joined| match joined {
            Ok(Some(output)) => Ok(output),
            Ok(None) => Err(TaskError::Abandoned),
            Err(error) => Err(TaskError::Failed(error)),
        })
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = TaskError;
    type JoinHandle<T: OptionalSend + 'static> = Task<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = tokio::time::error::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = SmallRng;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        let spawner = Spawner::current().expect("invariant: openraft is only ever called from a part of a crew");
        Task(spawner.spawn("openraft", seeded(draw(), future)))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        matches!(error, TaskError::Failed(error) if error.is_panic())
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        SmallRng::seed_from_u64(draw())
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        // openraft's own tests alone make runtimes.
        TokioRuntime::new(1).block_on(future)
    }
}
