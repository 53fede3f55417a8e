//! The role manager: raft has the members, and nodes the roles, that operators want.
//!
//! A node's *desired* role is the operator's word; its *observed* role is what its certificate is made for. A promotion
//! moves the observed role at once: the node then gets the certificate of a manager, and joins raft by itself. A demotion
//! goes the other way about: first the member leaves raft, where the others must be able to go on without it, and only
//! then the observed role follows. Whoever has no node object any more leaves raft too.
//!
//! What is left to do is read off the nodes and the members each time, so a new leader goes on where the last one stopped.

mod run;

use std::collections::BTreeSet;

use swarmkit_api::{Node, NodeId, NodeRole};
use swarmkit_raft::MemberStatus;
use swarmkit_store::{Change, Update, View};

pub(crate) use run::run;

/// One step towards what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The node's next certificate is one of this role.
    SetRole { node: NodeId, role: NodeRole },
    /// A member leaves raft.
    Remove { node: NodeId, raft_id: u64 },
    /// This manager is to leave, and leads: another one takes over and sees to it.
    HandOver { raft_id: u64 },
}

/// The nodes whose observed role is not the desired one, so that nobody has to look at all nodes to find them.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(BTreeSet<NodeId>);

impl Unsettled {
    pub(crate) fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(view) => {
                self.0 = view.all::<Node>().filter(|node| is_unsettled(node)).map(|node| node.id.clone()).collect();
            }
            Update::Delta(delta) => delta.changes.iter().for_each(|change| self.absorb_change(change)),
        }
    }

    fn absorb_change(&mut self, change: &Change) {
        let Some(node) = change.as_::<Node>() else { return };
        if node.after.as_ref().is_some_and(|node| is_unsettled(node)) {
            self.0.insert(node.id().clone());
        } else {
            self.0.remove(node.id());
        }
    }

    /// What is to be done now. `own` is the raft id of this manager, which leads; whatever concerns itself comes last.
    pub(crate) fn plan(&self, view: &View, members: &[MemberStatus], own: u64) -> Vec<Step> {
        let wanted = |node: &NodeId| view.get::<Node>(node).map(|node| node.spec.desired_role());
        let is_member = |node: &NodeId| members.iter().any(|status| status.member.node_id == *node);
        let roles = self.0.iter().filter_map(|node| match wanted(node)? {
            NodeRole::Worker if is_member(node) => None,
            role => Some(Step::SetRole { node: node.clone(), role }),
        });
        let leaves = |status: &&MemberStatus| wanted(&status.member.node_id) != Some(NodeRole::Manager);
        let (ourselves, others): (Vec<_>, Vec<_>) =
            members.iter().filter(leaves).partition(|status| status.member.raft_id == own);
        let removals = others
            .into_iter()
            .map(|status| Step::Remove { node: status.member.node_id.clone(), raft_id: status.member.raft_id });
        let hand_over = ourselves.into_iter().map(|status| Step::HandOver { raft_id: status.member.raft_id });
        roles.chain(removals).chain(hand_over).collect()
    }
}

fn is_unsettled(node: &Node) -> bool {
    node.spec.desired_role() != node.role
}

#[cfg(test)]
mod tests;
