//! A question and its answer. Both may be lost, late, or come twice, and any two may overtake each other.

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use swarmkit_api::NodeId;
use swarmkit_raft::{Answer, Destination, ReceiveError, Receiver, SendError};
use tokio::sync::oneshot;

use super::{End, Network, SimMessenger};
use crate::oracle::Oracle;

/// A kind of question: its name, who answers it, and who is told of the answer beside the one who asked.
#[derive(Clone, Copy)]
pub(super) struct Kind<Q, A> {
    pub(super) name: &'static str,
    pub(super) answer: fn(Receiver, NodeId, Q) -> BoxFuture<'static, Result<A, ReceiveError>>,
    /// Is given the raft id of the one who answers.
    pub(super) witness: fn(&Oracle, u64, &A),
}

/// One question on its way.
struct Asked<Q, A> {
    network: Network,
    from: NodeId,
    to: Destination,
    kind: Kind<Q, A>,
    bytes: Vec<u8>,
    /// Taken by the first answer.
    back: Mutex<Option<oneshot::Sender<Result<A, SendError>>>>,
}

impl SimMessenger {
    /// Asks, and waits for the first answer.
    pub(super) fn call<Q, A>(&self, to: &Destination, kind: Kind<Q, A>, question: &Q, within: Duration) -> Answer<A>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let (this, to, bytes) = (self.clone(), to.clone(), question.encode_to_vec());
        Box::pin(async move {
            if this.life.is_cancelled() {
                return Err(SendError::Unreachable("this machine has no power".to_owned()));
            }
            let (back, answer) = oneshot::channel();
            let (network, from) = (this.network.clone(), this.me.clone());
            let copies = network.copies(&from, &to.node_id);
            if copies.is_empty() {
                network.note(&from, &to.node_id, format_args!("{} is lost", kind.name));
            }
            let asked = Arc::new(Asked { network, from, to, kind, bytes, back: Mutex::new(Some(back)) });
            for delay in copies {
                drop(this.network.0.spawner.spawn("question", asked.clone().travel(delay)));
            }
            // Held until then, so that a question that was lost is not told from one that takes long.
            let answer = tokio::time::timeout(within, answer).await;
            drop(asked);
            match answer {
                Ok(Ok(answer)) => answer,
                _ => Err(SendError::Unreachable("no answer in time".to_owned())),
            }
        })
    }
}

impl<Q, A> Asked<Q, A>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    /// To the other side after `delay`, and back.
    async fn travel(self: Arc<Self>, delay: Duration) {
        tokio::time::sleep(delay).await;
        let (network, from, to) = (&self.network, &self.from, &self.to.node_id);
        if network.is_cut(from, to) {
            return;
        }
        network.note(from, to, format_args!("{} {}", self.kind.name, self.bytes.len()));
        let Some(end) = network.end(to) else {
            self.reply(Err(SendError::Unreachable(format!("{to} does not run"))));
            return;
        };
        let answered = self.clone().work(end).await;
        let Some(answered) = answered else { return };
        let bytes = answered.map(|answer| answer.encode_to_vec());
        for delay in network.copies(to, from) {
            tokio::time::sleep(delay).await;
            if network.is_cut(to, from) {
                return;
            }
            network.note(to, from, format_args!("{} answered", self.kind.name));
            self.reply(
                bytes
                    .clone()
                    .and_then(|bytes| A::decode(bytes.as_slice()).map_err(|error| SendError::Lost(error.to_string()))),
            );
        }
    }

    /// Lets the other side answer, in its own crew. Nothing if it dies meanwhile.
    async fn work(self: Arc<Self>, end: End) -> Option<Result<A, SendError>> {
        let Ok(question) = Q::decode(self.bytes.as_slice()) else {
            return Some(Err(SendError::Lost("it cannot be read".to_owned())));
        };
        let answering = (self.kind.answer)(end.receiver, self.from.clone(), question);
        let answered = end.spawner.spawn("answer", answering).await.ok().flatten()?;
        if end.life.is_cancelled() {
            return None;
        }
        if let Ok(answer) = &answered {
            (self.kind.witness)(&self.network.0.oracle, self.to.raft_id, answer);
        }
        Some(answered.map_err(|error| SendError::Unreachable(error.to_string())))
    }

    fn reply(&self, answer: Result<A, SendError>) {
        if let Some(back) = self.back.lock().take() {
            // Who asked may have given up.
            let _ = back.send(answer);
        }
    }
}
