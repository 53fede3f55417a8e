//! Which tasks share a slot.
//!
//! A task that takes the place of another, and starts before that one stops, is not kept apart from it: on a cluster
//! where every place has its task, a service could otherwise not be changed at all.

use std::collections::{BTreeMap, BTreeSet};

use swarmkit_api::{NodeId, ServiceId, Task};

/// Where the tasks of each slot are, of services whose tasks are to be apart from each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Mates {
    services: BTreeMap<ServiceId, BTreeMap<u64, BTreeMap<NodeId, u32>>>,
    /// Those of which tasks were not counted from the beginning.
    uncounted: BTreeSet<ServiceId>,
}

impl Mates {
    /// Whether a service is one of them from now on.
    pub(super) fn watch(&mut self, service: &ServiceId, watched: bool) {
        if !watched {
            self.services.remove(service);
            self.uncounted.remove(service);
        } else if !self.services.contains_key(service) {
            self.services.insert(service.clone(), BTreeMap::new());
            self.uncounted.insert(service.clone());
        }
    }

    /// Whether a service is one of them.
    pub(super) fn watches(&self, service: &ServiceId) -> bool {
        self.services.contains_key(service)
    }

    /// Counts a task on its node.
    pub(super) fn count(&mut self, task: &Task, by: i32) {
        let (Some(service), Some(node)) = (&task.service_id, &task.node_id) else { return };
        let Some(slots) = self.services.get_mut(service) else { return };
        let nodes = slots.entry(task.slot).or_default();
        match nodes.get(node).copied().unwrap_or(0).saturating_add_signed(by) {
            0 => nodes.remove(node),
            count => nodes.insert(node.clone(), count),
        };
        if nodes.is_empty() {
            slots.remove(&task.slot);
        }
    }

    /// Counts the tasks of services that were not counted from the beginning.
    pub(super) fn recount<'t, T: Iterator<Item = &'t Task>>(&mut self, placed: impl Fn(&ServiceId) -> T) {
        for service in std::mem::take(&mut self.uncounted) {
            self.services.insert(service.clone(), BTreeMap::new());
            placed(&service).for_each(|task| self.count(task, 1));
        }
    }

    /// The nodes that have tasks of the same slot as a task, and how many. Tasks without slots are made for a node: only
    /// what is on it is replaced by them.
    pub(super) fn of<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = (&'a NodeId, u32)> {
        let slots = task.service_id.as_ref().and_then(|service| self.services.get(service));
        let nodes = slots.and_then(|slots| slots.get(&task.slot)).into_iter().flatten();
        let nodes = nodes.filter(|(node, _)| task.slot > 0 || task.node_id.as_ref() == Some(node));
        nodes.map(|(node, count)| (node, *count))
    }
}
