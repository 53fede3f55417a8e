//! Global services: one task on each node that may have it.

use std::{collections::BTreeSet, sync::Arc};

use swarmkit_api::{Node, NodeId, Service, Task, TaskState, constraint};

use crate::{
    decide::{Draft, is_over},
    fate::Fate,
    plan::Action,
    slot::{Slot, SlotKey, is_live},
    template::Template,
    world::Due,
};

/// So many tasks that were told to stop may be on their way out of a node before it gets another one: one for a node that
/// came back before it had stopped what it had, and one in case that happens again. A node that comes and goes without
/// ever being heard would otherwise be given one task each time.
const LEAVING_MAX: usize = 2;

impl Draft<'_> {
    /// The nodes that are due, also those that are gone but still have tasks.
    pub(crate) fn nodes(&self, due: &Due) -> BTreeSet<NodeId> {
        let known = self.world.nodes.keys().filter(|_| due.whole && !self.is_held).cloned();
        let slots = self.book.slots.keys().filter(|_| due.whole);
        known.chain(slots.chain(&due.slots).filter_map(|key| key.node().cloned())).collect()
    }

    /// Sees to it that a node has the task of a global service, or does not have it.
    pub(crate) fn keep_on_node(&mut self, service: &Service, template: &Arc<Template>, id: NodeId) {
        let node = self.world.nodes.get(&id).cloned();
        let fate = Fate::of(node.as_deref());
        let key = SlotKey::Node(id);
        let nothing = Slot::default();
        let slot = self.book.slots.get(&key).unwrap_or(&nothing);
        let Some(node) = node else { return self.forget(&key, slot) };
        if fate.is_bad() {
            return self.want(&key, slot.live().collect(), TaskState::Shutdown);
        }
        if !constraint::all_match(&self.book.constraints, &node) {
            // What the node itself has lost is for the enforcer to say, as long as it looks at the node.
            let left_to_enforcer =
                |task: &&Arc<Task>| fate == Fate::Fine && !is_over(task) && !own_constraints_match(task, &node);
            return self.want(&key, slot.live().filter(|task| !left_to_enforcer(task)).collect(), TaskState::Shutdown);
        }
        let may_replace = fate == Fate::Fine;
        self.tend(template, &key, may_replace);
        let leaving = slot.tasks().filter(|task| !is_live(task) && !is_over(task)).count();
        let is_owed_one = slot.updatable(service).is_empty() && leaving < LEAVING_MAX;
        if may_replace && is_owed_one && !self.touched.contains(&key) {
            self.create(template, key, TaskState::Running, Vec::new());
        }
    }

    /// The node is no member any more, and nothing will be heard of its tasks.
    pub(crate) fn forget(&mut self, key: &SlotKey, slot: &Slot) {
        let deletions = slot.tasks().map(|task| Action::Delete { task: task.clone() });
        self.step(key, deletions.collect());
    }
}

/// Whether a node still satisfies what the task itself was made with.
fn own_constraints_match(task: &Task, node: &Node) -> bool {
    let placement = task.spec.placement.as_ref();
    let constraints = placement.map(|placement| constraint::parse_all(&placement.constraints));
    constraints.is_none_or(|constraints| constraints.is_ok_and(|constraints| constraint::all_match(&constraints, node)))
}
