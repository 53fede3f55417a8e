//! Who takes part: looking, and changing it one step at a time.
//!
//! A member is added as a learner, which gets the log and has no say, and is promoted once it has caught up. So a group
//! never counts on somebody who cannot vote yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use openraft::{
    ChangeMembers, RaftMetrics,
    errors::{ChangeMembershipError, ClientWriteError, RaftError as CoreError},
    raft::ClientWriteResponse,
};
use openraft_rt::{Instant as _, WatchReceiver as _};
use swarmkit_api::NodeId;
use tokio::sync::watch;

use crate::{
    error::RaftError,
    hearing::Hearing,
    raft::Raft,
    role::{Member, to_member, votes},
    types::{Peer, Types},
};

/// How long a learner may take to catch up before its promotion is given up.
const CATCH_UP: Duration = Duration::from_secs(30);

/// A member, and what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Who it is.
    pub member: Member,
    /// It leads, as far as is known.
    pub leader: bool,
    /// Whether it answers. Only the leader knows that of others.
    pub reachable: Option<bool>,
}

/// Watches who the members are and, on the leader, whether they answer. Clones watch by themselves.
#[derive(Clone, Debug)]
pub struct MemberWatch(watch::Receiver<Vec<MemberStatus>>);

impl MemberWatch {
    pub(crate) fn new(members: watch::Receiver<Vec<MemberStatus>>) -> Self {
        Self(members)
    }

    /// The members by raft id, which count as seen.
    #[must_use]
    pub fn latest(&mut self) -> Vec<MemberStatus> {
        self.0.borrow_and_update().clone()
    }

    /// Waits until something differs from what was seen last. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when raft has ended.
    pub async fn changed(&mut self) -> Result<Vec<MemberStatus>, RaftError> {
        self.0.changed().await.map_err(|_| RaftError::Stopped)?;
        Ok(self.latest())
    }
}

type Written = Result<ClientWriteResponse<Types>, CoreError<Types, ClientWriteError<Types>>>;
type Metrics = RaftMetrics<Types>;

impl Raft {
    /// All members by raft id, as far as this one knows.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        statuses(&self.metrics(), self.raft_id, self.lease, &self.hearing)
    }

    /// Whether no change of the membership is under way, as far as this member knows: between two memberships a group needs
    /// a quorum of both.
    #[must_use]
    pub fn is_membership_settled(&self) -> bool {
        let metrics = self.metrics();
        let stored = &metrics.membership_config;
        stored.membership().get_joint_config().len() == 1 && metrics.last_applied >= *stored.log_id()
    }

    /// The members, and every change of them.
    #[must_use]
    pub fn watch_members(&self) -> MemberWatch {
        self.member_watch.clone()
    }

    /// Adds a member that learns, and returns when that is committed. Does nothing if it is a member already.
    ///
    /// # Errors
    ///
    /// This member does not lead, or another change is under way.
    pub async fn add_learner(&self, raft_id: u64, node_id: &NodeId, addr: &str) -> Result<(), RaftError> {
        let _one = self.one_change()?;
        let peer = Peer { node_id: node_id.to_string(), addr: addr.to_owned() };
        written(self.core.add_learner(raft_id, peer, false).await)
    }

    /// Gives a learner a vote, once it has what was committed when this was called.
    ///
    /// # Errors
    ///
    /// This member does not lead, another change is under way, there is no such learner, or it does not catch up.
    pub async fn promote(&self, raft_id: u64) -> Result<(), RaftError> {
        let metrics = self.metrics();
        if metrics.replication.is_none() {
            return Err(not_leader(&metrics));
        }
        if metrics.membership_config.get_node(&raft_id).is_none() {
            return Err(RaftError::UnknownMember);
        }
        let goal = metrics.last_log_index;
        let caught_up = |metrics: &Metrics| {
            let progress = metrics.replication.as_ref().and_then(|all| all.get(&raft_id)).cloned().flatten();
            progress.map(|id| id.index) >= goal
        };
        self.wait_for(CATCH_UP, "the learner does not catch up", |metrics| {
            if metrics.replication.is_none() {
                return Err(not_leader(metrics));
            }
            Ok(caught_up(metrics))
        })
        .await?;
        // Catching up may take long, and is no change.
        let _one = self.one_change()?;
        let change = ChangeMembers::AddVoterIds(BTreeSet::from([raft_id]));
        written(self.core.change_membership(change, true).await)
    }

    /// Removes a member for good, and returns when that is committed.
    ///
    /// # Errors
    ///
    /// This member does not lead, another change is under way, there is no such member, or too few of the others answer.
    pub async fn remove(&self, raft_id: u64) -> Result<(), RaftError> {
        let _one = self.one_change()?;
        let metrics = self.metrics();
        let membership = &metrics.membership_config;
        if membership.get_node(&raft_id).is_none() {
            return Err(RaftError::UnknownMember);
        }
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let change = if voters.contains(&raft_id) {
            if metrics.replication.is_none() {
                return Err(not_leader(&metrics));
            }
            let reachable = voters.iter().filter(|&&id| id != raft_id);
            let reachable =
                reachable.filter(|&&id| is_reachable(&metrics, self.raft_id, id, self.lease) == Some(true)).count();
            // As upstream: of the members before the removal.
            if reachable < (voters.len() - 1) / 2 + 1 {
                return Err(RaftError::QuorumAtRisk);
            }
            ChangeMembers::RemoveVoters(BTreeSet::from([raft_id]))
        } else {
            ChangeMembers::RemoveNodes(BTreeSet::from([raft_id]))
        };
        written(self.core.change_membership(change, false).await)
    }

    /// Tells the others where a member is reached now. Does nothing if they know.
    ///
    /// # Errors
    ///
    /// This member does not lead, another change is under way, or there is no such member.
    pub async fn set_address(&self, raft_id: u64, addr: &str) -> Result<(), RaftError> {
        let _one = self.one_change()?;
        let metrics = self.metrics();
        let peer = metrics.membership_config.get_node(&raft_id).ok_or(RaftError::UnknownMember)?;
        if peer.addr == addr {
            return Ok(());
        }
        let peer = Peer { addr: addr.to_owned(), ..peer.clone() };
        written(self.core.change_membership(ChangeMembers::SetNodes(BTreeMap::from([(raft_id, peer)])), true).await)
    }

    /// Hands leadership to another voter, by default the one that has most of the log, and waits until it has taken it.
    ///
    /// # Errors
    ///
    /// This member does not lead, nobody answers, or nobody else leads after two leases; the group has found a leader
    /// by then or will soon.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<(), RaftError> {
        // A change that is interrupted leaves two sets of voters, of which both must agree until the next leader goes on
        // with it: harmful if this member is one of few.
        let _none = tokio::time::timeout(self.lease, self.changing.lock()).await;
        let metrics = self.metrics();
        let Some(replication) = &metrics.replication else { return Err(not_leader(&metrics)) };
        let voters = metrics.membership_config.voter_ids().filter(|&id| id != self.raft_id);
        let answering = voters.filter(|&id| is_reachable(&metrics, self.raft_id, id, self.lease) == Some(true));
        let most_complete = answering.max_by_key(|id| replication.get(id).cloned().flatten().map(|id| id.index));
        let successor = to.or(most_complete).ok_or(RaftError::Refused("no other voter answers".to_owned()))?;
        self.core.trigger().transfer_leader(successor).await.map_err(|_| RaftError::Stopped)?;
        let me = self.raft_id;
        self.wait_for(2 * self.lease, "nobody has taken over leadership", |metrics| {
            Ok(metrics.current_leader.is_some_and(|leader| leader != me))
        })
        .await
    }

    fn one_change(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, RaftError> {
        self.changing.try_lock().map_err(|_| RaftError::ChangeUnderWay)
    }

    fn metrics(&self) -> Metrics {
        self.core.metrics().borrow_watched().clone()
    }

    /// Waits until something holds, or a time is over.
    async fn wait_for(
        &self,
        within: Duration,
        what: &'static str,
        holds: impl Fn(&Metrics) -> Result<bool, RaftError> + Send,
    ) -> Result<(), RaftError> {
        let mut watch = self.core.metrics();
        let waiting = async {
            loop {
                let metrics = watch.borrow_and_update().clone();
                if holds(&metrics)? {
                    return Ok(());
                }
                watch.changed().await.map_err(|_| RaftError::Stopped)?;
            }
        };
        tokio::time::timeout(within, waiting).await.unwrap_or(Err(RaftError::TimedOut(what)))
    }
}

/// All members by raft id, as `me` sees them.
pub(crate) fn statuses(metrics: &Metrics, me: u64, lease: Duration, hearing: &Hearing) -> Vec<MemberStatus> {
    let membership = &metrics.membership_config;
    let leader = metrics.current_leader.filter(|&id| id == me || hearing.counts_until().is_some());
    let status = |(&id, peer): (&u64, &Peer)| MemberStatus {
        member: to_member(id, peer, votes(id, membership)),
        leader: leader == Some(id),
        reachable: is_reachable(metrics, me, id, lease),
    };
    membership.nodes().map(status).collect()
}

/// Whether a member has answered within the last lease.
fn is_reachable(metrics: &Metrics, me: u64, raft_id: u64, lease: Duration) -> Option<bool> {
    if raft_id == me {
        return Some(true);
    }
    let heard = metrics.heartbeat.as_ref()?.get(&raft_id).copied().flatten();
    Some(heard.is_some_and(|at| (*at).elapsed() < lease))
}

fn not_leader(metrics: &Metrics) -> RaftError {
    let leader = metrics.current_leader.and_then(|id| metrics.membership_config.get_node(&id));
    RaftError::NotLeader { leader: leader.map(|peer| peer.addr.clone()) }
}

fn written(result: Written) -> Result<(), RaftError> {
    let error = match result {
        Ok(_) => return Ok(()),
        Err(CoreError::Fatal(_)) => return Err(RaftError::Stopped),
        Err(CoreError::APIError(error)) => error,
    };
    Err(match error {
        ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to) => {
            RaftError::NotLeader { leader: to.leader_node.map(|peer| peer.addr) }
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => RaftError::ChangeUnderWay,
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(_)) => RaftError::UnknownMember,
        other => RaftError::Refused(other.to_string()),
    })
}
