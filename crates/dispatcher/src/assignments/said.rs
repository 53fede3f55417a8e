//! What has yet to be said to a node, and how the wire says it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use swarmkit_api::{Config, Object as _, Secret, Task, TaskId, VolumeId, wire};
use wire::{assignment::Item, assignment_change::AssignmentAction};

/// Something that tasks and volumes need on the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dependency {
    Secret(String),
    Config(String),
}

/// What has to be said, in the order in which a node can use it: what tasks need, tasks, what nobody needs any more.
#[derive(Default)]
pub(super) struct Said {
    pub(super) needed: BTreeMap<Dependency, Given>,
    pub(super) volumes: BTreeMap<VolumeId, (AssignmentAction, wire::VolumeAssignment)>,
    pub(super) tasks: BTreeMap<TaskId, Option<Arc<Task>>>,
    pub(super) unneeded: BTreeSet<Dependency>,
}

pub(super) enum Given {
    Secret(Arc<Secret>),
    Config(Arc<Config>),
}

// === impl Said ===

impl Said {
    pub(super) fn is_empty(&self) -> bool {
        self.needed.is_empty() && self.volumes.is_empty() && self.tasks.is_empty() && self.unneeded.is_empty()
    }

    /// Has something said that the node needs.
    pub(super) fn give(&mut self, dependency: Dependency, given: Given) {
        self.unneeded.remove(&dependency);
        self.needed.insert(dependency, given);
    }

    pub(super) fn take(&mut self, limit: usize) -> Vec<wire::AssignmentChange> {
        let mut changes = Vec::new();
        while changes.len() < limit {
            let change = if let Some((_, given)) = self.needed.pop_first() {
                update(given.item())
            } else if let Some((_, (action, volume))) = self.volumes.pop_first() {
                change(action, Item::Volume(volume))
            } else if let Some((id, task)) = self.tasks.pop_first() {
                match task {
                    Some(task) => update(Item::Task(task.to_wire())),
                    None => remove(Item::Task(wire::Task { id: id.into(), ..Default::default() })),
                }
            } else if let Some(dependency) = self.unneeded.pop_first() {
                remove(dependency.bare_item())
            } else {
                break;
            };
            changes.push(change);
        }
        changes
    }
}

impl Given {
    fn item(&self) -> Item {
        match self {
            Self::Secret(secret) => Item::Secret(secret.to_wire()),
            Self::Config(config) => Item::Config(config.to_wire()),
        }
    }
}

impl Dependency {
    /// The item with nothing but an id, which is all that a removal says.
    fn bare_item(self) -> Item {
        match self {
            Self::Secret(id) => Item::Secret(wire::Secret { id, ..Default::default() }),
            Self::Config(id) => Item::Config(wire::Config { id, ..Default::default() }),
        }
    }
}

fn update(item: Item) -> wire::AssignmentChange {
    change(AssignmentAction::Update, item)
}

fn remove(item: Item) -> wire::AssignmentChange {
    change(AssignmentAction::Remove, item)
}

fn change(action: AssignmentAction, item: Item) -> wire::AssignmentChange {
    wire::AssignmentChange { assignment: Some(wire::Assignment { item: Some(item) }), action: action.into() }
}
