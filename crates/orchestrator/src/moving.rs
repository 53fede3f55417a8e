//! Moves: giving the work of a task that runs to a new one, which the scheduler places anew.
//!
//! Whoever wants a task elsewhere says so with a [`Move`], which is written in one step. A move is no rollout: it changes
//! neither what a service asks for nor its update status, and what it made is no restart. Which comes first, stopping or
//! starting, and how many slots may be on the move, is as the update policy of the service says.
//!
//! A move that stops first leaves one task in the slot, which waits for the old one as any replacement does. One that
//! starts first leaves two, until the new one runs; if it fails instead, the old one stays.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Origin, Service, Task, TaskId, TaskState,
    wire::{update_config::UpdateOrder, update_status::UpdateState},
};
use swarmkit_runtime::Env;
use swarmkit_store::{StoreError, TaskBy, Transaction};

use crate::{
    policy::{self, Rolling},
    slot::{SlotKey, is_live},
    template::Template,
};

/// What the update policy of a service allows of moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovePolicy {
    /// How many slots may be on the move at a time, those included that rest; `None` is all.
    pub at_a_time: Option<u64>,
    /// How long a slot rests after its new task runs.
    pub delay: Duration,
    /// Whether the new task starts first, so that the slot always has one that runs.
    pub starts_first: bool,
}

/// The wish to have the work of a task done by a new one, elsewhere.
#[derive(Clone, Debug)]
pub struct Move {
    /// The service as it was when that was decided.
    pub service: Arc<Service>,
    /// The task that gives up its work.
    pub task: Arc<Task>,
    /// Why, for people.
    pub message: String,
}

// === impl MovePolicy ===

impl MovePolicy {
    /// What a service allows now. `None` while nothing of it may be moved: a rollout is under way or paused, it waits for
    /// something, or it is to be deleted.
    #[must_use]
    pub fn of(service: &Service) -> Option<Self> {
        let is_rolling = match policy::state(service) {
            None | Some(UpdateState::Unknown | UpdateState::Completed | UpdateState::RollbackCompleted) => false,
            Some(
                UpdateState::Updating
                | UpdateState::Paused
                | UpdateState::RollbackStarted
                | UpdateState::RollbackPaused,
            ) => true,
        };
        if is_rolling || service.waiting.is_some() || service.pending_delete {
            return None;
        }
        let rolling = Rolling::of(service);
        let starts_first = rolling.order == UpdateOrder::StartFirst;
        let unavailable = service.spec.update.as_ref().map_or(0, |update| update.max_unavailable);
        // A slot that stops first has no task that runs for a while.
        let most = (unavailable > 0 && !starts_first).then_some(unavailable);
        let at_a_time = rolling.parallelism.into_iter().chain(most).min();
        Some(Self { at_a_time, delay: rolling.delay, starts_first })
    }
}

// === impl Move ===

impl Move {
    /// What the new task would be: the record of the old one with what the service asks for now, on no node.
    #[must_use]
    pub fn prospective(&self) -> Task {
        let mut task = Task::clone(&self.task);
        task.spec = Arc::new(self.service.spec.task.clone().unwrap_or_default());
        task.spec_version = self.service.spec_version;
        task.node_id = None;
        task.assigned_generic_resources.clear();
        task.status.state = TaskState::Pending;
        task
    }

    /// Writes the move, if the service is still the same and the task still is all that its slot has, and runs where it
    /// did. Gives whether it was so.
    ///
    /// # Errors
    ///
    /// Those of the transaction.
    pub fn write(&self, tx: &mut Transaction, env: &Env) -> Result<bool, StoreError> {
        let (Some(policy), true) = (MovePolicy::of(&self.service), self.holds(tx)) else { return Ok(false) };
        let log_driver = tx.cluster().and_then(|cluster| cluster.spec.task_defaults.as_ref()?.log_driver.clone());
        let desired = if policy.starts_first { TaskState::Running } else { TaskState::Ready };
        let template = Template::of(&self.service, None);
        let (id, slot) = (TaskId::from(env.new_id()), SlotKey::Number(self.task.slot));
        let mut task = template.task(id, &slot, desired, log_driver.as_ref(), tx.now());
        task.status.message.clone_from(&self.message);
        let origin = Origin { replaces: self.task.id.to_string(), message: self.message.clone() };
        task.origin = Some(Arc::new(origin));
        if !policy.starts_first {
            tx.edit::<Task>(&self.task.id, |task| task.desired_state = TaskState::Shutdown)?;
        }
        tx.create(task)?;
        Ok(true)
    }

    fn holds(&self, tx: &Transaction) -> bool {
        let service = tx.get::<Service>(&self.service.id);
        let is_same = service.is_some_and(|stored| {
            (stored.spec_version, &stored.update_status, &stored.waiting, stored.pending_delete)
                == (
                    self.service.spec_version,
                    &self.service.update_status,
                    &self.service.waiting,
                    self.service.pending_delete,
                )
                && stored.spec == self.service.spec
        });
        let mut live = tx.find(TaskBy::Slot(&self.service.id, self.task.slot)).filter(|task| is_live(task));
        let runs = |task: &Arc<Task>| {
            task.id == self.task.id
                && task.node_id == self.task.node_id
                && (task.status.state, task.desired_state) == (TaskState::Running, TaskState::Running)
        };
        is_same && live.next().is_some_and(runs) && live.next().is_none()
    }
}

/// Two tasks of a slot that are both wanted because one of them is on its way to take the place of the other.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'t> {
    /// The one that goes on until the other runs.
    pub old: &'t Arc<Task>,
    /// The one that takes its place.
    pub new: &'t Arc<Task>,
}

/// The move that goes on among the wanted tasks of a slot, if there are no others.
#[must_use]
pub fn pair<'t>(live: &[&'t Arc<Task>]) -> Option<Pair<'t>> {
    let [one, other] = live else { return None };
    let replaces =
        |new: &Task, old: &Task| new.origin.as_ref().is_some_and(|origin| origin.replaces == old.id.as_str());
    match (replaces(other, one), replaces(one, other)) {
        (true, _) => Some(Pair { old: one, new: other }),
        (_, true) => Some(Pair { old: other, new: one }),
        _ => None,
    }
}

/// The task that has been replaced, when the move that goes on among those that stay has come to its end.
pub(crate) fn replaced<'t>(kept: &[&'t Arc<Task>]) -> Option<&'t Arc<Task>> {
    pair(kept).filter(|pair| pair.new.status.state == TaskState::Running).map(|pair| pair.old)
}
