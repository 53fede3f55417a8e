//! How it is told that nodes cannot run a task. Clients match on these texts.

use std::{cmp::Reverse, collections::BTreeMap, fmt::Write as _, sync::Arc};

use swarmkit_api::NodeId;

/// Why a node cannot run a task, in the order in which it is looked at: the first reason is the one that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is not READY, or not ACTIVE.
    Unavailable,
    /// It has too little left of what the task reserves.
    Resources,
    /// It lacks a plugin that the task needs.
    Plugin,
    /// It does not run tasks of that kind.
    Executor,
    /// It does not satisfy the placement constraints.
    Constraint,
    /// It is of another platform than those listed.
    Platform,
    /// Another task has a port of it.
    HostPort,
    /// It has as many tasks of the service as it may have.
    MaxReplicas,
    /// It cannot mount the cluster volumes that are asked for.
    Volume,
    /// It is not near to, or not apart from, a service: of all that binds the tasks to others, the one of this number.
    Affinity(u8),
}

/// How many nodes cannot run a task, reason by reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    counts: BTreeMap<Reason, usize>,
    /// How many nodes were looked at.
    nodes: usize,
    /// What kind of task it is, in the words that nodes use.
    kind: Option<String>,
    /// All that binds the task to other services.
    ties: Vec<String>,
}

// === impl Tally ===

impl Tally {
    /// Of no node yet.
    pub(crate) fn new(kind: Option<String>) -> Self {
        Self { kind, ..Self::default() }
    }

    /// Takes a node into account, with what it refuses the task for, if it does.
    pub(crate) fn count(&mut self, reason: Option<Reason>) {
        self.nodes += 1;
        if let Some(reason) = reason {
            *self.counts.entry(reason).or_default() += 1;
        }
    }

    /// Of so many nodes, of which these refuse the task.
    pub(crate) fn of(counts: BTreeMap<Reason, usize>, nodes: usize, kind: Option<String>) -> Self {
        Self { counts, nodes, kind, ..Self::default() }
    }

    /// How many nodes were looked at.
    pub(crate) fn nodes(&self) -> usize {
        self.nodes
    }

    /// How many of them take the task.
    pub(crate) fn open(&self) -> usize {
        self.nodes - self.counts.values().sum::<usize>()
    }

    /// Knows what binds the task to other services, in the order of their numbers.
    pub(crate) fn bound(self, ties: Vec<String>) -> Self {
        Self { ties, ..self }
    }

    /// What is said of one node alone, which is never that no node does.
    pub(crate) fn one(kind: Option<String>, reason: Reason) -> Self {
        Self { counts: BTreeMap::from([(reason, 1)]), nodes: usize::MAX, kind, ties: Vec::new() }
    }

    /// The reasons with their numbers of nodes, the most frequent first; among equals as they are looked at.
    pub(crate) fn reasons(&self) -> Vec<(Reason, usize)> {
        let mut reasons: Vec<_> = self.counts.iter().map(|(reason, count)| (*reason, *count)).collect();
        reasons.sort_by_key(|(_, count)| Reverse(*count));
        reasons
    }

    /// All reasons, in that order. Empty when there is no node at all.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (reason, _) in self.reasons() {
            if !text.is_empty() {
                text.push_str("; ");
            }
            text.push_str(&self.tell(reason));
        }
        text
    }

    /// One reason, with how many nodes it is the reason of.
    pub(crate) fn tell(&self, reason: Reason) -> String {
        let mut text = String::new();
        let count = self.counts.get(&reason).copied().unwrap_or(0);
        let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        let kind = self.kind.as_deref().unwrap_or_default();
        let written = match reason {
            Reason::Unavailable => write!(text, "{nodes} not available for new tasks"),
            Reason::Resources => write!(text, "insufficient resources on {nodes}"),
            Reason::Plugin => write!(text, "missing plugin on {nodes}"),
            Reason::Executor if count == self.nodes => write!(text, "no node runs {kind} tasks"),
            Reason::Executor if count == 1 => write!(text, "1 node does not run {kind} tasks"),
            Reason::Executor => write!(text, "{nodes} do not run {kind} tasks"),
            Reason::Constraint => write!(text, "scheduling constraints not satisfied on {nodes}"),
            Reason::Platform => write!(text, "unsupported platform on {nodes}"),
            Reason::HostPort => write!(text, "host-mode port already in use on {nodes}"),
            Reason::MaxReplicas => write!(text, "max replicas per node limit exceed"),
            Reason::Affinity(number) => {
                let tie = self.ties.get(usize::from(number)).map_or("affinity", String::as_str);
                write!(text, "{tie} not satisfied on {nodes}")
            }
            Reason::Volume => write!(text, "cannot fulfill requested CSI volume mounts on {nodes}"),
        };
        written.expect("invariant: writing to a string does not fail");
        text
    }
}

/// The text of a task's status when no node can run it.
pub(crate) fn no_suitable_node(explanation: &str) -> Arc<str> {
    match explanation {
        "" => "no suitable node".into(),
        reasons => format!("no suitable node ({reasons})").into(),
    }
}

/// What is said of nodes that have room which others have been promised.
pub(crate) fn kept(nodes: usize) -> String {
    let nodes = if nodes == 1 { "1 node".to_owned() } else { format!("{nodes} nodes") };
    format!("room is kept for other tasks on {nodes}")
}

/// The text of the status of a task that was made for a node that is not there. Nobody else says anything then.
pub(crate) fn no_such_node(node: &NodeId) -> Arc<str> {
    format!("node {node} does not exist").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of so many nodes that refuse for each reason, and one that takes the task.
    fn told(counts: &[(Reason, usize)]) -> String {
        let nodes = counts.iter().map(|(_, count)| count).sum::<usize>() + 1;
        Tally::of(counts.iter().copied().collect(), nodes, Some("wasm".to_owned())).text()
    }

    #[test]
    fn each_reason_has_its_text_for_one_node_and_for_several() {
        let texts = [
            (Reason::Unavailable, "1 node not available for new tasks", "2 nodes not available for new tasks"),
            (Reason::Resources, "insufficient resources on 1 node", "insufficient resources on 2 nodes"),
            (Reason::Plugin, "missing plugin on 1 node", "missing plugin on 2 nodes"),
            (Reason::Executor, "1 node does not run wasm tasks", "2 nodes do not run wasm tasks"),
            (
                Reason::Constraint,
                "scheduling constraints not satisfied on 1 node",
                "scheduling constraints not satisfied on 2 nodes",
            ),
            (Reason::Platform, "unsupported platform on 1 node", "unsupported platform on 2 nodes"),
            (Reason::HostPort, "host-mode port already in use on 1 node", "host-mode port already in use on 2 nodes"),
            (Reason::MaxReplicas, "max replicas per node limit exceed", "max replicas per node limit exceed"),
            (
                Reason::Volume,
                "cannot fulfill requested CSI volume mounts on 1 node",
                "cannot fulfill requested CSI volume mounts on 2 nodes",
            ),
        ];
        for (reason, one, two) in texts {
            assert_eq!(told(&[(reason, 1)]), one);
            assert_eq!(Tally::one(Some("wasm".to_owned()), reason).text(), one);
            assert_eq!(told(&[(reason, 2)]), two);
        }
    }

    #[test]
    fn the_most_frequent_reason_comes_first_and_equals_come_as_they_are_looked_at() {
        assert_eq!(
            told(&[(Reason::Volume, 1), (Reason::Platform, 3), (Reason::Unavailable, 1), (Reason::Resources, 3)]),
            "insufficient resources on 3 nodes; unsupported platform on 3 nodes; 1 node not available for new tasks; \
             cannot fulfill requested CSI volume mounts on 1 node"
        );
    }

    #[test]
    fn without_a_reason_there_is_no_explanation() {
        assert_eq!(&*no_suitable_node(&told(&[])), "no suitable node");
        assert_eq!(&*no_suitable_node("this; that"), "no suitable node (this; that)");
    }
}
