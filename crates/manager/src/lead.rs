//! Leading: a leader term is built whenever this manager leads, and taken down when it does not.

use std::{future::Future, pin::pin, time::Duration};

use swarmkit_raft::{Leadership, RaftError, Role};
use swarmkit_runtime::{Backoff, Env, PartError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The shortest and the longest pause before a leader term is built anew that ended by itself. The shortest is longer than
/// it takes to hand leadership over: raft refuses writes from the beginning of that, so a term hears of it before this does.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));

/// How a leader term ended.
enum End {
    /// This manager leads no more, or was told to stop. What the term then says is no error.
    Over,
    /// A part of it ended although this manager leads.
    Failed(PartError),
}

/// A part of the term ended, without an error and without being told to.
#[derive(Debug, thiserror::Error)]
#[error("a part of it ended by itself")]
struct EndedEarly;

/// Runs `term` whenever this manager leads, until told to stop. A term is awaited to its end before the next one begins.
///
/// # Errors
///
/// When raft has ended.
pub(crate) async fn run<Fut>(
    mut leadership: Leadership,
    env: Env,
    term: impl Fn(CancellationToken) -> Fut,
    stop: CancellationToken,
) -> Result<(), PartError>
where
    Fut: Future<Output = Result<(), PartError>>,
{
    let mut retry = Backoff::new(RETRY.0, RETRY.1, env.rng("leader term"));
    loop {
        let number = tokio::select! { biased; // stopping comes first
            () = stop.cancelled() => return Ok(()),
            number = leadership.lead() => number?,
        };
        tracing::info!(term = number, "this manager leads");
        let begin = Instant::now();
        match hold(&mut leadership, number, &term, &stop).await? {
            End::Over => {
                retry.reset();
                tracing::info!(term = number, "this manager leads no more");
            }
            End::Failed(error) => {
                if begin.elapsed() > RETRY.1 {
                    retry.reset();
                }
                let pause = retry.next_delay();
                tokio::select! { biased; // stopping need not wait for the pause, and what comes of a loss is no failure
                    () = stop.cancelled() => return Ok(()),
                    lost = loses(&mut leadership, number) => {
                        lost?;
                        retry.reset();
                        tracing::info!(term = number, %error, "this manager leads no more");
                    }
                    () = env.sleep(pause) => {
                        tracing::error!(term = number, %error, ?pause, "the leader term failed, and is built anew");
                    }
                }
            }
        }
    }
}

/// Runs one term, from winning it to its last part's end.
async fn hold<Fut>(
    leadership: &mut Leadership,
    number: u64,
    term: impl Fn(CancellationToken) -> Fut,
    stop: &CancellationToken,
) -> Result<End, RaftError>
where
    Fut: Future<Output = Result<(), PartError>>,
{
    let over = stop.child_token();
    let mut running = pin!(term(over.clone()));
    let ended = tokio::select! { biased; // losing comes first: what the term says then is a consequence
        lost = loses(leadership, number) => {
            over.cancel();
            let _ = running.await;
            lost?;
            return Ok(End::Over);
        }
        ended = &mut running => ended,
    };
    if stop.is_cancelled() || leadership.current() != (Role::Leader { term: number }) {
        return Ok(End::Over);
    }
    Ok(End::Failed(ended.err().unwrap_or_else(|| EndedEarly.into())))
}

/// Waits until this manager does not lead in that term any more.
async fn loses(leadership: &mut Leadership, number: u64) -> Result<(), RaftError> {
    while leadership.changed().await? == (Role::Leader { term: number }) {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use swarmkit_raft::{Begin, LogKey, MemoryDisk, NoMessenger, Raft, RaftConfig, RaftOptions, RaftProposer};
    use swarmkit_runtime::Crew;
    use swarmkit_store::Store;

    use super::*;

    /// A group of one, which leads soon.
    async fn raft(crew: &mut Crew, env: &Env) -> Raft {
        let proposer = RaftProposer::new();
        let store = Store::new(env.clone(), proposer.clone());
        let config = RaftConfig {
            disk: Arc::new(MemoryDisk::new()),
            keys: LogKey::generate(env).into(),
            env: env.clone(),
            options: RaftOptions::default(),
            node_id: "m".into(),
            addr: "m:1".into(),
            messenger: Arc::new(NoMessenger),
            begin: Begin::Bootstrap,
        };
        let (raft, parts) = Raft::start(config, &proposer, crew.stop()).await.unwrap();
        crew.spawn("raft", move |_| async move {
            let ended = parts.run().await;
            drop(store);
            ended
        });
        raft
    }

    /// Counts the terms, and how many of them run at the moment.
    #[derive(Clone, Default)]
    struct Terms {
        begun: Arc<AtomicU32>,
        running: Arc<AtomicU32>,
    }

    impl Terms {
        async fn run(self, stop: CancellationToken, failing: u32) -> Result<(), PartError> {
            let number = self.begun.fetch_add(1, Ordering::SeqCst);
            assert_eq!(self.running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
            if number >= failing {
                stop.cancelled().await;
                // What a term does to end takes its time, and is awaited.
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            self.running.fetch_sub(1, Ordering::SeqCst);
            // An end without an error, that nobody asked for, is a failure like others.
            if number == 0 { Ok(()) } else { Err("no memory".into()) }
        }

        async fn begun(&self, count: u32) {
            while self.begun.load(Ordering::SeqCst) < count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    async fn leading(failing: u32) -> (Terms, Raft, CancellationToken, Crew) {
        let env = swarmkit_testing::env();
        let mut raft_crew = Crew::under(&CancellationToken::new());
        let raft = raft(&mut raft_crew, &env).await;
        let (terms, stop) = (Terms::default(), CancellationToken::new());
        let (counted, leadership) = (terms.clone(), raft.leadership());
        raft_crew.spawn("leadership", {
            let stop = stop.clone();
            move |_| run(leadership, env, move |stop| counted.clone().run(stop, failing), stop)
        });
        (terms, raft, stop, raft_crew)
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_ends_by_itself_is_built_anew_after_a_pause_that_grows() {
        let begin = Instant::now();
        let (terms, _raft, stop, crew) = leading(5).await;
        terms.begun(6).await;
        let passed = begin.elapsed();
        assert!(passed >= RETRY.0 * 8, "five pauses that double: {passed:?}");
        stop.cancel();
        crew.finish().await.unwrap();
        assert_eq!(terms.begun.load(Ordering::SeqCst), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_awaits_the_term_and_does_not_wait_for_a_pause() {
        let (terms, _raft, stop, crew) = leading(0).await;
        terms.begun(1).await;
        let begin = Instant::now();
        stop.cancel();
        crew.finish().await.unwrap();
        assert_eq!(terms.running.load(Ordering::SeqCst), 0);
        assert!((1..2).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());

        let (terms, _raft, stop, crew) = leading(u32::MAX).await;
        terms.begun(8).await;
        let begin = Instant::now();
        stop.cancel();
        crew.finish().await.unwrap();
        assert!(begin.elapsed() < RETRY.1 / 2, "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_raft_ends_the_term_and_is_told() {
        let (terms, _raft, _stop, crew) = leading(0).await;
        terms.begun(1).await;
        crew.stop().cancel();
        let ends = crew.join().await;
        assert_eq!(terms.running.load(Ordering::SeqCst), 0);
        let told = ends.into_iter().find(|end| end.part == "leadership").unwrap();
        assert!(told.result.is_err(), "raft has ended and nobody said so");
    }
}
