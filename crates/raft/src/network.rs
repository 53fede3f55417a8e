//! The sending side as openraft sees it: its requests as messages, and the answers back.

mod offers;
mod patience;
mod snapshot;

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Either, select},
    stream::{BoxStream, Stream},
};
use openraft::{
    RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
        TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
    },
    type_config::alias::SnapshotOf,
};
use parking_lot::Mutex;
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};
use tokio::sync::Notify;
use wire::{append_response::Outcome as Appended, transfer_leader_response::Refusal};

use self::{
    offers::{Offers, outdated},
    patience::{Sent, impatient, late, unless_stuck},
    snapshot::snapshot_parts,
};
use crate::{
    codec::{Malformed, entry_to_wire, id_from_wire, id_to_wire, vote_from_wire, vote_to_wire},
    messenger::{Destination, Lane, Messenger, SendError},
    snapshot::SnapshotFile,
    types::{LogId, Peer, StoredMembership, Types, Vote},
};

/// Where the members are now. Clones share it.
///
/// openraft makes a sender once and keeps it for as long as a leader leads, with the address of that time. A member that
/// moves meanwhile must be reached nevertheless.
#[derive(Clone, Default)]
pub(crate) struct AddressBook(Arc<Mutex<BTreeMap<u64, String>>>);

impl AddressBook {
    /// Takes over what the membership says.
    pub(crate) fn follow(&self, membership: &StoredMembership) {
        *self.0.lock() = membership.nodes().map(|(&id, peer)| (id, peer.addr.clone())).collect();
    }
}

/// Makes a sender for each member and lane.
pub(crate) struct Network {
    pub(crate) me: u64,
    pub(crate) messenger: Arc<dyn Messenger>,
    pub(crate) addresses: AddressBook,
    /// How long an offer of entries may stay without an answer. Longer than a heartbeat, since the answer waits for the
    /// disk of the other side.
    pub(crate) patience: Duration,
}

/// Sends to one member, in one lane.
pub(crate) struct Sender {
    route: wire::Route,
    to: Destination,
    messenger: Arc<dyn Messenger>,
    addresses: AddressBook,
    patience: Duration,
}

type Outcome<T> = Result<T, RPCError<Types>>;

impl Network {
    fn sender(&self, target: u64, peer: &Peer, lane: Lane) -> Sender {
        let node_id = NodeId::from(peer.node_id.as_str());
        Sender {
            route: wire::Route { from: self.me, to: target },
            to: Destination { raft_id: target, node_id, addr: peer.addr.clone(), lane },
            messenger: self.messenger.clone(),
            addresses: self.addresses.clone(),
            patience: self.patience,
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Sender;

    async fn new_client(&mut self, target: u64, peer: &Peer) -> Sender {
        self.sender(target, peer, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, peer: &Peer) -> Sender {
        self.sender(target, peer, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, peer: &Peer) -> Sender {
        self.sender(target, peer, Lane::Snapshot)
    }
}

impl RaftNetworkV2<Types> for Sender {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Outcome<AppendEntriesResponse<Types>> {
        let request = append_to_wire(self.route, &request);
        let answer = self.messenger.append(&self.to(), request, option.soft_ttl()).await.map_err(failed)?;
        Ok(match answer.outcome.ok_or(Malformed("answer")).map_err(malformed)? {
            Appended::Accepted(_) => AppendEntriesResponse::Success,
            Appended::PartlyAccepted(part) => AppendEntriesResponse::PartialSuccess(maybe_id(part.matching)),
            Appended::Conflict(_) => AppendEntriesResponse::Conflict,
            Appended::HigherVote(vote) => AppendEntriesResponse::HigherVote(vote_from_wire(&vote)),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Outcome<BoxStream<'s, Outcome<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let (mut input, route) = (input, self.route);
        async move {
            if self.to.lane == Lane::Heartbeat {
                return self.heartbeat(input, option).await;
            }
            // openraft waits out its back-off where it is asked for the first request. Without asking, a member that
            // cannot be reached would be tried again at once, for ever.
            let Some(first) = input.next().await else { return Ok(futures_util::stream::empty().boxed()) };
            let offers = Offers::default();
            if !offers.admit(&first) {
                return Err(outdated());
            }
            let sent = Arc::new(Sent::default());
            let requests = {
                let (sent, offers) = (sent.clone(), offers.clone());
                let input = futures_util::stream::iter([first]).chain(input);
                let input = input.take_while(move |request| std::future::ready(offers.admit(request)));
                input.inspect(move |_| sent.one_more()).map(move |request| append_to_wire(route, &request)).boxed()
            };
            let opening = self.messenger.append_stream(&self.to(), requests);
            let opened = tokio::time::timeout(self.patience, opening).await.unwrap_or_else(|_| Err(late()));
            let answers = opened.map_err(failed)?;
            let answers = impatient(answers, sent, self.patience);
            let answers = answers.map(|answer| stream_answer(answer.map_err(failed)?, None));
            Ok(answers.chain(offers.end()).boxed())
        }
        .boxed()
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Outcome<VoteResponse<Types>> {
        let request = vote_request_to_wire(self.route, &request);
        let answer = self.messenger.vote(&self.to(), request, option.soft_ttl()).await.map_err(failed)?;
        vote_answer(&answer)
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> Outcome<VoteResponse<Types>> {
        let request = vote_request_to_wire(self.route, &request);
        let answer = self.messenger.pre_vote(&self.to(), request, option.soft_ttl()).await.map_err(failed)?;
        vote_answer(&answer)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let moved = Arc::new(Notify::new());
        let parts = {
            let moved = moved.clone();
            snapshot_parts(self.route, &vote, &snapshot.snapshot).inspect(move |_| moved.notify_one()).boxed()
        };
        let sending = self.messenger.install_snapshot(&self.to(), parts);
        let sending = unless_stuck(sending, &moved, option.soft_ttl());
        match select(Box::pin(cancel), Box::pin(sending)).await {
            Either::Left((closed, _)) => Err(closed.into()),
            Either::Right((answer, _)) => {
                let vote = answer.map_err(failed)?.vote.ok_or(Malformed("answer")).map_err(malformed)?;
                Ok(SnapshotResponse::new(vote_from_wire(&vote)))
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Outcome<TransferLeaderResponse<Types>> {
        let from = *request.from_leader();
        let request = wire::TransferLeaderRequest {
            route: Some(self.route),
            vote: Some(vote_to_wire(&from)),
            successor: *request.to_node_id(),
            last: request.last_log_id().map(id_to_wire),
        };
        let answer = self.messenger.transfer_leader(&self.to(), request, option.soft_ttl()).await.map_err(failed)?;
        Ok(match answer.refusal {
            None => Ok(()),
            Some(Refusal::VoteChanged(vote)) => {
                Err(TransferLeaderError::VoteChanged { expected: from, actual: vote_from_wire(&vote) })
            }
            Some(Refusal::LogNotFlushed(ids)) => Err(TransferLeaderError::LogNotFlushed {
                expected: maybe_id(ids.expected),
                actual: maybe_id(ids.actual),
            }),
        })
    }
}

impl Sender {
    /// Where the member is now.
    fn to(&self) -> Destination {
        let addr = self.addresses.0.lock().get(&self.to.raft_id).cloned();
        Destination { addr: addr.unwrap_or_else(|| self.to.addr.clone()), ..self.to.clone() }
    }

    /// A heartbeat is a stream of one; it goes as a call, which costs less than opening a stream.
    async fn heartbeat<'s, S>(
        &mut self,
        mut input: S,
        option: RPCOption,
    ) -> Outcome<BoxStream<'s, Outcome<StreamAppendResult<Types>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let mut answers = VecDeque::new();
        while let Some(request) = input.next().await {
            let expected = request.prev_log_id;
            let request = append_to_wire(self.route, &request);
            let answer = self.messenger.append(&self.to(), request, option.soft_ttl()).await.map_err(failed)?;
            let answer = stream_answer(answer, expected);
            let goes_on = matches!(answer, Ok(Ok(_)));
            answers.push_back(answer);
            if !goes_on {
                break;
            }
        }
        Ok(futures_util::stream::iter(answers).boxed())
    }
}

fn stream_answer(answer: wire::AppendResponse, offered: Option<LogId>) -> Outcome<StreamAppendResult<Types>> {
    Ok(match answer.outcome.ok_or(Malformed("answer")).map_err(malformed)? {
        Appended::Accepted(all) => Ok(maybe_id(all.matching).or(offered)),
        Appended::PartlyAccepted(part) => Ok(maybe_id(part.matching)),
        Appended::Conflict(conflict) => {
            let expected = maybe_id(conflict.expected).or(offered).ok_or(Malformed("conflict")).map_err(malformed)?;
            Err(StreamAppendError::Conflict(expected))
        }
        Appended::HigherVote(vote) => Err(StreamAppendError::HigherVote(vote_from_wire(&vote))),
    })
}

fn append_to_wire(route: wire::Route, request: &AppendEntriesRequest<Types>) -> wire::AppendRequest {
    wire::AppendRequest {
        route: Some(route),
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(id_to_wire),
        entries: request.entries.iter().map(entry_to_wire).collect(),
        committed: request.leader_commit.as_ref().map(id_to_wire),
    }
}

fn vote_request_to_wire(route: wire::Route, request: &VoteRequest<Types>) -> wire::VoteRequest {
    wire::VoteRequest {
        route: Some(route),
        vote: Some(vote_to_wire(&request.vote)),
        last: request.last_log_id.as_ref().map(id_to_wire),
        leadership_transfer: request.leadership_transfer,
    }
}

fn vote_answer(answer: &wire::VoteResponse) -> Outcome<VoteResponse<Types>> {
    let vote = answer.vote.as_ref().ok_or(Malformed("answer")).map_err(malformed)?;
    Ok(VoteResponse::new(vote_from_wire(vote), maybe_id(answer.last), answer.granted))
}

fn maybe_id(id: Option<wire::LogId>) -> Option<LogId> {
    id.as_ref().map(id_from_wire)
}

fn failed(error: SendError) -> RPCError<Types> {
    match error {
        SendError::Unreachable(_) => RPCError::Unreachable(Unreachable::new(&error)),
        SendError::Lost(_) => RPCError::Network(NetworkError::new(&error)),
    }
}

fn malformed(error: Malformed) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(&error))
}
