//! The machines together: who leads, who is a member, and what an operator would do about it.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, rngs::SmallRng};
use swarmkit_raft::{MemberStatus, RaftError};
use tokio::time::Instant;

use crate::site::{Condition, Member, Site, World};

/// How often the operator looks.
const ROUND: Duration = Duration::from_millis(100);

/// How long the operator waits for a change of the membership.
const PATIENCE: Duration = Duration::from_secs(3);

/// All machines. Clones share them.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) sites: Arc<[Arc<Site>]>,
}

impl Cluster {
    /// The members that say they lead: more than one may believe it.
    pub(crate) fn leaders(&self) -> Vec<&Arc<Site>> {
        self.sites.iter().filter(|site| site.leads()).collect()
    }

    /// A member that says it leads.
    pub(crate) fn leader(&self) -> Option<(&Arc<Site>, Member)> {
        self.leaders().into_iter().find_map(|site| Some((site, site.member()?)))
    }

    /// Any machine.
    pub(crate) fn any(&self, rng: &mut SmallRng) -> &Arc<Site> {
        &self.sites[rng.random_range(0..self.sites.len())]
    }

    /// Starts what is down and makes a voter of whoever is none, for as long as the world lasts. That is what an operator
    /// does, or a manager by itself.
    pub(crate) async fn operate(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            for site in self.sites.iter() {
                match site.condition() {
                    Condition::Down { until } if until <= Instant::now() => {
                        let site = site.clone();
                        // A start may take long, or be held up; the others need not wait for it.
                        let starting = self.world.outside.spawn("start", async move { site.start().await });
                        let _ = tokio::time::timeout(ROUND, starting).await;
                    }
                    Condition::Damaged => site.begin_anew(),
                    _ => {}
                }
            }
            self.admit().await;
        }
    }

    /// Takes one step towards a group of just these machines, all of them voters.
    async fn admit(&self) {
        let Some((_, leader)) = self.leader() else { return };
        let members = leader.raft.members();
        let result = match self.next_step(&members, leader.raft.is_membership_settled()) {
            None => return,
            Some(Step::Remove(raft_id)) => {
                self.note(format_args!("removes {raft_id:x}"));
                let raft = leader.raft.clone();
                leader.ask(PATIENCE, async move { raft.remove(raft_id).await }).await
            }
            Some(Step::Add(raft_id, site)) => {
                self.note(format_args!("adds {raft_id:x} on {}", site.node));
                let (raft, node) = (leader.raft.clone(), site.node.clone());
                let addr = format!("{node}:2377");
                leader.ask(PATIENCE, async move { raft.add_learner(raft_id, &node, &addr).await }).await
            }
            Some(Step::Promote(raft_id)) => {
                self.note(format_args!("promotes {raft_id:x}"));
                let raft = leader.raft.clone();
                leader.ask(PATIENCE, async move { raft.promote(raft_id).await }).await
            }
        };
        let shown = match &result {
            None => "no answer".to_owned(),
            Some(Ok(())) => "done".to_owned(),
            Some(Err(error)) => error.to_string(),
        };
        self.note(format_args!("{shown}"));
        if matches!(result, None | Some(Err(RaftError::ChangeUnderWay))) {
            tokio::time::sleep(ROUND).await;
        }
    }

    fn next_step(&self, members: &[MemberStatus], settled: bool) -> Option<Step<'_>> {
        let ours: Vec<(u64, &Arc<Site>)> = self.sites.iter().filter_map(|site| Some((site.raft_id()?, site))).collect();
        let known = |raft_id: u64| members.iter().find(|status| status.member.raft_id == raft_id);
        let gone = members.iter().map(|status| status.member.raft_id).find(|id| ours.iter().all(|(own, _)| own != id));
        let learner = ours
            .iter()
            .find(|(id, site)| site.member().is_some() && known(*id).is_some_and(|status| !status.member.voter));
        let stranger = ours.iter().find(|(id, site)| site.member().is_some() && known(*id).is_none());
        // Learners first: a group with more voters can spare the one that is gone.
        learner
            .map(|(id, _)| Step::Promote(*id))
            .or(gone.map(Step::Remove))
            .or(stranger.map(|(id, site)| Step::Add(*id, site)))
            .or_else(|| {
                // A leader that died within a change left the group between two memberships. Any change ends that.
                let voter = members.iter().find(|status| status.member.voter && !status.leader);
                voter.filter(|_| !settled).map(|status| Step::Promote(status.member.raft_id))
            })
    }

    /// Whether everybody runs and votes, as the leader says.
    pub(crate) fn is_whole(&self) -> bool {
        let Some((_, leader)) = self.leader() else { return false };
        let members = leader.raft.members();
        leader.raft.is_membership_settled()
            && members.len() == self.sites.len()
            && members.iter().all(|status| status.member.voter)
            && self.sites.iter().all(|site| {
                site.member().is_some()
                    && site.raft_id().is_some_and(|id| members.iter().any(|m| m.member.raft_id == id))
            })
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        self.world.trace.line("operator", what);
    }
}

/// One step of the operator.
enum Step<'a> {
    Remove(u64),
    Add(u64, &'a Arc<Site>),
    Promote(u64),
}
