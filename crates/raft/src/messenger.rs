//! How members reach each other: the messages of `swarmkit.raft.v1`, and who carries them.

mod direct;
mod rpc;

use std::time::Duration;

use futures_util::{future::BoxFuture, stream::BoxStream};
use swarmkit_api::{NodeId, wire::swarmkit::raft::v1 as wire};

pub use direct::{DirectMessenger, Exchange};
pub use rpc::{LateReceiver, RaftService, RpcMessenger};

/// A member as the others reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Its raft id.
    pub raft_id: u64,
    /// The node that must be found there.
    pub node_id: NodeId,
    /// `host:port`.
    pub addr: String,
    /// What the messages are about.
    pub lane: Lane,
}

/// Messages of different lanes do not wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Entries and votes.
    Log,
    /// Signs of life.
    Heartbeat,
    /// Snapshots.
    Snapshot,
}

/// A message did not arrive, or no answer did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Nobody is there at the moment: wait a little before the next attempt.
    #[error("cannot reach the member: {0}")]
    Unreachable(String),
    /// The attempt failed; the next one may succeed.
    #[error("the message was lost: {0}")]
    Lost(String),
}

/// What a call of a [`Messenger`] resolves to.
pub type Answer<T> = BoxFuture<'static, Result<T, SendError>>;

/// The answers to a stream of requests, in their order.
pub type Answers<T> = BoxStream<'static, Result<T, SendError>>;

/// Carries messages to other members.
///
/// Obligations:
///
/// - The identity of the receiver is proved: a message reaches the node of its [`Destination`], or nobody.
/// - What cannot be delivered is an error, never an invented answer.
/// - A call ends within its time limit. What has streams ends when the connection does, or is given up by the caller.
/// - Answers of a stream come in the order of its requests, and an error is the last.
/// - To give up a call does not undo it.
pub trait Messenger: Send + Sync + 'static {
    /// Offers entries, one request after the other without waiting for answers. The caller watches how long they take.
    fn append_stream(
        &self,
        to: &Destination,
        requests: BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>>;

    /// Offers entries, or none as a sign of life.
    fn append(&self, to: &Destination, request: wire::AppendRequest, within: Duration) -> Answer<wire::AppendResponse>;

    /// Asks for a vote.
    fn vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse>;

    /// Asks whether a vote would be granted.
    fn pre_vote(&self, to: &Destination, request: wire::VoteRequest, within: Duration) -> Answer<wire::VoteResponse>;

    /// Announces who is to lead next.
    fn transfer_leader(
        &self,
        to: &Destination,
        request: wire::TransferLeaderRequest,
        within: Duration,
    ) -> Answer<wire::TransferLeaderResponse>;

    /// Sends a snapshot, and waits until it is installed. The caller watches how long it takes.
    fn install_snapshot(
        &self,
        to: &Destination,
        parts: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse>;
}

/// The messenger of a member that is alone: there is nobody to reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMessenger;

impl NoMessenger {
    fn answer<T: Send + 'static>() -> Answer<T> {
        Box::pin(std::future::ready(Err(SendError::Unreachable("this member has no network".to_owned()))))
    }
}

impl Messenger for NoMessenger {
    fn append_stream(
        &self,
        _: &Destination,
        _: BoxStream<'static, wire::AppendRequest>,
    ) -> Answer<Answers<wire::AppendResponse>> {
        Self::answer()
    }

    fn append(&self, _: &Destination, _: wire::AppendRequest, _: Duration) -> Answer<wire::AppendResponse> {
        Self::answer()
    }

    fn vote(&self, _: &Destination, _: wire::VoteRequest, _: Duration) -> Answer<wire::VoteResponse> {
        Self::answer()
    }

    fn pre_vote(&self, _: &Destination, _: wire::VoteRequest, _: Duration) -> Answer<wire::VoteResponse> {
        Self::answer()
    }

    fn transfer_leader(
        &self,
        _: &Destination,
        _: wire::TransferLeaderRequest,
        _: Duration,
    ) -> Answer<wire::TransferLeaderResponse> {
        Self::answer()
    }

    fn install_snapshot(
        &self,
        _: &Destination,
        _: BoxStream<'static, wire::InstallSnapshotRequest>,
    ) -> Answer<wire::InstallSnapshotResponse> {
        Self::answer()
    }
}
