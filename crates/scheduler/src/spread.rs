//! Which node is tried next: the least loaded first, evenly over the branches of the placement preferences.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    time::SystemTime,
};

use im::{OrdMap, OrdSet};
use swarmkit_api::{Node, NodeId, Task, constraint::Label, wire::placement_preference::Preference};

use crate::books::{Books, FailureKey, Rank};

/// Tries to place one task on a node. Gives the node's rank afterwards, or `None` if the node cannot take it.
pub(crate) type Attempt<'a> = dyn FnMut(&NodeId) -> Option<Rank> + 'a;

/// The nodes that tasks of one group may be placed on, in the order in which they are tried.
pub(crate) enum Candidates<'o> {
    /// No preference: all nodes in one order.
    Flat(Flat<'o>),
    /// Spread evenly over the values of labels.
    Tree(Vertex),
}

/// What ranks the nodes for one group of tasks.
pub(crate) struct Ranking {
    /// The nodes that take tasks, by load, as they were when the group's turn came.
    by_load: OrdSet<(u32, NodeId)>,
    /// Those with active tasks of the service.
    of_service: OrdMap<NodeId, u32>,
    /// Those where the service failed too often.
    faulty: BTreeMap<NodeId, usize>,
    /// The labels to spread over, outermost first.
    levels: Vec<Label>,
}

/// Nodes in one order. Those without a task of the service come straight from the order of load, so placing a few
/// tasks does not look at all nodes.
pub(crate) struct Flat<'o> {
    untouched: Peekable<Box<dyn Iterator<Item = Rank> + 'o>>,
    others: BTreeSet<Rank>,
}

/// A part of the nodes: those that share the values of the first labels.
pub(crate) enum Vertex {
    /// No more labels to spread over.
    Leaf(BTreeSet<Rank>),
    /// One branch per value of the next label; a node without it has the value "".
    Fork {
        /// The branches with room, those with the fewest tasks first, then by value.
        order: BTreeSet<(u32, String)>,
        branches: BTreeMap<String, Branch>,
    },
}

/// The nodes that share one value of a label.
#[derive(Default)]
pub(crate) struct Branch {
    /// Active tasks of the service on all nodes of the branch, also on those that take no more.
    tasks: u32,
    below: Vertex,
}

// === impl Ranking ===

impl Ranking {
    pub(crate) fn of(books: &Books, task: &Task, now: SystemTime) -> Self {
        let key: Option<FailureKey> = task.service_id.clone().map(|service| (service, task.spec_version));
        let placement = task.spec.placement.iter();
        let preferences = placement.flat_map(|placement| &placement.preferences);
        let descriptors = preferences.filter_map(|preference| match preference.preference.as_ref()? {
            Preference::Spread(spread) => Some(spread.spread_descriptor.as_str()),
        });
        Self {
            by_load: books.by_load(),
            of_service: books.of_service(task.service_id.as_ref()),
            faulty: key.map(|key| books.faulty(&key, now)).unwrap_or_default(),
            levels: descriptors.filter_map(Label::parse).collect(),
        }
    }

    /// The rank of a node that has these many active tasks.
    pub(crate) fn rank(&self, node: &NodeId, of_service: u32, active: u32) -> Rank {
        Rank { failures: self.faulty.get(node).copied().unwrap_or(0), of_service, active, node: node.clone() }
    }

    pub(crate) fn candidates(&self, books: &Books) -> Candidates<'_> {
        if self.levels.is_empty() { Candidates::Flat(self.flat(books)) } else { Candidates::Tree(self.tree(books)) }
    }

    fn flat(&self, books: &Books) -> Flat<'_> {
        let is_other = |node: &NodeId| self.of_service.contains_key(node) || self.faulty.contains_key(node);
        let untouched = self.by_load.iter().filter(move |(_, node)| !is_other(node));
        let untouched = untouched.map(|(active, node)| self.rank(node, 0, *active));
        let others = self.of_service.keys().chain(self.faulty.keys());
        let others = others.filter_map(|node| {
            let book = books.get(node).filter(|book| book.is_available())?;
            Some(self.rank(node, self.of_service.get(node).copied().unwrap_or(0), book.active))
        });
        Flat { untouched: (Box::new(untouched) as Box<dyn Iterator<Item = Rank>>).peekable(), others: others.collect() }
    }

    fn tree(&self, books: &Books) -> Vertex {
        let mut root = Vertex::default();
        for (node, book) in books.nodes() {
            let of_service = self.of_service.get(&node.id).copied().unwrap_or(0);
            let rank = book.is_available().then(|| self.rank(&node.id, of_service, book.active));
            root.insert(node, &self.levels, of_service, rank);
        }
        root.sort();
        root
    }
}

// === impl Candidates ===

impl Candidates<'_> {
    /// Tries nodes in order until one takes the task. A node that refuses is not tried again.
    pub(crate) fn place(&mut self, attempt: &mut Attempt<'_>) -> bool {
        match self {
            Self::Flat(flat) => flat.place(attempt),
            Self::Tree(vertex) => vertex.place(attempt),
        }
    }
}

impl Flat<'_> {
    fn place(&mut self, attempt: &mut Attempt<'_>) -> bool {
        while let Some(best) = self.next() {
            if let Some(rank) = attempt(&best.node) {
                self.others.insert(rank);
                return true;
            }
        }
        false
    }

    fn next(&mut self) -> Option<Rank> {
        match (self.untouched.peek(), self.others.first()) {
            (Some(untouched), Some(other)) if other < untouched => self.others.pop_first(),
            (None, _) => self.others.pop_first(),
            (Some(_), _) => self.untouched.next(),
        }
    }
}

impl Default for Vertex {
    fn default() -> Self {
        Self::Leaf(BTreeSet::new())
    }
}

impl Vertex {
    /// Puts a node where its labels say, and counts its tasks in every branch above it.
    fn insert(&mut self, node: &Node, levels: &[Label], tasks: u32, rank: Option<Rank>) {
        let Some((label, below)) = levels.split_first() else {
            if let Self::Leaf(ranks) = self {
                ranks.extend(rank);
            }
            return;
        };
        if let Self::Leaf(_) = self {
            *self = Self::Fork { order: BTreeSet::new(), branches: BTreeMap::new() };
        }
        if let Self::Fork { branches, .. } = self {
            let branch = branches.entry(label.of(node).to_owned()).or_default();
            branch.tasks += tasks;
            branch.below.insert(node, below, tasks, rank);
        }
    }

    /// Puts the branches in order, once all nodes are counted.
    fn sort(&mut self) {
        if let Self::Fork { order, branches } = self {
            *order = branches.iter().map(|(value, branch)| (branch.tasks, value.clone())).collect();
            branches.values_mut().for_each(|branch| branch.below.sort());
        }
    }

    fn place(&mut self, attempt: &mut Attempt<'_>) -> bool {
        match self {
            Self::Leaf(ranks) => {
                while let Some(best) = ranks.pop_first() {
                    if let Some(rank) = attempt(&best.node) {
                        ranks.insert(rank);
                        return true;
                    }
                }
                false
            }
            Self::Fork { order, branches } => {
                // A branch that has no room left leaves its share to the others.
                while let Some((tasks, value)) = order.pop_first() {
                    if branches.get_mut(&value).is_some_and(|branch| branch.below.place(attempt)) {
                        order.insert((tasks + 1, value));
                        return true;
                    }
                }
                false
            }
        }
    }
}
