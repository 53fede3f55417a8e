//! The nodes, and since when each may be given tasks.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{
    Node, NodeId,
    wire::{node_spec::Availability, node_status::State},
};

/// For how long a node must have been READY and ACTIVE, without a break that was seen, before tasks are moved to it: one
/// that comes and goes would otherwise be given tasks each time, only to lose them. Twice the time within which a node
/// that beats every five seconds is missed for the first time.
pub const SETTLING: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<NodeId, Known>,
    /// How many of them take tasks.
    open: usize,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    /// Since when this leader sees it READY and ACTIVE. `None` when it is not.
    open_since: Option<SystemTime>,
}

impl Nodes {
    /// Takes over a node's record; `None` when it was deleted. Gives whether it is another place for tasks than before.
    pub(crate) fn set(&mut self, id: &NodeId, node: Option<&Arc<Node>>, now: SystemTime) -> bool {
        let before = self.nodes.remove(id);
        self.open -= usize::from(before.as_ref().is_some_and(|known| known.open_since.is_some()));
        let is_same = match (&before, node) {
            (Some(before), Some(node)) => is_same_place(&before.node, node),
            (None, None) => true,
            _ => false,
        };
        if let Some(node) = node {
            let since = before.and_then(|known| known.open_since).unwrap_or(now);
            let open_since = takes_tasks(node).then_some(since);
            self.open += usize::from(open_since.is_some());
            self.nodes.insert(id.clone(), Known { node: node.clone(), open_since });
        }
        !is_same
    }

    pub(crate) fn get(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id).map(|known| known.node.as_ref())
    }

    /// How many nodes take tasks.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn is_open(&self, id: &NodeId) -> bool {
        self.nodes.get(id).is_some_and(|known| known.open_since.is_some())
    }

    /// Whether it is known what goes on there.
    pub(crate) fn is_ready(&self, id: &NodeId) -> bool {
        self.get(id).is_some_and(|node| node.status.state() == State::Ready)
    }

    /// From when on tasks may be moved there. `None` as long as it takes none.
    pub(crate) fn settles_at(&self, id: &NodeId) -> Option<SystemTime> {
        self.nodes.get(id)?.open_since.map(|since| since + SETTLING)
    }

    /// What people call it.
    pub(crate) fn name(&self, id: &NodeId) -> String {
        let description = self.get(id).and_then(|node| node.description.as_deref());
        let name = description.map(|description| description.hostname.clone()).filter(|name| !name.is_empty());
        name.unwrap_or_else(|| id.to_string())
    }
}

fn takes_tasks(node: &Node) -> bool {
    node.status.state() == State::Ready && node.spec.availability() == Availability::Active
}

/// Whether two records of a node are the same to everything that decides about placement.
fn is_same_place(before: &Node, after: &Node) -> bool {
    before.status.state == after.status.state
        && before.spec == after.spec
        && before.description == after.description
        && before.status.addr == after.status.addr
        && before.role == after.role
}
