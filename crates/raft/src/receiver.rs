//! The receiving side: messages of other members, and the answers to them.

use std::{fmt, future::Future, sync::Arc};

use futures_util::{StreamExt as _, stream::BoxStream};
use openraft::{
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult, TransferLeaderError,
        TransferLeaderRequest, VoteRequest, VoteResponse,
    },
    storage::Snapshot,
};
use openraft_rt::WatchReceiver as _;
use parking_lot::Mutex;
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};
use swarmkit_runtime::Spawner;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use wire::{append_response::Outcome, install_snapshot_request::Part, transfer_leader_response::Refusal};

use crate::{
    codec::{Malformed, entry_from_wire, id_from_wire, id_to_wire, meta_from_wire, vote_from_wire, vote_to_wire},
    hearing::Hearing,
    log::LogError,
    machine::Machine,
    options::RaftId,
    snapshot::{Shelf, SnapshotFile},
    types::{LogId, Types, follow_on},
};

/// How many answers of a stream may wait for a slow network.
const ANSWERS: usize = 64;

/// A message was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// It says nothing that can be understood.
    #[error("{0}")]
    Malformed(String),
    /// It is meant for another member.
    #[error("the message is for member {to}, this is {me}")]
    NotForUs {
        /// For whom it is.
        to: String,
        /// Who got it.
        me: String,
    },
    /// Its sender is not the node that runs the member which it claims to be.
    #[error("node {node} does not run member {from}")]
    Impostor {
        /// The node that sent it.
        node: NodeId,
        /// The member it claims to be.
        from: String,
    },
    /// This member has ended.
    #[error("raft: failed to process the request: node is stopped")]
    Stopped,
    /// The disk failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<Malformed> for ReceiveError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error.to_string())
    }
}

type Received<T> = Result<T, ReceiveError>;

/// Takes the messages that other members send. Clones share the member.
///
/// Every call names the node that sent the message, as its certificate proves it. The work goes on if the caller gives
/// up waiting.
#[derive(Clone)]
pub struct Receiver(Arc<Inner>);

struct Inner {
    me: u64,
    raft: openraft::Raft<Types, Machine>,
    shelf: Shelf,
    hearing: Hearing,
    /// Messages are worked on by the member's own crew, whoever waits for the answer.
    spawner: Spawner,
}

impl Receiver {
    pub(crate) fn new(
        me: u64,
        raft: openraft::Raft<Types, Machine>,
        shelf: Shelf,
        hearing: Hearing,
        spawner: Spawner,
    ) -> Self {
        Self(Arc::new(Inner { me, raft, shelf, hearing, spawner }))
    }

    /// Takes entries, one request after the other. Answers come in the same order; a refusal or an error is the last.
    pub fn append_stream(
        &self,
        sender: &NodeId,
        requests: BoxStream<'static, wire::AppendRequest>,
    ) -> BoxStream<'static, Received<wire::AppendResponse>> {
        let (answers, stream) = mpsc::channel(ANSWERS);
        let (this, sender) = (self.clone(), sender.clone());
        // The leader keeps a stream open for as long as it leads, so it must not hold up a member that stops.
        let requests = requests.take_until(self.0.spawner.stop().clone().cancelled_owned());
        self.detached("append stream", async move {
            // A request that cannot be taken ends the stream; its fault follows the answers to those before it.
            let fault = Arc::new(Mutex::new(None));
            let requests = {
                let (this, fault) = (this.clone(), fault.clone());
                requests.scan((), move |(), request| {
                    let taken = this.0.append_request(&sender, request);
                    std::future::ready(taken.map_err(|error| *fault.lock() = Some(error)).ok())
                })
            };
            let mut results = Box::pin(this.0.raft.stream_append(requests));
            while let Some(result) = results.next().await {
                let answer = result.map(stream_outcome).map_err(|_| ReceiveError::Stopped);
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
            let fault = fault.lock().take();
            if let Some(error) = fault {
                // Nobody listens any more if this fails.
                let _ = answers.send(Err(error)).await;
            }
        });
        ReceiverStream::new(stream).boxed()
    }

    /// Takes entries, or a sign of life.
    ///
    /// # Errors
    ///
    /// The message cannot be taken, or this member has ended.
    pub async fn append(&self, sender: &NodeId, request: wire::AppendRequest) -> Received<wire::AppendResponse> {
        let request = self.0.append_request(sender, request)?;
        let answer = self.working(async move |inner| inner.raft.append_entries(request).await).await?;
        Ok(match answer.map_err(|_| ReceiveError::Stopped)? {
            AppendEntriesResponse::Success => outcome(Outcome::Accepted(wire::Accepted { matching: None })),
            AppendEntriesResponse::PartialSuccess(matching) => {
                outcome(Outcome::PartlyAccepted(wire::Accepted { matching: matching.as_ref().map(id_to_wire) }))
            }
            AppendEntriesResponse::Conflict => outcome(Outcome::Conflict(wire::Conflict { expected: None })),
            AppendEntriesResponse::HigherVote(vote) => outcome(Outcome::HigherVote(vote_to_wire(&vote))),
        })
    }

    /// Takes a request for a vote. A vote that is granted is durable when it is answered.
    ///
    /// # Errors
    ///
    /// The message cannot be taken, or this member has ended.
    pub async fn vote(&self, sender: &NodeId, request: wire::VoteRequest) -> Received<wire::VoteResponse> {
        let request = self.0.vote_request(sender, &request)?;
        let answer = self.working(async move |inner| inner.raft.vote(request).await).await?;
        Ok(vote_answer(&answer.map_err(|_| ReceiveError::Stopped)?))
    }

    /// Takes the question whether a vote would be granted.
    ///
    /// # Errors
    ///
    /// The message cannot be taken, or this member has ended.
    pub async fn pre_vote(&self, sender: &NodeId, request: wire::VoteRequest) -> Received<wire::VoteResponse> {
        let request = self.0.vote_request(sender, &request)?;
        let answer = self.working(async move |inner| inner.raft.pre_vote(request).await).await?;
        Ok(vote_answer(&answer.map_err(|_| ReceiveError::Stopped)?))
    }

    /// Takes the announcement of who is to lead next.
    ///
    /// # Errors
    ///
    /// The message cannot be taken, or this member has ended.
    pub async fn transfer_leader(
        &self,
        sender: &NodeId,
        request: wire::TransferLeaderRequest,
    ) -> Received<wire::TransferLeaderResponse> {
        self.0.check(sender, request.route.as_ref())?;
        let vote = vote_from_wire(request.vote.as_ref().ok_or(Malformed("vote"))?);
        let request = TransferLeaderRequest::new(vote, request.successor, maybe_id(request.last.as_ref()));
        let answer = self.working(async move |inner| inner.raft.handle_transfer_leader(request).await).await?;
        let refusal = match answer.map_err(|_| ReceiveError::Stopped)? {
            Ok(()) => None,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => Some(Refusal::VoteChanged(vote_to_wire(&actual))),
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
                Some(Refusal::LogNotFlushed(wire::LogNotFlushed {
                    expected: expected.as_ref().map(id_to_wire),
                    actual: actual.as_ref().map(id_to_wire),
                }))
            }
        };
        Ok(wire::TransferLeaderResponse { refusal })
    }

    /// Takes a snapshot, and answers once it is installed or refused.
    ///
    /// # Errors
    ///
    /// The snapshot is not whole, cannot be stored, or this member has ended.
    pub async fn install_snapshot(
        &self,
        sender: &NodeId,
        mut parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Received<wire::InstallSnapshotResponse> {
        let Some(wire::InstallSnapshotRequest { part: Some(Part::Offer(offer)) }) = parts.next().await else {
            return Err(Malformed("snapshot: the offer must come first").into());
        };
        self.0.check(sender, offer.route.as_ref())?;
        let vote = vote_from_wire(offer.vote.as_ref().ok_or(Malformed("vote"))?);
        let snapshot = self.0.store_snapshot(offer, parts).await?;
        let snapshot = Snapshot { meta: snapshot.meta.clone(), snapshot };
        let answer = self.working(async move |inner| inner.raft.install_full_snapshot(vote, snapshot).await).await?;
        let answer = answer.map_err(|_| ReceiveError::Stopped)?;
        Ok(wire::InstallSnapshotResponse { vote: Some(vote_to_wire(&answer.vote)) })
    }

    /// Works on a message in the member's own crew.
    async fn working<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Received<T> {
        let work = self.0.spawner.spawn("message", work(self.0.clone()));
        work.await.ok().flatten().ok_or(ReceiveError::Stopped)
    }

    fn detached(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawner.spawn(name, work));
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Receiver({})", RaftId(self.0.me))
    }
}

impl Inner {
    /// Whether a message is for us, and its sender the node that runs the member which it claims to be. A member that we
    /// do not know yet may be the leader who is about to tell us about itself.
    fn check(&self, sender: &NodeId, route: Option<&wire::Route>) -> Received<()> {
        let route = route.ok_or(Malformed("route"))?;
        if route.to != self.me {
            return Err(ReceiveError::NotForUs { to: RaftId(route.to).to_string(), me: RaftId(self.me).to_string() });
        }
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        match metrics.membership_config.get_node(&route.from) {
            Some(peer) if peer.node_id != sender.as_str() => {
                Err(ReceiveError::Impostor { node: sender.clone(), from: RaftId(route.from).to_string() })
            }
            _ => Ok(()),
        }
    }

    fn knows(&self, raft_id: u64) -> bool {
        self.raft.server_metrics().borrow_watched().membership_config.get_node(&raft_id).is_some()
    }

    fn append_request(&self, sender: &NodeId, request: wire::AppendRequest) -> Received<AppendEntriesRequest<Types>> {
        self.check(sender, request.route.as_ref())?;
        let prev_log_id = maybe_id(request.previous.as_ref());
        let entries: Result<Vec<_>, Malformed> = request.entries.into_iter().map(entry_from_wire).collect();
        let entries = entries?;
        // openraft takes it for granted. An empty log would begin with whatever entry comes first.
        if !follow_on(prev_log_id.as_ref(), &entries) {
            return Err(Malformed("entries: they must follow on each other").into());
        }
        let vote = vote_from_wire(request.vote.as_ref().ok_or(Malformed("vote"))?);
        // What an old leader says is no word of a leader.
        if vote >= self.raft.server_metrics().borrow_watched().vote {
            self.hearing.note();
        }
        Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit: maybe_id(request.committed.as_ref()) })
    }

    fn vote_request(&self, sender: &NodeId, request: &wire::VoteRequest) -> Received<VoteRequest<Types>> {
        self.check(sender, request.route.as_ref())?;
        let vote = vote_from_wire(request.vote.as_ref().ok_or(Malformed("vote"))?);
        let mut taken = VoteRequest::new(vote, maybe_id(request.last.as_ref()));
        // Only a member can have been asked by the leader to stand. Whoever we do not know (yet) waits for the end of a
        // lease like everybody else, so it can depose nobody.
        taken.leadership_transfer =
            request.leadership_transfer && request.route.is_some_and(|route| self.knows(route.from));
        Ok(taken)
    }

    /// Writes what arrives to the disk, and checks that it is all there.
    async fn store_snapshot(
        &self,
        offer: wire::SnapshotOffer,
        mut parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Received<SnapshotFile> {
        let meta = meta_from_wire(offer.meta.ok_or(Malformed("snapshot"))?)?;
        let mut writer = self.shelf.begin(meta).await?;
        while let Some(part) = parts.next().await {
            let Some(Part::Chunk(chunk)) = part.part else {
                return Err(Malformed("snapshot: a chunk must follow").into());
            };
            writer.write(&chunk.data).await?;
        }
        let snapshot = writer.finish().await?;
        if (snapshot.size, snapshot.checksum) != (offer.size, offer.checksum) {
            return Err(Malformed("snapshot: it is not whole").into());
        }
        Ok(snapshot)
    }
}

fn stream_outcome(result: StreamAppendResult<Types>) -> wire::AppendResponse {
    outcome(match result {
        Ok(matching) => Outcome::Accepted(wire::Accepted { matching: matching.as_ref().map(id_to_wire) }),
        Err(StreamAppendError::Conflict(expected)) => {
            Outcome::Conflict(wire::Conflict { expected: Some(id_to_wire(&expected)) })
        }
        Err(StreamAppendError::HigherVote(vote)) => Outcome::HigherVote(vote_to_wire(&vote)),
    })
}

fn outcome(outcome: Outcome) -> wire::AppendResponse {
    wire::AppendResponse { outcome: Some(outcome) }
}

fn vote_answer(answer: &VoteResponse<Types>) -> wire::VoteResponse {
    wire::VoteResponse {
        vote: Some(vote_to_wire(&answer.vote)),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(id_to_wire),
    }
}

fn maybe_id(id: Option<&wire::LogId>) -> Option<LogId> {
    id.map(id_from_wire)
}
