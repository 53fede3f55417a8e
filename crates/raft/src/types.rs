//! The types that openraft is told to work with. None of them leaves this crate.

use std::fmt;

use bytes::Bytes;
use openraft::{
    EntryPayload, OptionalSend,
    impls::{self, leader_id_std},
    type_config::alias,
    vote::RaftLeaderId,
};

use crate::{chance::Runtime, proposer::Reply};

/// The choices made for this project. One leader per term, as in the paper, so an entry's id is its term and index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

impl openraft::RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = Peer;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = impls::Vote<LeaderId>;
    type Payload = EntryPayload<Command, u64, Peer>;
    type Entry = impls::Entry<<LeaderId as RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = Runtime;
    type Responder<T>
        = Reply<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = impls::BoxedErrorSource;
}

type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Peer>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;

/// A change set of the store on its way through the log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) payload: Bytes,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "change set of {} bytes", self.payload.len())
    }
}

/// Where a member is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The node that runs it: the common name of its certificate.
    pub(crate) node_id: String,
    pub(crate) addr: String,
}

/// Makes the id of an entry.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new_term_index(term, index)
}

/// The term of an entry's id.
pub(crate) fn term_of(id: &LogId) -> u64 {
    **id.committed_leader_id()
}

/// Whether entries follow directly on `previous`, and on each other.
pub(crate) fn follow_on(previous: Option<&LogId>, entries: &[Entry]) -> bool {
    let next = previous.map_or(0, |id| id.index + 1);
    entries.iter().zip(next..).all(|(entry, index)| entry.log_id.index == index)
}
