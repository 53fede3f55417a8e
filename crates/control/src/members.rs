//! The members of raft, as the control service needs to know them.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use swarmkit_api::{
    NodeId,
    wire::{ManagerStatus, raft_member_status::Reachability},
};

use crate::ControlError;

/// The members at one time, by node.
pub type MemberSet = BTreeMap<NodeId, ManagerStatus>;

/// The members of raft, kept up to date by whoever runs it. Clones share the set.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<ArcSwap<MemberSet>>);

impl Members {
    /// States who the members are now.
    pub fn set(&self, members: MemberSet) {
        self.0.store(Arc::new(members));
    }

    /// A node's place in raft. `None` for nodes that are no members.
    #[must_use]
    pub fn status(&self, node: &NodeId) -> Option<ManagerStatus> {
        self.0.load().get(node).cloned()
    }

    /// Refuses the removal of a member without which the others could not agree any more.
    pub(crate) fn may_remove(&self, node: &NodeId) -> Result<(), ControlError> {
        let members = self.0.load();
        if !members.contains_key(node) {
            return Err(ControlError::NoMember);
        }
        let remaining = members.len() - 1;
        let reachable = members
            .iter()
            .filter(|(id, status)| *id != node && status.reachability() == Reachability::Reachable)
            .count();
        if reachable < remaining / 2 + 1 {
            return Err(ControlError::Precondition(format!(
                "can't remove member from the raft: this would result in a loss of quorum ({reachable} of {remaining} \
                 remaining managers are reachable)"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(reachable: &[(&str, bool)]) -> Members {
        let members = Members::default();
        members.set(
            reachable
                .iter()
                .map(|&(id, reachable)| {
                    let reachability = if reachable { Reachability::Reachable } else { Reachability::Unreachable };
                    (NodeId::from(id), ManagerStatus { reachability: reachability.into(), ..Default::default() })
                })
                .collect(),
        );
        members
    }

    #[test]
    fn a_member_may_go_if_the_rest_can_still_agree() {
        let three = members(&[("a", true), ("b", true), ("c", true)]);
        assert!(three.may_remove(&"a".into()).is_ok());
        let one_down = members(&[("a", true), ("b", true), ("c", false)]);
        assert!(one_down.may_remove(&"c".into()).is_ok(), "removing the one that is down helps");
        let error = one_down.may_remove(&"a".into()).unwrap_err().to_string();
        assert!(error.contains("quorum"), "{error}");
    }

    #[test]
    fn who_is_no_member_cannot_be_removed() {
        let error = members(&[("a", true)]).may_remove(&"z".into()).unwrap_err();
        assert!(matches!(error, ControlError::NoMember));
    }
}
