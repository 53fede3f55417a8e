//! Nodes by the values of labels: who shares a label shares a place.

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{Node, constraint::Label};

use crate::{
    bitmap::{Bitmap, first_common},
    books::{Books, NodeIx},
};

/// The nodes by the values of the labels that affinities name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    labels: BTreeMap<Label, Values>,
}

#[derive(Clone, Debug, Default)]
struct Values {
    of_node: BTreeMap<NodeIx, String>,
    nodes: BTreeMap<String, Bitmap>,
}

impl Places {
    /// Keeps the nodes by these labels, and by no others.
    pub(crate) fn keep(&mut self, wanted: &BTreeSet<&Label>, books: &Books) {
        self.labels.retain(|label, _| wanted.contains(label));
        for label in wanted {
            if !self.labels.contains_key(label) {
                let mut values = Values::default();
                for (ix, node) in books.nodes() {
                    values.set(ix, label.of(node));
                }
                self.labels.insert((*label).clone(), values);
            }
        }
    }

    /// Takes over a node's record. Gives whether it is in another place now.
    pub(crate) fn set(&mut self, ix: NodeIx, node: Option<&Node>) -> bool {
        let mut moved = false;
        for (label, values) in &mut self.labels {
            moved |= values.set(ix, node.map_or("", |node| label.of(node)));
        }
        moved
    }

    /// Takes over new numbers of the nodes.
    pub(crate) fn renumber(&mut self, moved: &[Option<NodeIx>]) {
        for values in self.labels.values_mut() {
            let old = std::mem::take(values);
            for (ix, value) in old.of_node {
                if let Some(Some(ix)) = moved.get(ix) {
                    values.set(*ix, &value);
                }
            }
        }
    }

    /// All nodes that share a place with one of these. A node without the label shares none, not with itself either.
    pub(crate) fn around(&self, scope: Option<&Label>, nodes: &Bitmap) -> Bitmap {
        let Some(label) = scope else { return nodes.clone() };
        let mut all = Bitmap::default();
        let places = self.labels.get(label).into_iter().flat_map(|values| values.nodes.values());
        for place in places.filter(|place| first_common(&[place, nodes], &[], 0).is_some()) {
            all.extend(place);
        }
        all
    }

    /// The nodes that share the place of one. A node without the label is alone.
    pub(crate) fn of(&self, scope: Option<&Label>, ix: NodeIx) -> Bitmap {
        let values = scope.and_then(|label| self.labels.get(label));
        let place = values.and_then(|values| values.nodes.get(values.of_node.get(&ix)?));
        place.cloned().unwrap_or_else(|| Bitmap::from_iter([ix]))
    }

    /// All nodes that have a label.
    pub(crate) fn all(&self, label: &Label) -> Bitmap {
        self.labels.get(label).into_iter().flat_map(|values| values.of_node.keys().copied()).collect()
    }

    /// Whether a node has the label.
    pub(crate) fn has(&self, scope: Option<&Label>, ix: NodeIx) -> bool {
        scope.is_none_or(|label| self.labels.get(label).is_some_and(|values| values.of_node.contains_key(&ix)))
    }
}

impl Values {
    /// Gives whether that is another value.
    fn set(&mut self, ix: NodeIx, value: &str) -> bool {
        if self.of_node.get(&ix).map_or("", String::as_str) == value {
            return false;
        }
        if let Some(before) = self.of_node.remove(&ix)
            && let Some(nodes) = self.nodes.get_mut(&before)
        {
            nodes.remove(ix);
            if nodes.is_empty() {
                self.nodes.remove(&before);
            }
        }
        if !value.is_empty() {
            self.of_node.insert(ix, value.to_owned());
            self.nodes.entry(value.to_owned()).or_default().insert(ix);
        }
        true
    }
}
