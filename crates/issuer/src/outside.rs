//! Requests that an authority outside of the cluster is asked to sign. They are under way beside the loop, not in it: an
//! authority that is slow holds up nobody else.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use swarmkit_api::{NodeId, wire};
use swarmkit_ca::{Authorities, ExternalCa, ExternalCaError, RootCa, SigningOrder};
use swarmkit_runtime::Env;

use crate::sign::Signed;

/// How many requests are under way at once. Each is a connection of its own, and an authority that signs on one core is kept
/// busy by a few.
pub(crate) const UNDER_WAY_MAX: usize = 16;

/// A request that somebody outside is to sign.
pub(crate) struct Question {
    pub(crate) node: NodeId,
    pub(crate) request: Bytes,
    pub(crate) order: SigningOrder,
    pub(crate) authorities: Authorities,
    /// What the answer must chain to, with what follows every leaf.
    pub(crate) root: RootCa,
    /// What the store said of that root when the question was asked.
    pub(crate) of: Arc<wire::RootCa>,
}

/// What became of a question.
pub(crate) struct Answered {
    pub(crate) node: NodeId,
    pub(crate) of: Arc<wire::RootCa>,
    /// The answer to the request, or why there is none yet.
    pub(crate) outcome: Result<Signed, ExternalCaError>,
}

/// The questions that are under way. Dropping it drops them.
pub(crate) struct Outside {
    env: Env,
    external: Arc<dyn ExternalCa>,
    nodes: BTreeSet<NodeId>,
    questions: FuturesUnordered<BoxFuture<'static, Answered>>,
}

impl Question {
    async fn ask(self, external: Arc<dyn ExternalCa>, env: Env) -> Answered {
        let Self { node, request, order, authorities, root, of } = self;
        let signed = external.sign(&authorities, &order).await;
        let accepted = signed.and_then(|answer| order.accept(&answer, &root, env.now()));
        let outcome = match accepted {
            Ok(chain) => Ok(Signed::new(node.clone(), request, Ok(chain))),
            Err(error) if error.is_recoverable() => Err(error),
            Err(error) => Ok(Signed::new(node.clone(), request, Err(error.to_string()))),
        };
        Answered { node, of, outcome }
    }
}

impl Outside {
    pub(crate) fn new(external: Arc<dyn ExternalCa>, env: Env) -> Self {
        Self { env, external, nodes: BTreeSet::new(), questions: FuturesUnordered::new() }
    }

    /// Whether a request of this node is under way. Another one of the same node waits for its answer.
    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }

    /// How many more may be asked: one at a time of an authority that has not answered, to see whether it is back.
    pub(crate) fn free(&self, answers: bool) -> usize {
        let places = if answers { UNDER_WAY_MAX } else { 1 };
        places.saturating_sub(self.nodes.len())
    }

    /// Asks. Nothing happens before [`Outside::next`] is awaited.
    pub(crate) fn ask(&mut self, question: Question) {
        self.nodes.insert(question.node.clone());
        self.questions.push(Box::pin(question.ask(self.external.clone(), self.env.clone())));
    }

    /// Waits for the next answer: for ever, while nothing is under way.
    pub(crate) async fn next(&mut self) -> Answered {
        match self.questions.next().await {
            Some(answered) => {
                self.nodes.remove(&answered.node);
                answered
            }
            None => std::future::pending().await,
        }
    }

    /// Forgets what is under way: it would be for a root, or of an authority, that is not the cluster's any more.
    pub(crate) fn forget(&mut self) {
        self.nodes.clear();
        self.questions.clear();
    }
}
