//! Members of one process, without a network between them.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::BoxStream};
use parking_lot::Mutex;
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};

use super::{Answer, Answers, Destination, Messenger, SendError};
use crate::receiver::{ReceiveError, Receiver};

/// Hands messages to members of the same process. Clones share the members.
///
/// For tests and simulations: each node takes its own from the [`Exchange`], to which its receiver is added once it runs.
#[derive(Clone, Debug)]
pub struct DirectMessenger {
    me: NodeId,
    exchange: Exchange,
}

/// Where members of one process find each other. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Exchange(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<NodeId, Receiver>,
    /// Nodes that nobody reaches, and that reach nobody.
    cut_off: Vec<NodeId>,
}

impl Exchange {
    /// The messenger of a node.
    #[must_use]
    pub fn messenger(&self, me: NodeId) -> DirectMessenger {
        DirectMessenger { me, exchange: self.clone() }
    }

    /// Makes a node reachable, in place of an earlier incarnation.
    pub fn add(&self, node: NodeId, receiver: Receiver) {
        self.0.lock().members.insert(node, receiver);
    }

    /// Takes a node away.
    pub fn remove(&self, node: &NodeId) {
        self.0.lock().members.remove(node);
    }

    /// Cuts a node off, or connects it again.
    pub fn cut_off(&self, node: &NodeId, cut: bool) {
        let mut state = self.0.lock();
        state.cut_off.retain(|other| other != node);
        if cut {
            state.cut_off.push(node.clone());
        }
    }

    fn find(&self, from: &NodeId, to: &NodeId) -> Result<Receiver, SendError> {
        let state = self.0.lock();
        if state.cut_off.contains(from) || state.cut_off.contains(to) {
            return Err(SendError::Unreachable(format!("no way from {from} to {to}")));
        }
        state.members.get(to).cloned().ok_or_else(|| SendError::Unreachable(format!("{to} does not run")))
    }
}

impl DirectMessenger {
    fn call<T: Send + 'static, F: Future<Output = Result<T, ReceiveError>> + Send + 'static>(
        &self,
        to: &Destination,
        within: Duration,
        call: impl FnOnce(Receiver, NodeId) -> F + Send + 'static,
    ) -> Answer<T> {
        let (this, to) = (self.clone(), to.node_id.clone());
        Box::pin(async move {
            let receiver = this.exchange.find(&this.me, &to)?;
            let answer = tokio::time::timeout(within, call(receiver, this.me.clone())).await;
            // The way back may be cut by now.
            this.exchange.find(&to, &this.me)?;
            answer.map_err(|_| SendError::Unreachable("no answer in time".to_owned()))?.map_err(lost)
        })
    }
}

fn lost(error: ReceiveError) -> SendError {
    match error {
        ReceiveError::Stopped => SendError::Unreachable(error.to_string()),
        other => SendError::Lost(other.to_string()),
    }
}

impl Messenger for DirectMessenger {
    fn append_stream(
        &self,
        to: &Destination,
        requests: BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>> {
        let (this, to) = (self.clone(), to.node_id.clone());
        Box::pin(async move {
            let receiver = this.exchange.find(&this.me, &to)?;
            let way = (this.exchange.clone(), this.me.clone(), to.clone());
            let requests = requests.take_while(move |_| {
                let (exchange, from, to) = &way;
                std::future::ready(exchange.find(from, to).is_ok())
            });
            let answers = receiver.append_stream(&this.me, requests.boxed()).map(move |answer| {
                this.exchange.find(&to, &this.me)?;
                answer.map_err(lost)
            });
            Ok(answers.boxed())
        })
    }

    fn append(&self, to: &Destination, request: wire::AppendRequest, within: Duration) -> Answer<wire::AppendResponse> {
        self.call(to, within, async move |receiver, me| receiver.append(&me, request).await)
    }

    fn vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, within, async move |receiver, me| receiver.vote(&me, request).await)
    }

    fn pre_vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, within, async move |receiver, me| receiver.pre_vote(&me, request).await)
    }

    fn transfer_leader(
        &self,
        to: &Destination,
        request: wire::TransferLeaderRequest,
        within: Duration,
    ) -> Answer<wire::TransferLeaderResponse> {
        self.call(to, within, async move |receiver, me| receiver.transfer_leader(&me, request).await)
    }

    fn install_snapshot(
        &self,
        to: &Destination,
        parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        let way = (self.exchange.clone(), self.me.clone(), to.node_id.clone());
        let parts = parts.take_while(move |_| {
            let (exchange, from, to) = &way;
            std::future::ready(exchange.find(from, to).is_ok())
        });
        self.call(to, Duration::MAX, async move |receiver, me| receiver.install_snapshot(&me, parts.boxed()).await)
    }
}
