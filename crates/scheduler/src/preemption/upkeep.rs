//! What the scheduler knows about room, kept up change by change.

use std::sync::Arc;

use swarmkit_api::{Service, ServiceId, Task};
use swarmkit_store::{State, View};

use super::{Claims, Limited, asked_priority, claim, is_as_important};
use crate::{
    volumes::Waiter,
    world::{Standing, World, standing},
};

/// What is known about room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Room that is kept for tasks.
    pub(crate) claims: Claims,
    /// Services whose tasks would have made room for others, if they could have been spared.
    limited: Limited,
    /// How many services ask for a priority.
    important: usize,
    /// All that there is, if any service asks for a priority. Nobody else looks at it.
    view: Option<View>,
}

impl World {
    /// What there is, as far as it was taken over.
    pub(crate) fn state(&self) -> Option<&State> {
        self.room.view.as_deref()
    }

    /// Takes it over, when all that has changed is absorbed.
    pub(crate) fn keep_view(&mut self, view: &View) {
        self.room.view = self.has_priorities().then(|| view.clone());
    }

    /// Whether any service asks for a priority.
    pub(crate) fn has_priorities(&self) -> bool {
        self.room.important > 0
    }

    /// Takes over what a service says about who makes room for whom.
    pub(crate) fn absorb_priority(&mut self, before: Option<&Arc<Service>>, after: Option<&Arc<Service>>) {
        let asks = |service: Option<&Arc<Service>>| usize::from(asked_priority(service.map(AsRef::as_ref)).is_some());
        self.room.important = self.room.important + asks(after) - asks(before);
        let (Some(before), Some(after)) = (before, after) else { return };
        if !is_as_important(Some(before), Some(after)) {
            self.due.everything = true;
        }
        self.wake_for(&after.id);
    }

    /// Who might have got room from whom, as far as nothing has happened there since.
    pub(crate) fn limited(&self) -> &Limited {
        &self.room.limited
    }

    /// Remembers who might have got room from whom.
    pub(crate) fn note_limited(&mut self, limited: Limited) {
        for (service, waiters) in limited {
            self.room.limited.entry(service).or_default().extend(waiters);
        }
    }

    /// Something happened to a service. Whoever might have got room from its tasks is looked at again: it may be able to
    /// spare more now.
    pub(crate) fn wake_for(&mut self, service: &ServiceId) {
        if self.room.limited.is_empty() {
            return;
        }
        for waiter in self.room.limited.remove(service).unwrap_or_default() {
            match waiter {
                Waiter::Group(key) => self.unblock(key),
                Waiter::Node(node) => drop(self.due.preassigned.insert(node)),
            }
        }
    }

    /// A task is no longer what it was, and room that it claimed is not kept any more unless it still waits for the same, or
    /// has it now.
    pub(crate) fn give_up_claim(&mut self, task: &Task, after: Option<&Task>) {
        let Some(node) = self.room.claims.remove(task) else { return };
        let is_same = |after: &Task| match standing(after) {
            Standing::Waiting | Standing::Preassigned(_) => {
                claim(after).is_some_and(|claim| claim.node_id == node.as_str())
            }
            Standing::Placed(on) => *on == node,
            Standing::Ignored | Standing::Stopped => false,
        };
        if !after.is_some_and(is_same) {
            self.due.freed.insert(node);
        }
    }
}
