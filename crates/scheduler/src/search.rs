//! Which node is tried next: the least loaded first or the fullest, evenly over the branches of the placement preferences.
//!
//! A search is for tasks that need the same. It never looks back: a node that was tried either took a task, and is the
//! worse for it, or cannot take another. So all that is remembered is where it is, and the next node is the first bit that
//! a few sets of nodes have in common.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use swarmkit_api::wire::swarmkit::scheduling::v1 as scheduling;

use crate::{
    bitmap::{Bitmap, first_common},
    books::{NodeBook, NodeIx},
    branches::{Mask, Open, Tree},
    feasible::Class,
    loads::{Levels, Loads},
};

/// The nodes as they stand now, for one that looks for the next.
pub(crate) struct Situation<'d> {
    /// All nodes that are there, by their active tasks.
    pub(crate) loads: &'d Loads,
    /// Those that have active tasks of the service, by how many.
    pub(crate) levels: &'d Levels,
    pub(crate) book: &'d dyn Fn(NodeIx) -> &'d NodeBook,
}

/// Nodes that come after all others whatever their load, by how bad they are: those where the service keeps failing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiers {
    /// All nodes that are not in the first tier.
    worse: Bitmap,
    tiers: Vec<Bitmap>,
}

/// How a node is chosen among those that can run a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// The fewest tasks of the service, then the fewest of all.
    #[default]
    Spread,
    /// The largest share of its resources reserved, then the most tasks.
    BinPack,
}

/// A search for nodes for tasks that need the same.
pub(crate) struct Search {
    fields: Fields,
    shape: Shape,
}

/// What all branches of a search share.
pub(crate) struct Fields {
    class: Arc<Class>,
    tiers: Tiers,
    /// Nodes that cannot take another task.
    full: Bitmap,
}

enum Shape {
    Flat(Cursor),
    Tree(Arc<Tree>, Open),
}

/// Where a search among some nodes is.
#[derive(Clone, Debug)]
pub(crate) enum Cursor {
    Spread {
        tier: usize,
        level: u32,
        load: u32,
        from: NodeIx,
    },
    /// The nodes in their order, once they were put in it, and the one that is tried.
    BinPack {
        order: Option<Vec<NodeIx>>,
        at: usize,
    },
}

// === impl Strategy ===

impl Strategy {
    /// `None` when none is asked for.
    pub(crate) fn of(wire: scheduling::Strategy) -> Option<Self> {
        match wire {
            scheduling::Strategy::Unset => None,
            scheduling::Strategy::Spread => Some(Self::Spread),
            scheduling::Strategy::BinPack => Some(Self::BinPack),
        }
    }
}

// === impl Tiers ===

impl Tiers {
    /// Nodes by how bad they are; all others are better.
    pub(crate) fn of(bad: &BTreeMap<NodeIx, usize>) -> Self {
        let mut by_badness: BTreeMap<usize, Bitmap> = BTreeMap::new();
        for (ix, badness) in bad {
            by_badness.entry(*badness).or_default().insert(*ix);
        }
        Self { worse: bad.keys().copied().collect(), tiers: by_badness.into_values().collect() }
    }

    fn tier(&self, ix: NodeIx) -> usize {
        if !self.worse.contains(ix) {
            return 0;
        }
        self.tiers.iter().position(|tier| tier.contains(ix)).map_or(0, |tier| tier + 1)
    }
}

// === impl Search ===

impl Search {
    /// Over the nodes that `class` finds fit. With a tree, `levels` counts in its branches.
    pub(crate) fn new(
        class: Arc<Class>,
        tiers: Tiers,
        strategy: Strategy,
        tree: Option<Arc<Tree>>,
        levels: &Levels,
    ) -> Self {
        let shape = match tree {
            None => Shape::Flat(Cursor::new(strategy)),
            Some(tree) => {
                let open = Open::of(&tree, levels, strategy);
                Shape::Tree(tree, open)
            }
        };
        Self { fields: Fields { class, tiers, full: Bitmap::default() }, shape }
    }

    /// The node to try next. The same again until it is told what became of it.
    pub(crate) fn next(&mut self, now: &Situation<'_>) -> Option<NodeIx> {
        match &mut self.shape {
            Shape::Flat(cursor) => cursor.next(&self.fields, now, None),
            Shape::Tree(tree, open) => open.next(tree, &self.fields, now),
        }
    }

    /// The node cannot take a task.
    pub(crate) fn refuse(&mut self, ix: NodeIx) {
        self.fields.full.insert(ix);
    }

    /// The node has taken a task.
    pub(crate) fn placed(&mut self) {
        if let Shape::Tree(_, open) = &mut self.shape {
            open.placed();
        }
    }
}

// === impl Cursor ===

impl Cursor {
    pub(crate) fn new(strategy: Strategy) -> Self {
        match strategy {
            Strategy::Spread => Self::Spread { tier: 0, level: 0, load: 0, from: 0 },
            Strategy::BinPack => Self::BinPack { order: None, at: 0 },
        }
    }

    /// The best node of those in `mask`, or of all.
    pub(crate) fn next(&mut self, fields: &Fields, now: &Situation<'_>, mask: Option<&Mask>) -> Option<NodeIx> {
        match (self, mask) {
            (Self::BinPack { order, at }, mask) => {
                let order = order.get_or_insert_with(|| packed(fields, now, mask));
                *at += order[*at..].iter().take_while(|ix| fields.full.contains(**ix)).count();
                order.get(*at).copied()
            }
            (Self::Spread { .. }, Some(Mask::Few(nodes))) => {
                let open = nodes.iter().copied().filter(|ix| fields.is_open(*ix));
                open.min_by_key(|ix| {
                    let tier = fields.tiers.tier(*ix);
                    (tier, now.levels.count(*ix), (now.book)(*ix).active, *ix)
                })
            }
            (cursor @ Self::Spread { .. }, Some(Mask::Many(nodes))) => cursor.spread(fields, now, nodes),
            (cursor @ Self::Spread { .. }, None) => cursor.spread(fields, now, &fields.class.fit),
        }
    }

    /// Tier by tier, then by tasks of the service, then by tasks of all, then by number. What has taken a task is in
    /// another set from then on; what is full is in the set of those.
    fn spread(&mut self, fields: &Fields, now: &Situation<'_>, mask: &Bitmap) -> Option<NodeIx> {
        let Self::Spread { tier, level, load, from } = self else { return None };
        let fit = &fields.class.fit;
        let nothing = Bitmap::default();
        loop {
            let of_tier = if *tier == 0 { fit } else { fields.tiers.tiers.get(*tier - 1)? };
            let not_of_tier = if *tier == 0 { &fields.tiers.worse } else { &nothing };
            let (of_level, not_of_level) = match *level {
                0 => (fit, now.levels.any.as_ref()),
                level => (now.levels.by_count.get(level).unwrap_or(&nothing), &nothing),
            };
            for (of_load, nodes) in now.loads.from(*load) {
                if of_load != *load {
                    (*load, *from) = (of_load, 0);
                }
                let all = [nodes, fit, mask, of_level, of_tier];
                if let Some(ix) = first_common(&all, &[&fields.full, not_of_tier, not_of_level], *from) {
                    *from = ix;
                    return Some(ix);
                }
            }
            (*load, *from) = (0, 0);
            match now.levels.by_count.from(*level + 1).next() {
                Some((next, _)) => *level = next,
                None => (*tier, *level) = (*tier + 1, 0),
            }
        }
    }
}

impl Fields {
    fn is_open(&self, ix: NodeIx) -> bool {
        self.class.fit.contains(ix) && !self.full.contains(ix)
    }
}

/// The fullest first. A node that takes a task is fuller than before, so it goes on being the first until it is full.
fn packed(fields: &Fields, now: &Situation<'_>, mask: Option<&Mask>) -> Vec<NodeIx> {
    let nodes: Vec<NodeIx> = match mask {
        Some(Mask::Few(nodes)) => nodes.clone(),
        Some(Mask::Many(nodes)) => nodes.iter().collect(),
        None => fields.class.fit.iter().collect(),
    };
    let mut order: Vec<NodeIx> = nodes.into_iter().filter(|ix| fields.is_open(*ix)).collect();
    order.sort_by_cached_key(|ix| {
        let book = (now.book)(*ix);
        (fields.tiers.tier(*ix), Reverse(book.share()), Reverse(book.active), *ix)
    });
    order
}
