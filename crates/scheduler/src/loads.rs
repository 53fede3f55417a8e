//! Nodes by how many tasks they have: of all services, and of one.

use std::{collections::BTreeMap, sync::Arc};

use crate::{bitmap::Bitmap, books::NodeIx};

/// From how many nodes on a service keeps them by number all the time. For fewer that is worked out when it is asked for:
/// most services are small, and a set of nodes takes a bit for each node of the cluster.
const KEPT_FROM: usize = 256;

/// Sets of nodes by a number. A copy shares what neither of the two has changed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Loads(BTreeMap<u32, Arc<Bitmap>>);

/// The nodes that have active tasks of a service, by how many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Levels {
    /// All of them.
    pub(crate) any: Arc<Bitmap>,
    pub(crate) by_count: Loads,
}

/// How many active tasks of a service are on each node that has any.
#[derive(Clone, Debug, Default)]
pub(crate) struct OfService {
    counts: BTreeMap<NodeIx, u32>,
    kept: Option<Levels>,
}

// === impl Loads ===

impl Loads {
    /// Moves a node from one number to another. `None` is nowhere.
    pub(crate) fn shift(&mut self, node: NodeIx, from: Option<u32>, to: Option<u32>) {
        if from == to {
            return;
        }
        if let Some(from) = from
            && let Some(nodes) = self.0.get_mut(&from)
        {
            if nodes.len() == 1 && nodes.contains(node) {
                self.0.remove(&from);
            } else {
                Arc::make_mut(nodes).remove(node);
            }
        }
        if let Some(to) = to {
            Arc::make_mut(self.0.entry(to).or_default()).insert(node);
        }
    }

    /// The nodes of each number from `from` on, ascending.
    pub(crate) fn from(&self, from: u32) -> impl Iterator<Item = (u32, &Bitmap)> {
        self.0.range(from..).map(|(number, nodes)| (*number, nodes.as_ref()))
    }

    /// The nodes of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Bitmap> {
        self.0.get(&number).map(AsRef::as_ref)
    }
}

// === impl Levels ===

impl Levels {
    pub(crate) fn count(&self, node: NodeIx) -> u32 {
        if !self.any.contains(node) {
            return 0;
        }
        self.by_count.from(1).find(|(_, nodes)| nodes.contains(node)).map_or(0, |(count, _)| count)
    }

    /// The nodes and how many tasks each has.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (NodeIx, u32)> {
        self.by_count.from(1).flat_map(|(count, nodes)| nodes.iter().map(move |node| (node, count)))
    }

    pub(crate) fn shift(&mut self, node: NodeIx, from: u32, to: u32) {
        self.by_count.shift(node, (from > 0).then_some(from), (to > 0).then_some(to));
        match (from, to) {
            (0, 1..) => drop(Arc::make_mut(&mut self.any).insert(node)),
            (1.., 0) => drop(Arc::make_mut(&mut self.any).remove(node)),
            _ => {}
        }
    }
}

// === impl OfService ===

impl OfService {
    pub(crate) fn of(counts: impl IntoIterator<Item = (NodeIx, u32)>) -> Self {
        let mut of_service = Self { counts: counts.into_iter().collect(), kept: None };
        of_service.keep();
        of_service
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (NodeIx, u32)> {
        self.counts.iter().map(|(node, count)| (*node, *count))
    }

    pub(crate) fn count(&self, node: NodeIx) -> u32 {
        self.counts.get(&node).copied().unwrap_or(0)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn add(&mut self, node: NodeIx, by: i32) {
        let before = self.count(node);
        let after = before.saturating_add_signed(by);
        match after {
            0 => self.counts.remove(&node),
            _ => self.counts.insert(node, after),
        };
        match &mut self.kept {
            Some(levels) => levels.shift(node, before, after),
            None => self.keep(),
        }
        if self.counts.len() < KEPT_FROM / 2 {
            self.kept = None;
        }
    }

    /// The nodes by how many tasks they have.
    pub(crate) fn levels(&self) -> Levels {
        self.kept.clone().unwrap_or_else(|| self.sorted())
    }

    fn keep(&mut self) {
        if self.counts.len() >= KEPT_FROM {
            self.kept = Some(self.sorted());
        }
    }

    fn sorted(&self) -> Levels {
        let mut levels = Levels::default();
        self.counts.iter().for_each(|(node, count)| levels.shift(*node, 0, *count));
        levels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_service_keeps_what_a_small_one_works_out() {
        let mut of_service = OfService::default();
        for round in 0..3 {
            for node in 0..KEPT_FROM + 10 {
                if node % 3 >= round {
                    of_service.add(node, 1);
                }
            }
        }
        assert!(of_service.kept.is_some());
        let anew = of_service.sorted();
        assert_eq!(of_service.levels().counts().collect::<Vec<_>>(), anew.counts().collect::<Vec<_>>());
        assert_eq!(of_service.levels().any.iter().collect::<Vec<_>>(), anew.any.iter().collect::<Vec<_>>());
        (0..KEPT_FROM + 10).for_each(|node| of_service.add(node, -3));
        assert!(of_service.is_empty() && of_service.kept.is_none());
    }
}
