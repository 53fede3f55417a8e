//! Whether what this node answers as the leader is as new as the cluster.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use http::Response;
use tokio::time::timeout;
use tonic::{Code, Status, body::Body};

/// How long the proof may take: a round trip to a quorum. A leader that is cut off gets no answer.
const PROOF_LIMIT: Duration = Duration::from_secs(1);

const NOT_PROVEN: &str = "this manager cannot prove that it still leads";

/// The proof that this node still leads; without one, it is believed.
#[derive(Clone, Default)]
pub(super) struct Fresh(Option<Proof>);

type Proof = Arc<dyn Fn() -> BoxFuture<'static, bool> + Send + Sync>;

impl Fresh {
    pub(super) fn by<F>(proof: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self(Some(Arc::new(move || Box::pin(proof()))))
    }

    /// Waits until what this node has is as new as the cluster was when this was called.
    pub(super) async fn is_proven(&self) -> bool {
        match &self.0 {
            None => true,
            Some(proof) => timeout(PROOF_LIMIT, proof()).await.unwrap_or(false),
        }
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
