//! What members are given to reach each other: the production seam, carried by the simulated network.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};
use swarmkit_raft::{Answer, Answers, Destination, Messenger, ReceiveError, SendError};
use swarmkit_runtime::Spawner;
use tokio_util::sync::CancellationToken;

use super::{
    End, Network,
    call::Kind,
    stream::{Direction, InUse, handshake},
};

/// Carries the messages of one life of a node.
#[derive(Clone, Debug)]
pub struct SimMessenger {
    pub(super) network: Network,
    pub(super) me: NodeId,
    pub(super) life: CancellationToken,
}

/// Both directions of a connection that was made.
struct Connection {
    end: End,
    there: Direction,
    back: Direction,
    in_use: Arc<InUse>,
}

impl SimMessenger {
    async fn connect(&self, to: &NodeId, name: &'static str) -> Result<Connection, SendError> {
        let broken = self.life.child_token();
        let in_use = InUse::new(&broken);
        let (network, me) = (self.network.clone(), self.me.clone());
        let there = Direction { network, from: me.clone(), to: to.clone(), name, broken };
        let back = Direction { from: to.clone(), to: me, ..there.clone() };
        tokio::time::sleep(handshake(&self.network)).await;
        there.open().await;
        back.open().await;
        let end = self.network.end(to).ok_or_else(|| SendError::Unreachable(format!("{to} does not run")))?;
        let (broken, life) = (there.broken.clone(), end.life.clone());
        // When the other side dies, the connection breaks.
        drop(self.network.0.spawner.spawn("reset", async move {
            tokio::select! { biased; // a connection that has ended needs no watch
                () = broken.cancelled() => {}
                () = life.cancelled() => broken.cancel(),
            }
        }));
        Ok(Connection { end, there, back, in_use })
    }
}

/// Nobody but the one who asked is interested in the answer.
fn nobody<A>(_: &crate::oracle::Oracle, _: u64, _: &A) {}

const APPEND: Kind<wire::AppendRequest, wire::AppendResponse> = Kind {
    name: "append",
    answer: |receiver, from, question| async move { receiver.append(&from, question).await }.boxed(),
    witness: nobody,
};
const VOTE: Kind<wire::VoteRequest, wire::VoteResponse> = Kind {
    name: "vote",
    answer: |receiver, from, question| async move { receiver.vote(&from, question).await }.boxed(),
    witness: |oracle, voter, answer| oracle.vote(voter, answer),
};
const PRE_VOTE: Kind<wire::VoteRequest, wire::VoteResponse> = Kind {
    name: "pre-vote",
    answer: |receiver, from, question| async move { receiver.pre_vote(&from, question).await }.boxed(),
    witness: nobody,
};
const TRANSFER: Kind<wire::TransferLeaderRequest, wire::TransferLeaderResponse> = Kind {
    name: "transfer",
    answer: |receiver, from, question| async move { receiver.transfer_leader(&from, question).await }.boxed(),
    witness: nobody,
};

impl Messenger for SimMessenger {
    fn append_stream(
        &self,
        to: &Destination,
        requests: BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>> {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let Connection { end, there, back, in_use } = this.connect(&to.node_id, "entries").await?;
            let oracle = this.network.0.oracle.clone();
            let life = this.life.clone();
            let requests = requests.take_while(move |_| std::future::ready(!life.is_cancelled()));
            let requests = requests.inspect(move |request| oracle.append(request)).boxed();
            let arriving = there.carry(requests, &own_spawner()?);
            let arriving = arriving.take_while(|request| std::future::ready(request.is_ok()));
            let arriving = arriving.filter_map(|request| std::future::ready(request.ok())).boxed();
            let (receiver, me, spawner) = (end.receiver, this.me.clone(), end.spawner.clone());
            // The other side begins in its own crew.
            let answers = end.spawner.spawn("stream", async move { receiver.append_stream(&me, arriving) });
            let answers = answers.await.ok().flatten().ok_or_else(|| SendError::Unreachable("it died".to_owned()))?;
            let answers = answers.take_while(|answer| std::future::ready(answer.is_ok()));
            let answers = answers.filter_map(|answer| std::future::ready(answer.ok())).boxed();
            let answers = back.carry(answers, &spawner);
            Ok(answers
                .map(move |answer| {
                    let _ = &in_use;
                    answer
                })
                .boxed())
        })
    }

    fn append(&self, to: &Destination, request: wire::AppendRequest, within: Duration) -> Answer<wire::AppendResponse> {
        if !self.life.is_cancelled() {
            self.network.0.oracle.append(&request);
        }
        self.call(to, APPEND, &request, within)
    }

    fn vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, VOTE, &request, within)
    }

    fn pre_vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse> {
        self.call(to, PRE_VOTE, &request, within)
    }

    fn transfer_leader(
        &self,
        to: &Destination,
        request: wire::TransferLeaderRequest,
        within: Duration,
    ) -> Answer<wire::TransferLeaderResponse> {
        self.call(to, TRANSFER, &request, within)
    }

    fn install_snapshot(
        &self,
        to: &Destination,
        parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        let (this, to) = (self.clone(), to.clone());
        Box::pin(async move {
            let Connection { end, there, back, in_use } = this.connect(&to.node_id, "snapshot").await?;
            let arriving = there.carry(parts, &own_spawner()?);
            let arriving = arriving.take_while(|part| std::future::ready(part.is_ok()));
            let arriving = arriving.filter_map(|part| std::future::ready(part.ok())).boxed();
            let (receiver, me) = (end.receiver, this.me.clone());
            let installing =
                end.spawner.spawn("install", async move { receiver.install_snapshot(&me, arriving).await });
            let answer = tokio::select! { biased; // an answer on a broken connection does not arrive
                () = back.broken.cancelled() => return Err(SendError::Unreachable("the connection broke".to_owned())),
                answer = installing => answer.ok().flatten(),
            };
            let answer = answer.ok_or_else(|| SendError::Unreachable("it died".to_owned()))?;
            tokio::time::sleep(handshake(&this.network)).await;
            back.open().await;
            drop(in_use);
            answer.map_err(|error: ReceiveError| SendError::Unreachable(error.to_string()))
        })
    }
}

/// The crew of the member that sends.
fn own_spawner() -> Result<Spawner, SendError> {
    Spawner::current().ok_or_else(|| SendError::Unreachable("nobody sends this".to_owned()))
}
