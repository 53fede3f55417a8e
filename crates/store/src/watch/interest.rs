//! What a watcher wants to hear of.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{Kind, NodeId, ServiceId, Task, Volume};

use crate::{Change, Edit, Stored};

/// What a watcher wants to hear of: whole kinds, the tasks of some nodes or services, single objects.
///
/// The parts add up: a change is of interest if any of them selects it. An update is selected by what the object was as
/// well as by what it is, so a watcher of a node's tasks also sees a task leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub(super) kinds: Kinds,
    pub(super) nodes: BTreeSet<NodeId>,
    pub(super) volume_nodes: BTreeSet<NodeId>,
    pub(super) services: BTreeSet<ServiceId>,
    pub(super) objects: BTreeSet<(Kind, Arc<str>)>,
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kinds(u16);

impl Interest {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::none().kinds(Kind::ALL)
    }

    /// Nothing, to be added to.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// And all objects of these kinds.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        kinds.into_iter().for_each(|kind| self.kinds.insert(kind));
        self
    }

    /// And the tasks that are, or were until the change, on that node.
    #[must_use]
    pub fn tasks_of_node(mut self, node: NodeId) -> Self {
        self.nodes.insert(node);
        self
    }

    /// And the volumes of the cluster that are, or were until the change, published on that node, or on their way to or from it.
    #[must_use]
    pub fn volumes_of_node(mut self, node: NodeId) -> Self {
        self.volume_nodes.insert(node);
        self
    }

    /// And the tasks of that service.
    #[must_use]
    pub fn tasks_of_service(mut self, service: ServiceId) -> Self {
        self.services.insert(service);
        self
    }

    /// And the object with that id.
    #[must_use]
    pub fn object<O: Stored>(mut self, id: &O::Id) -> Self {
        self.objects.insert((O::KIND, id.as_ref().into()));
        self
    }

    /// Whether a change is of interest.
    #[must_use]
    pub fn selects(&self, change: &Change) -> bool {
        self.kinds.contains(change.kind())
            || self.objects.iter().any(|(kind, id)| *kind == change.kind() && id.as_ref() == change.id())
            || match change {
                Change::Task(edit) => {
                    nodes_of(edit).any(|node| self.nodes.contains(node))
                        || services_of(edit).any(|service| self.services.contains(service))
                }
                Change::Volume(edit) => {
                    !self.volume_nodes.is_empty()
                        && volume_nodes_of(edit)
                            .any(|node| self.volume_nodes.iter().any(|wanted| wanted.as_str() == node))
                }
                _ => false,
            }
    }

    /// Whether it is made of whole kinds only.
    pub(super) fn is_broad(&self) -> bool {
        self.nodes.is_empty() && self.volume_nodes.is_empty() && self.services.is_empty() && self.objects.is_empty()
    }
}

impl<const N: usize> From<[Kind; N]> for Interest {
    fn from(kinds: [Kind; N]) -> Self {
        Self::none().kinds(kinds)
    }
}

impl From<&[Kind]> for Interest {
    fn from(kinds: &[Kind]) -> Self {
        Self::none().kinds(kinds.iter().copied())
    }
}

impl From<Kind> for Interest {
    fn from(kind: Kind) -> Self {
        Self::none().kinds([kind])
    }
}

impl Kinds {
    pub(super) fn insert(&mut self, kind: Kind) {
        self.0 |= 1 << kind as u16;
    }

    pub(super) fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// Whether the two have a kind in common.
    pub(super) fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether `other` has no kind that this lacks.
    pub(super) fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
}

/// The nodes that a task was and is on, each once.
pub(super) fn nodes_of(edit: &Edit<Task>) -> impl Iterator<Item = &NodeId> {
    let before = edit.before.as_ref().and_then(|task| task.node_id.as_ref());
    let after = edit.after.as_ref().and_then(|task| task.node_id.as_ref());
    before.into_iter().chain(after.filter(|&node| before != Some(node)))
}

/// The nodes that a volume was and is published on, some perhaps twice.
pub(super) fn volume_nodes_of(edit: &Edit<Volume>) -> impl Iterator<Item = &str> {
    let entries = edit.before.iter().chain(&edit.after).flat_map(|volume| &volume.publish_status);
    entries.map(|entry| entry.node_id.as_str())
}

/// The services that a task belonged and belongs to, each once.
pub(super) fn services_of(edit: &Edit<Task>) -> impl Iterator<Item = &ServiceId> {
    let before = edit.before.as_ref().and_then(|task| task.service_id.as_ref());
    let after = edit.after.as_ref().and_then(|task| task.service_id.as_ref());
    before.into_iter().chain(after.filter(|&service| before != Some(service)))
}
