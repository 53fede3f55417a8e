//! Making the survivor of a lost quorum the only member of a group that goes on from its state.
//!
//! Everything happens in one batch of records, which a crash leaves whole or not at all: before it the member is what it
//! was, after it the founder of another group. The member gets a raft id that nobody has ever heard of, so whoever is
//! left of the old group can neither vote in the new one nor be taken for its leader.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use super::{Log, LogError, Owner, index::Index, record::Record, writer::Writer};
use crate::{
    options::RaftId,
    types::{Entry, LogId, Membership, Peer, SnapshotMeta, Vote, log_id, term_of},
};

/// How many entries are looked at together when the newest membership is searched.
const STEP: u64 = 1024;

/// Makes `founder` the only member. Does nothing if the owner of the log is that already.
///
/// What may have been acknowledged stays. Of the newest entries only those go that this member proposed itself as a
/// leader, and gave up: it told their writers that their fate is unknown, and it has never acknowledged them.
pub(crate) async fn refound(
    log: &Log,
    writer: &mut Writer,
    snapshot: Option<&SnapshotMeta>,
    founder: &Owner,
    peer: Peer,
) -> Result<(), LogError> {
    if is_alone(&membership(log, snapshot).await?, log.owner().raft_id) {
        return Ok(());
    }
    let upto = snapshot.and_then(|meta| meta.last_log_id);
    let records = records(&log.shared.index.lock(), upto, founder, peer, |entry| writer.entry_record(entry));
    tracing::warn!(old = %RaftId(log.owner().raft_id), new = %RaftId(founder.raft_id), "founding a group of one");
    writer.write(records, false).await.map_err(|error| log.shared.fail(error))
}

fn records(
    index: &Index,
    snapshot: Option<LogId>,
    founder: &Owner,
    peer: Peer,
    seal: impl FnOnce(&Entry) -> Record,
) -> Vec<Record> {
    let mut records = Vec::new();
    let mut last = index.last();
    if let Some(given_up) = index.given_up.filter(|id| last == Some(*id)) {
        let kept = index.committed.max(index.last_before_term(term_of(&given_up))).max(snapshot);
        if kept < last {
            records.push(Record::Truncate(kept));
            last = kept;
        }
    }
    if snapshot > last {
        // It was installed, and the log before it not yet purged.
        records.extend(snapshot.map(Record::Purge));
        last = snapshot;
    }
    let term = 1 + index.vote.map_or(0, |vote| vote.leader_id.term).max(last.as_ref().map_or(0, term_of));
    let id = log_id(term, last.map_or(0, |last| last.index + 1));
    let (voters, peers) = (BTreeSet::from([founder.raft_id]), BTreeMap::from([(founder.raft_id, peer)]));
    let membership = Membership::new(vec![voters], peers).expect("invariant: the only voter is a member");
    let entry = Entry { log_id: id, payload: EntryPayload::Membership(membership) };
    records.extend([
        Record::Owner(founder.clone()),
        Record::Vote(Vote::new_committed(term, founder.raft_id)),
        seal(&entry),
        Record::Committed(id),
    ]);
    records
}

/// The newest membership that the log or the snapshot knows, committed or not: that is the one that counts in raft.
async fn membership(log: &Log, snapshot: Option<&SnapshotMeta>) -> Result<Membership, LogError> {
    let have = log.shared.index.lock().range();
    let mut end = have.end;
    while end > have.start {
        let start = end.saturating_sub(STEP).max(have.start);
        let entries = log.shared.read(start..end).await?;
        let newest = entries.into_iter().rev().find_map(|entry| match entry.payload {
            EntryPayload::Membership(membership) => Some(membership),
            EntryPayload::Blank | EntryPayload::Normal(_) => None,
        });
        if let Some(membership) = newest {
            return Ok(membership);
        }
        end = start;
    }
    Ok(snapshot.map(|meta| meta.last_membership.membership().clone()).unwrap_or_default())
}

fn is_alone(membership: &Membership, raft_id: u64) -> bool {
    membership.nodes().map(|(&id, _)| id).eq([raft_id]) && membership.voter_ids().eq([raft_id])
}
