//! Whether this member leads, told only when it may act on it.
//!
//! openraft calls a member leader as soon as it has won a vote, and until it hears of another. That is too early at one
//! end and too late at the other: a new leader does not know yet what was committed before it, and one that is cut off
//! goes on believing. So a member is announced as leader once an entry of its own term is applied, hence all earlier ones
//! too, and it counts as follower again as soon as no quorum has confirmed it for the length of a lease. Likewise a follower
//! names a leader only as long as it hears from it.

use std::time::Duration;

use openraft::{ServerState, metrics::RaftServerMetrics};
use openraft_rt::{Instant as _, WatchReceiver as _};
use swarmkit_api::NodeId;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    error::RaftError,
    hearing::Hearing,
    log::Log,
    machine::Machine,
    membership::{MemberStatus, statuses},
    network::AddressBook,
    proposer::{Queued, RaftProposer},
    types::{Peer, StoredMembership, Types},
};

/// A member of the group of managers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its raft id; never 0, never used again after a removal.
    pub raft_id: u64,
    /// The node that runs it.
    pub node_id: NodeId,
    /// `host:port` where other managers reach it.
    pub addr: String,
    /// It votes; otherwise it still learns.
    pub voter: bool,
}

/// What this member may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It leads, has applied everything that was committed before, and its proposals are taken.
    Leader {
        /// The raft term. A member may lead twice in one term, with a pause as follower.
        term: u64,
    },
    /// It does not.
    Follower {
        /// Who leads, as far as is known: whoever has not been heard from for two leases does not.
        leader: Option<Member>,
    },
}

/// Watches a member's [`Role`]. Each clone sees every change, but not what was overtaken before it looked.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Role>);

impl Leadership {
    pub(crate) fn new(roles: watch::Receiver<Role>) -> Self {
        Self(roles)
    }

    /// The role at the moment.
    #[must_use]
    pub fn current(&self) -> Role {
        self.0.borrow().clone()
    }

    /// The role at the moment, which counts as seen.
    #[must_use]
    pub fn latest(&mut self) -> Role {
        self.0.borrow_and_update().clone()
    }

    /// Waits until the role is another than the one that was seen last. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when raft has ended.
    pub async fn changed(&mut self) -> Result<Role, RaftError> {
        self.0.changed().await.map_err(|_| RaftError::Stopped)?;
        Ok(self.latest())
    }

    /// Waits until this member leads, and gives the term.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`] when raft has ended.
    pub async fn lead(&mut self) -> Result<u64, RaftError> {
        let mut role = self.latest();
        loop {
            if let Role::Leader { term } = role {
                return Ok(term);
            }
            role = self.changed().await?;
        }
    }
}

/// What a role follows from.
struct Facts {
    /// The term in which openraft believes to lead.
    leads: Option<u64>,
    /// Of the newest entry that was applied.
    applied_term: u64,
    /// Its own vote is a quorum.
    only_voter: bool,
    /// When a quorum last confirmed it.
    confirmed: Option<Instant>,
    /// Who leads, and until when its last word counts.
    leader: Option<(Member, Instant)>,
}

/// The role, and when to look again although nothing happens.
fn judge(facts: Facts, now: Instant, lease: Duration) -> (Role, Option<Instant>) {
    match facts.leads {
        Some(term) if facts.applied_term == term => {
            if facts.only_voter {
                return (Role::Leader { term }, None);
            }
            match facts.confirmed.map(|at| at + lease) {
                Some(until) if now < until => (Role::Leader { term }, Some(until)),
                _ => (Role::Follower { leader: None }, Some(now + lease / RECHECKS_PER_LEASE)),
            }
        }
        Some(_) => (Role::Follower { leader: None }, None),
        None => {
            let (leader, until) = facts.leader.unzip();
            (Role::Follower { leader }, until)
        }
    }
}

/// How often a leader that is not confirmed looks whether it is again.
const RECHECKS_PER_LEASE: u32 = 10;

/// Tells everybody what this member may do.
pub(crate) struct Announcer {
    pub(crate) me: u64,
    pub(crate) raft: openraft::Raft<Types, Machine>,
    pub(crate) applied_term: watch::Receiver<u64>,
    pub(crate) proposer: RaftProposer,
    pub(crate) queue: mpsc::Sender<Queued>,
    pub(crate) roles: watch::Sender<Role>,
    pub(crate) members: watch::Sender<Vec<MemberStatus>>,
    pub(crate) log: Log,
    pub(crate) lease: Duration,
    pub(crate) hearing: Hearing,
    pub(crate) addresses: AddressBook,
}

impl Announcer {
    /// Runs until told to stop, or until openraft ends.
    ///
    /// # Errors
    ///
    /// Why openraft has ended.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), RaftError> {
        let mut server = self.raft.server_metrics();
        // Change sets are refused for the right reason from the beginning: not because this member has ended.
        self.proposer.follow(&self.roles.borrow(), &self.queue);
        let ended = loop {
            let metrics = server.borrow_and_update().clone();
            self.addresses.follow(&metrics.membership_config);
            let alone = is_alone(self.me, &metrics.membership_config);
            // A leader that is alone needs no clock: there is nobody to hear its heartbeats, and none to replace it.
            self.raft.runtime_config().tick(!(alone && metrics.state == ServerState::Leader));
            let facts = self.facts(&metrics);
            let now = Instant::now();
            let (role, again) = judge(facts, now, self.lease);
            // The only voter needs no confirmation; whether a learner answers, it has to look up.
            let again = again.or((!alone && matches!(role, Role::Leader { .. })).then(|| now + self.lease));
            self.announce(role);
            self.announce_members();
            let again = async {
                match again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! { biased; // to stop comes first, then news in the order of their weight
                () = stop.cancelled() => break Ok(()),
                changed = server.changed() => if changed.is_err() { break Err(self.why_it_ended()) },
                _ = self.applied_term.changed() => {}
                () = self.hearing.again() => {}
                () = again => {}
            }
        };
        self.proposer.stop();
        ended
    }

    fn facts(&mut self, metrics: &RaftServerMetrics<Types>) -> Facts {
        let leads = (metrics.state == ServerState::Leader).then_some(metrics.vote.leader_id.term);
        let confirmed = self.raft.metrics().borrow_watched().last_quorum_acked.map(|at| {
            // openraft's instant is tokio's, behind a type that does not say so.
            let ago = (*at).elapsed();
            Instant::now().checked_sub(ago).unwrap_or_else(Instant::now)
        });
        Facts {
            leads,
            applied_term: *self.applied_term.borrow_and_update(),
            only_voter: is_only_voter(self.me, &metrics.membership_config),
            confirmed,
            leader: self.hearing.counts_until().and_then(|until| {
                let leader = metrics.current_leader.filter(|&id| id != self.me)?;
                Some((member(leader, &metrics.membership_config)?, until))
            }),
        }
    }

    fn announce(&self, role: Role) {
        if *self.roles.borrow() == role {
            return;
        }
        tracing::info!(?role, "role");
        let led = matches!(*self.roles.borrow(), Role::Leader { .. });
        self.proposer.follow(&role, &self.queue);
        if led && matches!(role, Role::Follower { .. }) {
            self.log.give_up();
        }
        self.roles.send_replace(role);
    }

    fn announce_members(&self) {
        let fresh = statuses(&self.raft.metrics().borrow_watched(), self.me, self.lease, &self.hearing);
        self.members.send_if_modified(|known| {
            let changed = *known != fresh;
            *known = fresh;
            changed
        });
    }

    fn why_it_ended(&self) -> RaftError {
        match &self.raft.metrics().borrow_watched().running_state {
            Ok(()) => RaftError::Stopped,
            Err(fatal) => RaftError::Fatal(fatal.to_string()),
        }
    }
}

/// Whether nobody else has a vote.
pub(crate) fn is_only_voter(me: u64, membership: &StoredMembership) -> bool {
    membership.voter_ids().eq([me])
}

/// Whether nobody else takes part, not even as a learner.
fn is_alone(me: u64, membership: &StoredMembership) -> bool {
    is_only_voter(me, membership) && membership.nodes().map(|(&id, _)| id).eq([me])
}

/// Whether a member has a vote that counts. While the membership changes there are two sets of voters, and whoever is
/// only in the second has none yet: should the change be interrupted, the first still decides alone.
pub(crate) fn votes(id: u64, membership: &StoredMembership) -> bool {
    membership.membership().get_joint_config().first().is_some_and(|voters| voters.contains(&id))
}

pub(crate) fn member(id: u64, membership: &StoredMembership) -> Option<Member> {
    let peer = membership.get_node(&id)?;
    Some(to_member(id, peer, votes(id, membership)))
}

pub(crate) fn to_member(raft_id: u64, peer: &Peer, voter: bool) -> Member {
    Member { raft_id, node_id: NodeId::from(peer.node_id.as_str()), addr: peer.addr.clone(), voter }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(300);

    fn facts(leads: Option<u64>, applied_term: u64) -> Facts {
        Facts { leads, applied_term, only_voter: false, confirmed: None, leader: None }
    }

    fn confirmed(at: Instant) -> Facts {
        Facts { confirmed: Some(at), ..facts(Some(3), 3) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_is_announced_once_it_has_applied_an_entry_of_its_own_term() {
        let now = Instant::now();
        let leader = Role::Leader { term: 3 };
        assert_eq!(judge(Facts { applied_term: 2, ..confirmed(now) }, now, LEASE).0, Role::Follower { leader: None });
        assert_eq!(judge(confirmed(now), now, LEASE), (leader.clone(), Some(now + LEASE)));
        assert_eq!(judge(Facts { only_voter: true, ..facts(Some(3), 3) }, now, LEASE), (leader, None));
        assert_eq!(judge(facts(None, 3), now, LEASE), (Role::Follower { leader: None }, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_no_quorum_confirms_for_a_lease_is_none_until_one_does() {
        let then = Instant::now();
        let just_before = then + LEASE - Duration::from_millis(1);
        assert_eq!(judge(confirmed(then), just_before, LEASE).0, Role::Leader { term: 3 });
        let (role, again) = judge(confirmed(then), then + LEASE, LEASE);
        assert_eq!(role, Role::Follower { leader: None });
        assert!(again.is_some_and(|at| at > then + LEASE), "it looks again by itself");
        assert_eq!(judge(confirmed(then + LEASE), then + LEASE, LEASE).0, Role::Leader { term: 3 });
        assert_eq!(judge(facts(Some(3), 3), then, LEASE).0, Role::Follower { leader: None }, "not confirmed yet");
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_looks_again_when_the_word_of_its_leader_stops_counting() {
        let (now, until) = (Instant::now(), Instant::now() + 2 * LEASE);
        let leader = Member { raft_id: 7, node_id: NodeId::from("n7"), addr: "n7:1".to_owned(), voter: true };
        let heard = Facts { leader: Some((leader.clone(), until)), ..facts(None, 3) };
        assert_eq!(judge(heard, now, LEASE), (Role::Follower { leader: Some(leader) }, Some(until)));
    }
}
