//! Which node is tried next: the least loaded first or the fullest, evenly over the branches of the placement preferences.
//!
//! A search is for tasks that need the same. It never looks back: a node that was tried either took a task, and is the
//! worse for it, or cannot take another. So all that is remembered is where it is, and the next node is the first bit that
//! a few sets of nodes have in common.

use std::{cmp::Reverse, collections::BTreeMap, ops::Bound, sync::Arc};

use swarmkit_api::wire::swarmkit::scheduling::v1 as scheduling;

use crate::{
    affinity::Effect,
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

/// How bad nodes are whatever their load. Most are neither better nor worse than others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tiers {
    /// All nodes that are better or worse.
    others: Bitmap,
    tiers: BTreeMap<Badness, Bitmap>,
}

/// How bad a node is. The default is that of most nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Badness {
    /// How often the service failed there of late, if that was too often.
    failures: usize,
    /// How many wishes it goes against, less those that it fulfills.
    wishes: i32,
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
    strategy: Strategy,
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
        /// None yet: the first.
        tier: Option<Badness>,
        level: u32,
        load: u32,
        from: NodeIx,
    },
    /// The nodes in their order, once they were put in it, and the one that is tried.
    BinPack { order: Option<Vec<NodeIx>>, at: usize },
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
    /// Of nodes where the service fails, and how often.
    pub(crate) fn of(faulty: &BTreeMap<NodeIx, usize>) -> Self {
        let mut tiers = Self::default();
        for (ix, failures) in faulty {
            tiers.put(*ix, Badness { failures: *failures, wishes: 0 });
        }
        tiers
    }

    /// Makes a node worse for wishes, or better if it is below zero.
    fn shift(&mut self, ix: NodeIx, by: i32) {
        let badness = self.tier(ix);
        self.put(ix, Badness { wishes: badness.wishes + by, ..badness });
    }

    fn put(&mut self, ix: NodeIx, badness: Badness) {
        if self.others.remove(ix) {
            self.tiers.retain(|_, tier| !tier.remove(ix) || !tier.is_empty());
        }
        if badness != Badness::default() {
            self.others.insert(ix);
            self.tiers.entry(badness).or_default().insert(ix);
        }
    }

    fn tier(&self, ix: NodeIx) -> Badness {
        if !self.others.contains(ix) {
            return Badness::default();
        }
        self.tiers.iter().find(|(_, tier)| tier.contains(ix)).map_or_else(Badness::default, |(badness, _)| *badness)
    }

    /// The tier that comes after one, or the first.
    fn after(&self, tier: Option<Badness>) -> Option<Badness> {
        let other = match tier {
            Some(tier) => self.tiers.range((Bound::Excluded(tier), Bound::Unbounded)).next(),
            None => self.tiers.first_key_value(),
        };
        let middle = Some(Badness::default()).filter(|middle| tier.is_none_or(|tier| tier < *middle));
        other.map(|(badness, _)| *badness).into_iter().chain(middle).min()
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
        Self { fields: Fields { class, tiers, full: Bitmap::default() }, shape, strategy }
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

    /// Takes over what company those who are there, or have just come, are to others.
    pub(crate) fn take_over(&mut self, effect: &Effect) {
        match effect {
            Effect::Refuse(nodes) => self.fields.full.extend(nodes),
            Effect::Confine(nodes) => {
                let others = self.fields.class.fit.iter().filter(|ix| !nodes.contains(*ix));
                self.fields.full.extend(&others.collect());
            }
            Effect::Shift(nodes, by) => {
                nodes.iter().for_each(|ix| self.fields.tiers.shift(ix, *by));
                // What is worse now is still ahead, but not in an order that was made before.
                if *by < 0 || self.strategy == Strategy::BinPack {
                    self.start_over();
                }
            }
        }
    }

    fn start_over(&mut self) {
        match &mut self.shape {
            Shape::Flat(cursor) => *cursor = Cursor::new(self.strategy),
            Shape::Tree(_, open) => open.start_over(self.strategy),
        }
    }

    /// Whether a node will do as far as its record goes.
    pub(crate) fn is_fit(&self, ix: NodeIx) -> bool {
        self.fields.class.fit.contains(ix)
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
            Strategy::Spread => Self::Spread { tier: None, level: 0, load: 0, from: 0 },
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
        let mut this = tier.or_else(|| fields.tiers.after(None))?;
        loop {
            *tier = Some(this);
            let is_middle = this == Badness::default();
            let of_tier = if is_middle { fit } else { fields.tiers.tiers.get(&this).unwrap_or(&nothing) };
            let not_of_tier = if is_middle { &fields.tiers.others } else { &nothing };
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
                None => {
                    this = fields.tiers.after(Some(this))?;
                    *level = 0;
                }
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
