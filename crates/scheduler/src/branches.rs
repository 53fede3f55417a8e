//! Nodes by the values of what tasks are to be spread over.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Descriptor, Node};

use crate::{
    bitmap::Bitmap,
    books::{Books, NodeIx},
    loads::Levels,
    search::{Cursor, Fields, Situation, Strategy},
};

/// Up to how many nodes a branch lists them.
const FEW: usize = 64;

/// The nodes by their labels, whatever is on them.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: Vertex,
    leaves: Vec<Mask>,
    /// The leaf of each node, by its number.
    leaf_of: Vec<Option<usize>>,
}

#[derive(Debug)]
enum Vertex {
    Leaf(usize),
    /// A branch for each value of the next label, in their order; a node without it has the value "".
    Fork(Vec<Vertex>),
}

/// Some of the nodes.
#[derive(Debug)]
pub(crate) enum Mask {
    Few(Vec<NodeIx>),
    Many(Bitmap),
}

/// A tree in the course of a search.
pub(crate) enum Open {
    Leaf(usize, Cursor),
    Fork {
        /// The branches with room, those with the fewest tasks of the service first.
        order: BTreeSet<(u32, usize)>,
        branches: Vec<Open>,
    },
}

impl Default for Vertex {
    fn default() -> Self {
        Self::Fork(Vec::new())
    }
}

// === impl Tree ===

impl Tree {
    /// All nodes by the values of labels, outermost first.
    pub(crate) fn of(books: &Books, levels: &[Descriptor]) -> Arc<Self> {
        let mut by_values: BTreeMap<Vec<&str>, Vec<NodeIx>> = BTreeMap::new();
        for (ix, node) in books.nodes() {
            let values = levels.iter().map(|level| level.of(node.as_ref() as &Node)).collect();
            by_values.entry(values).or_default().push(ix);
        }
        let mut tree = Self { leaf_of: vec![None; books.len()], ..Self::default() };
        let leaves: Vec<_> = by_values.into_iter().collect();
        tree.root = tree.vertex(&leaves, 0, levels.len());
        Arc::new(tree)
    }

    fn vertex(&mut self, leaves: &[(Vec<&str>, Vec<NodeIx>)], level: usize, levels: usize) -> Vertex {
        if level < levels {
            let branches = leaves.chunk_by(|(a, _), (b, _)| a[level] == b[level]);
            return Vertex::Fork(branches.map(|branch| self.vertex(branch, level + 1, levels)).collect());
        }
        let leaf = self.leaves.len();
        let nodes: Vec<NodeIx> = leaves.iter().flat_map(|(_, nodes)| nodes).copied().collect();
        nodes.iter().for_each(|ix| self.leaf_of[*ix] = Some(leaf));
        self.leaves.push(if nodes.len() <= FEW { Mask::Few(nodes) } else { Mask::Many(nodes.into_iter().collect()) });
        Vertex::Leaf(leaf)
    }
}

// === impl Open ===

impl Open {
    /// With the active tasks of the service counted in every branch, also on nodes that take no more.
    pub(crate) fn of(tree: &Tree, levels: &Levels, strategy: Strategy) -> Self {
        let mut tasks = vec![0; tree.leaves.len()];
        for (ix, count) in levels.counts() {
            if let Some(Some(leaf)) = tree.leaf_of.get(ix) {
                tasks[*leaf] += count;
            }
        }
        Self::build(&tree.root, &tasks, strategy).0
    }

    fn build(vertex: &Vertex, tasks: &[u32], strategy: Strategy) -> (Self, u32) {
        match vertex {
            Vertex::Leaf(leaf) => (Self::Leaf(*leaf, Cursor::new(strategy)), tasks[*leaf]),
            Vertex::Fork(below) => {
                let built = below.iter().map(|vertex| Self::build(vertex, tasks, strategy));
                let (branches, counts): (Vec<_>, Vec<_>) = built.unzip();
                let sum = counts.iter().sum();
                let order = counts.into_iter().enumerate().map(|(branch, tasks)| (tasks, branch)).collect();
                (Self::Fork { order, branches }, sum)
            }
        }
    }

    /// The best node of the branch with the fewest tasks. A branch that has no room left leaves its share to the others.
    pub(crate) fn next(&mut self, tree: &Tree, fields: &Fields, now: &Situation<'_>) -> Option<NodeIx> {
        match self {
            Self::Leaf(leaf, cursor) => cursor.next(fields, now, Some(&tree.leaves[*leaf])),
            Self::Fork { order, branches } => {
                while let Some((_, branch)) = order.first() {
                    let found = branches[*branch].next(tree, fields, now);
                    if found.is_some() {
                        return found;
                    }
                    order.pop_first();
                }
                None
            }
        }
    }

    /// Looks at all nodes of each branch again.
    pub(crate) fn start_over(&mut self, strategy: Strategy) {
        match self {
            Self::Leaf(_, cursor) => *cursor = Cursor::new(strategy),
            Self::Fork { branches, .. } => branches.iter_mut().for_each(|branch| branch.start_over(strategy)),
        }
    }

    /// The node that was found last has taken a task.
    pub(crate) fn placed(&mut self) {
        if let Self::Fork { order, branches } = self
            && let Some((tasks, branch)) = order.pop_first()
        {
            branches[branch].placed();
            order.insert((tasks + 1, branch));
        }
    }
}
