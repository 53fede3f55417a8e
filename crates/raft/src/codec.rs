//! Between openraft's types and the messages of `swarmkit.raft.v1`, which are also what lies on the disk.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;
use prost::Message as _;
use swarmkit_api::wire::swarmkit::raft::v1 as wire;
use wire::payload::Content;

use crate::types::{Command, Entry, LogId, Membership, Peer, SnapshotMeta, StoredMembership, Vote, log_id, term_of};

/// A message lacks something or contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) fn id_to_wire(id: &LogId) -> wire::LogId {
    wire::LogId { term: term_of(id), index: id.index }
}

pub(crate) fn id_from_wire(id: &wire::LogId) -> LogId {
    log_id(id.term, id.index)
}

pub(crate) fn vote_to_wire(vote: &Vote) -> wire::Vote {
    wire::Vote { term: vote.leader_id.term, candidate: vote.leader_id.voted_for, granted: vote.committed }
}

pub(crate) fn vote_from_wire(vote: &wire::Vote) -> Vote {
    if vote.granted { Vote::new_committed(vote.term, vote.candidate) } else { Vote::new(vote.term, vote.candidate) }
}

pub(crate) fn membership_to_wire(membership: &Membership) -> wire::Membership {
    let voters = membership.get_joint_config().iter();
    let member = |peer: &Peer| wire::Member { node_id: peer.node_id.clone(), addr: peer.addr.clone() };
    wire::Membership {
        voters: voters.map(|set| wire::VoterSet { raft_ids: set.iter().copied().collect() }).collect(),
        members: membership.nodes().map(|(&id, peer)| (id, member(peer))).collect(),
    }
}

pub(crate) fn membership_from_wire(membership: wire::Membership) -> Result<Membership, Malformed> {
    if membership.voters.is_empty() && membership.members.is_empty() {
        return Ok(Membership::default());
    }
    let voters: Vec<BTreeSet<u64>> =
        membership.voters.into_iter().map(|set| set.raft_ids.into_iter().collect()).collect();
    let peers: BTreeMap<u64, Peer> = membership
        .members
        .into_iter()
        .map(|(id, member)| (id, Peer { node_id: member.node_id, addr: member.addr }))
        .collect();
    Membership::new(voters, peers).map_err(|_| Malformed("membership"))
}

pub(crate) fn payload_to_wire(entry: &Entry) -> wire::Payload {
    let content = match &entry.payload {
        EntryPayload::Blank => Content::Blank(wire::Blank {}),
        EntryPayload::Normal(command) => Content::Command(wire::Command { payload: command.payload.clone() }),
        EntryPayload::Membership(membership) => Content::Membership(membership_to_wire(membership)),
    };
    wire::Payload { content: Some(content) }
}

pub(crate) fn entry_from_parts(id: LogId, payload: wire::Payload) -> Result<Entry, Malformed> {
    let payload = match payload.content.ok_or(Malformed("payload"))? {
        Content::Blank(_) => EntryPayload::Blank,
        Content::Command(command) => EntryPayload::Normal(Command { payload: command.payload }),
        Content::Membership(membership) => EntryPayload::Membership(membership_from_wire(membership)?),
    };
    Ok(Entry { log_id: id, payload })
}

/// The payload of an entry as bytes.
pub(crate) fn encode_payload(entry: &Entry) -> Vec<u8> {
    payload_to_wire(entry).encode_to_vec()
}

pub(crate) fn decode_payload(id: LogId, bytes: Vec<u8>) -> Result<Entry, Malformed> {
    let payload = wire::Payload::decode(bytes::Bytes::from(bytes)).map_err(|_| Malformed("payload"))?;
    entry_from_parts(id, payload)
}

pub(crate) fn entry_to_wire(entry: &Entry) -> wire::Entry {
    wire::Entry { id: Some(id_to_wire(&entry.log_id)), payload: Some(payload_to_wire(entry)) }
}

pub(crate) fn entry_from_wire(entry: wire::Entry) -> Result<Entry, Malformed> {
    let id = entry.id.ok_or(Malformed("id of an entry"))?;
    entry_from_parts(id_from_wire(&id), entry.payload.ok_or(Malformed("payload"))?)
}

pub(crate) fn meta_to_wire(meta: &SnapshotMeta) -> wire::SnapshotMeta {
    wire::SnapshotMeta {
        last: meta.last_log_id.as_ref().map(id_to_wire),
        membership_id: meta.last_membership.log_id().as_ref().map(id_to_wire),
        membership: Some(membership_to_wire(meta.last_membership.membership())),
    }
}

pub(crate) fn meta_from_wire(meta: wire::SnapshotMeta) -> Result<SnapshotMeta, Malformed> {
    let membership = membership_from_wire(meta.membership.unwrap_or_default())?;
    Ok(SnapshotMeta {
        last_log_id: meta.last.as_ref().map(id_from_wire),
        last_membership: StoredMembership::new(meta.membership_id.as_ref().map(id_from_wire), membership),
    })
}
