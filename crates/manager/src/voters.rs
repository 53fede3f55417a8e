//! Learners become voters: the part of a leader term that gives a vote to whoever has caught up.
//!
//! A leader that died within such a change has left the group between two memberships, where it needs a quorum of both.
//! The next one ends that here, with any change: giving a voter the vote that it has.

use std::time::Duration;

use swarmkit_raft::{MemberStatus, Raft, RaftError};
use swarmkit_runtime::Env;
use tokio_util::sync::CancellationToken;

/// The pause after an attempt that has failed, or that came at the time of another change.
const PAUSE: Duration = Duration::from_millis(200);

/// Promotes learners, until told to stop.
///
/// # Errors
///
/// When raft has ended.
pub(crate) async fn run(raft: Raft, env: Env, stop: CancellationToken) -> Result<(), RaftError> {
    tokio::select! { biased; // stopping need not wait for what can perhaps not be decided
        () = stop.cancelled() => return Ok(()),
        () = settle(&raft, &env) => {}
    }
    let mut watch = raft.watch_members();
    let mut last = 0;
    loop {
        let Some(learner) = next_learner(&watch.latest(), last) else {
            tokio::select! { biased; // stopping comes first
                () = stop.cancelled() => return Ok(()),
                changed = watch.changed() => drop(changed?),
            }
            continue;
        };
        last = learner;
        let promoted = tokio::select! { biased; // stopping need not wait for a learner
            () = stop.cancelled() => return Ok(()),
            promoted = raft.promote(learner) => promoted,
        };
        match promoted {
            Ok(()) => tracing::info!(raft_id = format_args!("{learner:x}"), "a member has got its vote"),
            Err(error) => {
                tracing::debug!(raft_id = format_args!("{learner:x}"), %error, "a member did not get its vote yet");
                tokio::select! { biased; // stopping need not wait for the pause
                    () = stop.cancelled() => return Ok(()),
                    () = env.sleep(PAUSE) => {}
                }
            }
        }
    }
}

/// Ends a change that an earlier leader has begun. What this one does itself is over before a pause is.
async fn settle(raft: &Raft, env: &Env) {
    while !raft.is_membership_settled() {
        env.sleep(PAUSE).await;
        let (false, Some(voter)) = (raft.is_membership_settled(), any_voter(&raft.members())) else { continue };
        match raft.promote(voter).await {
            Ok(()) => tracing::info!("a change of the membership that an earlier leader had begun was ended"),
            Err(error) => tracing::debug!(%error, "a change of the membership is not ended yet"),
        }
    }
}

/// Whose turn it is: of the learners that answer the one after `last`, so that a slow one does not hold up the others.
fn next_learner(members: &[MemberStatus], last: u64) -> Option<u64> {
    let answering = members.iter().filter(|status| !status.member.voter && status.reachable == Some(true));
    let ids: Vec<u64> = answering.map(|status| status.member.raft_id).collect();
    ids.iter().copied().filter(|&id| id > last).min().or_else(|| ids.iter().copied().min())
}

/// A voter beside the leader that answers.
fn any_voter(members: &[MemberStatus]) -> Option<u64> {
    let voter = members.iter().find(|it| it.member.voter && !it.leader && it.reachable == Some(true));
    voter.map(|status| status.member.raft_id)
}

#[cfg(test)]
mod tests {
    use swarmkit_raft::Member;

    use super::*;

    fn status(raft_id: u64, voter: bool, reachable: Option<bool>) -> MemberStatus {
        let member = Member { raft_id, node_id: format!("n{raft_id}").as_str().into(), addr: String::new(), voter };
        MemberStatus { member, leader: false, reachable }
    }

    #[test]
    fn learners_that_answer_take_turns_and_others_are_left_alone() {
        let members = [
            status(1, true, Some(true)),
            status(2, false, Some(true)),
            status(3, false, Some(false)),
            status(4, false, Some(true)),
            status(5, false, None),
        ];
        assert_eq!(next_learner(&members, 0), Some(2));
        assert_eq!(next_learner(&members, 2), Some(4));
        assert_eq!(next_learner(&members, 4), Some(2));
        assert_eq!(next_learner(&members[..1], 0), None);
    }

    #[test]
    fn a_change_that_a_dead_leader_left_half_done_is_ended_with_a_voter_that_answers() {
        let leader = MemberStatus { leader: true, ..status(1, true, Some(true)) };
        let members = [leader, status(2, true, Some(false)), status(3, true, Some(true))];
        assert_eq!(any_voter(&members), Some(3));
        assert_eq!(any_voter(&members[..2]), None, "nobody else answers, so nothing can be decided");
    }
}
