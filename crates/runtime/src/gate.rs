//! Holding a crew up, as a process is held up that was sent SIGSTOP.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

/// Holds up all futures of a crew while it is closed: they are not polled, and what wakes them waits too. Time goes on.
///
/// For simulations; a crew without a gate pays nothing for it. Clones share the state. See [`Crew::behind`](crate::Crew::behind).
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// Those that were to run meanwhile, in the order in which they came.
    waiting: Vec<Waker>,
}

impl Gate {
    /// Holds everything up from now on.
    pub fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Lets everything go on, in the order in which it came to be held up.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether a future has to wait. It is woken when it has not any more.
    fn holds(&self, context: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        if state.closed && !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        state.closed
    }
}

/// Runs a future, except while its gate is closed.
///
/// The future is in a box, since one that is moved into an `async` block takes its size there twice, and this is one of several
/// around it. So what is spawned by the hundred thousand has the size of one future, not of eight.
pub(crate) fn held<F: Future>(gate: Option<Gate>, run: F) -> impl Future<Output = F::Output> {
    let mut run = Box::pin(run);
    poll_fn(move |context| match &gate {
        Some(gate) if gate.holds(context) => Poll::Pending,
        _ => run.as_mut().poll(context),
    })
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use tokio::{sync::oneshot, time::Instant};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Crew, Spawner};

    #[test]
    fn what_holds_a_future_up_is_small_however_large_the_future_is() {
        let large = async || {
            let much = [7_u8; 4096];
            tokio::task::yield_now().await;
            much.len()
        };
        assert!(size_of_val(&large()) > 4096);
        assert!(size_of_val(&held(None, large())) < 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_holds_up_parts_and_what_they_spawn_in_crews_below() {
        let gate = Gate::default();
        let mut crew = Crew::behind(gate.clone(), &CancellationToken::new());
        let (done, is_done) = oneshot::channel();
        crew.spawn("outer", async move |stop| {
            let below = Crew::under(&stop);
            let timer = below.spawner().spawn("timer", async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                done.send(Instant::now()).ok();
            });
            timer.await.ok();
            Ok::<(), io::Error>(())
        });
        let start = Instant::now();
        tokio::time::sleep(Duration::from_millis(500)).await;
        gate.close();
        tokio::time::sleep(Duration::from_secs(10)).await;
        gate.open();
        assert_eq!(is_done.await.map(|at| at - start), Ok(Duration::from_millis(10_500)));
        crew.finish().await.expect("it ends by itself");
    }

    #[tokio::test]
    async fn what_is_held_up_can_be_abandoned() {
        let gate = Gate::default();
        let crew = Crew::behind(gate.clone(), &CancellationToken::new());
        gate.close();
        let handle = crew.spawner().spawn("stuck", async { Spawner::current().is_some() });
        drop(crew);
        assert_eq!(handle.await.ok(), Some(None));
    }
}
