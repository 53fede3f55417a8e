//! Who is told of a change: found by what changed, so that a delta costs what its readers cost.

use std::{collections::BTreeMap, sync::Arc};

use swarmkit_api::{Kind, NodeId, ServiceId};

use super::{
    Delta, Interest, Mailbox,
    interest::{Kinds, nodes_of, services_of, volume_nodes_of},
};
use crate::Change;

/// What tells one watch from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId(u64);

/// All watches of a store.
///
/// Those of whole kinds are grouped by the kinds, so that a group shares one list of changes. All others are found from
/// the node, the service or the id of what changed.
#[derive(Default)]
pub(crate) struct Router {
    last: u64,
    broad: BTreeMap<Kinds, BTreeMap<WatchId, Arc<Mailbox>>>,
    narrow: BTreeMap<WatchId, Arc<Mailbox>>,
    interests: BTreeMap<WatchId, Interest>,
    by_kind: Readers<Kind>,
    by_node: Readers<NodeId>,
    by_volume_node: Readers<NodeId>,
    by_service: Readers<ServiceId>,
    by_object: Readers<(Kind, Arc<str>)>,
}

/// Watches by what they watch.
struct Readers<K>(BTreeMap<K, Vec<WatchId>>);

impl<K> Default for Readers<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone> Readers<K> {
    fn add(&mut self, key: &K, id: WatchId) {
        self.0.entry(key.clone()).or_default().push(id);
    }

    fn remove(&mut self, key: &K, id: WatchId) {
        if let Some(watches) = self.0.get_mut(key) {
            watches.retain(|&other| other != id);
            if watches.is_empty() {
                self.0.remove(key);
            }
        }
    }

    fn of(&self, key: &K) -> &[WatchId] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Router {
    pub(crate) fn add(&mut self, interest: Interest, mailbox: Arc<Mailbox>) -> WatchId {
        self.last += 1;
        let id = WatchId(self.last);
        if interest.is_broad() {
            self.broad.entry(interest.kinds).or_default().insert(id, mailbox);
        } else {
            self.narrow.insert(id, mailbox);
            Kind::ALL.iter().filter(|&&kind| interest.kinds.contains(kind)).for_each(|kind| self.by_kind.add(kind, id));
            interest.nodes.iter().for_each(|node| self.by_node.add(node, id));
            interest.volume_nodes.iter().for_each(|node| self.by_volume_node.add(node, id));
            interest.services.iter().for_each(|service| self.by_service.add(service, id));
            interest.objects.iter().for_each(|object| self.by_object.add(object, id));
        }
        self.interests.insert(id, interest);
        id
    }

    pub(crate) fn remove(&mut self, id: WatchId) {
        let Some(interest) = self.interests.remove(&id) else { return };
        if let Some(group) = self.broad.get_mut(&interest.kinds) {
            group.remove(&id);
            if group.is_empty() {
                self.broad.remove(&interest.kinds);
            }
        }
        if self.narrow.remove(&id).is_some() {
            Kind::ALL.iter().for_each(|kind| self.by_kind.remove(kind, id));
            interest.nodes.iter().for_each(|node| self.by_node.remove(node, id));
            interest.volume_nodes.iter().for_each(|node| self.by_volume_node.remove(node, id));
            interest.services.iter().for_each(|service| self.by_service.remove(service, id));
            interest.objects.iter().for_each(|object| self.by_object.remove(object, id));
        }
    }

    /// Tells every watcher that is interested.
    pub(crate) fn publish(&self, delta: &Delta) {
        let mut touched = Kinds::default();
        delta.changes.iter().for_each(|change| touched.insert(change.kind()));
        for (&kinds, group) in self.broad.iter().filter(|(kinds, _)| kinds.meets(touched)) {
            let delta = if kinds.covers(touched) {
                delta.clone()
            } else {
                select(delta, delta.changes.iter().filter(|change| kinds.contains(change.kind())))
            };
            group.values().for_each(|mailbox| mailbox.push(delta.clone()));
        }
        if !self.narrow.is_empty() {
            self.publish_narrow(delta);
        }
    }

    fn publish_narrow(&self, delta: &Delta) {
        let mut readers: BTreeMap<WatchId, Vec<usize>> = BTreeMap::new();
        for (position, change) in delta.changes.iter().enumerate() {
            self.each_reader(change, |id| {
                let positions = readers.entry(id).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            });
        }
        for (id, positions) in readers {
            if let Some(mailbox) = self.narrow.get(&id) {
                mailbox.push(select(delta, positions.iter().map(|&position| &delta.changes[position])));
            }
        }
    }

    /// Every narrow watcher of a change, some perhaps twice.
    fn each_reader(&self, change: &Change, mut tell: impl FnMut(WatchId)) {
        self.by_kind.of(&change.kind()).iter().for_each(|&id| tell(id));
        if !self.by_object.0.is_empty() {
            self.by_object.of(&(change.kind(), change.id().into())).iter().for_each(|&id| tell(id));
        }
        match change {
            Change::Task(edit) => {
                nodes_of(edit).flat_map(|node| self.by_node.of(node)).for_each(|&id| tell(id));
                services_of(edit).flat_map(|service| self.by_service.of(service)).for_each(|&id| tell(id));
            }
            Change::Volume(edit) if !self.by_volume_node.0.is_empty() => {
                let nodes = volume_nodes_of(edit).map(NodeId::from);
                nodes.for_each(|node| self.by_volume_node.of(&node).iter().for_each(|&id| tell(id)));
            }
            _ => {}
        }
    }

    /// Makes every watcher start over.
    pub(crate) fn resync(&self) {
        self.mailboxes().for_each(|mailbox| mailbox.resync());
    }

    /// Ends every watch.
    pub(crate) fn end(&self) {
        self.mailboxes().for_each(|mailbox| mailbox.end());
    }

    fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.broad.values().flat_map(BTreeMap::values).chain(self.narrow.values())
    }
}

/// The same delta with some of its changes.
fn select<'a>(delta: &Delta, changes: impl Iterator<Item = &'a Change>) -> Delta {
    Delta { version: delta.version, changes: changes.cloned().collect(), view: delta.view.clone() }
}
