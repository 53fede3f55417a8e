//! Whether what this node answers as the leader is as new as the cluster.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::Response;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};

/// How long the proof may take: a round trip to a quorum, and perhaps the rest of the one before. A leader that is cut off
/// gets no answer.
const PROOF_LIMIT: Duration = Duration::from_secs(1);

const NOT_PROVEN: &str = "this manager cannot prove that it still leads";

/// The proof that this node still leads; without one, it is believed.
///
/// However many callers wait, there is one round trip at a time: those who come while it is under way share the next one.
#[derive(Clone, Default)]
pub(super) struct Fresh(Option<Arc<Rounds>>);

type Proof = Box<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

struct Rounds {
    proof: Proof,
    /// Held by the round that is under way.
    turn: tokio::sync::Mutex<()>,
    /// The one that has not begun. What it will prove holds for everybody who has come before it does.
    next: Mutex<Option<Shared<BoxFuture<'static, bool>>>>,
}

impl Fresh {
    pub(super) fn by<F>(proof: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        let proof: Proof = Box::new(move || Box::pin(proof()));
        Self(Some(Arc::new(Rounds { proof, turn: tokio::sync::Mutex::default(), next: Mutex::default() })))
    }

    /// Waits until what this node has is as new as the cluster was when this was called.
    pub(super) async fn is_proven(&self) -> bool {
        match &self.0 {
            None => true,
            Some(rounds) => timeout(PROOF_LIMIT, Rounds::next(rounds)).await.unwrap_or(false),
        }
    }
}

impl Rounds {
    /// The round that begins after this moment.
    fn next(self: &Arc<Self>) -> Shared<BoxFuture<'static, bool>> {
        let round = || {
            let rounds = self.clone();
            let round = async move {
                let _turn = rounds.turn.lock().await;
                rounds.next.lock().take();
                (rounds.proof)().await
            };
            round.boxed().shared()
        };
        self.next.lock().get_or_insert_with(round).clone()
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fresh").field(&self.0.is_some()).finish()
    }
}

pub(super) fn not_proven() -> Status {
    Status::unavailable(NOT_PROVEN)
}

/// Whether an answer is a refusal for what is there or not there, rather than for the state of this manager.
pub(super) fn is_refusal(answer: &Response<Body>) -> bool {
    let status = Status::from_header_map(answer.headers());
    status.is_some_and(|status| !matches!(status.code(), Code::Ok | Code::Unavailable))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Proofs that take a second's tenth each, and how many were begun.
    fn counted() -> (Fresh, Arc<AtomicU32>) {
        let begun = Arc::<AtomicU32>::default();
        let counter = begun.clone();
        let fresh = Fresh::by(move || {
            counter.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                true
            }
        });
        (fresh, begun)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_a_proof_is_under_way_shares_the_next_one() {
        let (fresh, begun) = counted();
        let first = fresh.is_proven();
        let others = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            futures_util::future::join_all((0..100).map(|_| fresh.is_proven())).await
        };
        let (first, others) = tokio::join!(first, others);
        assert!(first && others.iter().all(|proven| *proven));
        assert_eq!(begun.load(Ordering::SeqCst), 2, "what was begun before they came proves nothing to them");
        assert!(fresh.is_proven().await);
        assert_eq!(begun.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_gives_up_does_not_take_the_proof_of_the_others_with_it() {
        let (fresh, begun) = counted();
        let short = timeout(Duration::from_millis(10), fresh.is_proven());
        let (first, gave_up, long) = tokio::join!(biased; fresh.is_proven(), short, fresh.is_proven());
        assert!(first && gave_up.is_err() && long);
        assert!(timeout(Duration::from_millis(10), fresh.is_proven()).await.is_err());
        assert!(fresh.is_proven().await, "one that nobody waits for any more holds up nobody");
        assert_eq!(begun.load(Ordering::SeqCst), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_that_does_not_end_is_none() {
        let fresh = Fresh::by(std::future::pending);
        let both = tokio::join!(fresh.is_proven(), fresh.is_proven());
        assert_eq!(both, (false, false));
    }
}
