//! The reaper: deletes tasks that nobody asks about any more.
//!
//! Of each slot so many tasks are kept as history, the newest ones. Tasks that were told to be removed go as soon as
//! they have stopped.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use swarmkit_api::{Cluster, Kind, Service, ServiceId, Task, TaskId, TaskState, wire::update_status::UpdateState};
use swarmkit_runtime::Env;
use swarmkit_store::{Change, Edit, State, Store, StoreError, TaskBy, Transaction, Update, View};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    jobs::runs::{Stage, max_failures, stage},
    keeper::{Keeper, keep},
    policy::{self, HISTORY_LIMIT, Restart, Shape},
    rollout::is_made_by_rollout,
    slot::{Place, Slot, SlotKey, is_failure, is_live},
    world::is_default,
};

/// Reaps until told to stop.
///
/// # Errors
///
/// When this manager leads no more, or its store was closed.
pub async fn run(env: Env, store: Store, stop: CancellationToken) -> Result<(), Error> {
    keep::<Reaper>(env, store, stop).await
}

#[derive(Default)]
struct Reaper {
    view: Option<View>,
    /// Everything has to be looked at.
    everything: bool,
    slots: BTreeSet<(ServiceId, SlotKey)>,
    /// Tasks that may have to go whatever their slot.
    tasks: BTreeSet<TaskId>,
}

impl Keeper for Reaper {
    const NAME: &str = "reaper";
    const KINDS: &[Kind] = &[Kind::Cluster, Kind::Service, Kind::Task];
    const SEES_ITS_WRITES: bool = true;
    type Write = Arc<Task>;

    fn absorb(&mut self, update: &Update) {
        match update {
            Update::Snapshot(_) => self.everything = true,
            Update::Delta(delta) => {
                for change in delta.changes.iter() {
                    match change {
                        Change::Cluster(Edit { before, after }) => {
                            self.everything |= before.as_deref().map(limit) != after.as_deref().map(limit);
                        }
                        // What a rollout needed to know, or a run of a job, is history when it is over.
                        Change::Service(Edit { before: Some(before), after: Some(after) })
                            if (is_rolling(before) && !is_rolling(after)) || before.runs != after.runs =>
                        {
                            let tasks = delta.view.find(TaskBy::Service(&after.id));
                            tasks.for_each(|task| self.mark(task, &delta.view));
                        }
                        Change::Task(Edit { before, after: Some(task) })
                            if before.as_ref().is_none_or(|before| matters(before, task)) =>
                        {
                            self.mark(task, &delta.view);
                        }
                        _ => {}
                    }
                }
            }
        }
        self.view = Some(update.view().clone());
    }

    fn plan(&mut self) -> Vec<Arc<Task>> {
        let Some(view) = self.view.clone() else { return Vec::new() };
        if std::mem::take(&mut self.everything) {
            view.all::<Task>().for_each(|task| self.mark(task, &view));
        }
        let history_limit = view.cluster().map_or(HISTORY_LIMIT, |cluster| limit(cluster));
        let mut gone = Vec::new();
        for (service, key) in std::mem::take(&mut self.slots) {
            let Some(service) = view.get::<Service>(&service) else { continue };
            let slot = slot_of(&view, &service.id, &key);
            gone.extend(surplus(service, &slot, history_limit));
        }
        let tasks = std::mem::take(&mut self.tasks);
        gone.extend(tasks.iter().filter_map(|id| view.get::<Task>(id)).filter(|task| is_finished(task)).cloned());
        gone
    }

    fn write(task: &Arc<Task>, tx: &mut Transaction) -> Result<bool, StoreError> {
        if tx.get::<Task>(&task.id).is_some_and(|stored| {
            // What a job has finished stays wanted; whether it still counts was looked at before.
            let is_done = stored.job_iteration.is_some() && stored.status.state > TaskState::Running;
            is_over(stored) && (is_finished(stored) || !is_live(stored) || is_done)
        }) {
            tx.delete::<Task>(&task.id)?;
        }
        Ok(true)
    }

    fn again(&mut self, task: &Arc<Task>) {
        if let Some(view) = self.view.clone() {
            self.mark(task, &view);
        }
    }
}

impl Reaper {
    fn mark(&mut self, task: &Task, state: &State) {
        if is_finished(task) {
            self.tasks.insert(task.id.clone());
        }
        if let Some(service) = task.service_id.as_ref().and_then(|service| state.get::<Service>(service)) {
            let is_per_node = Shape::of(service).is_some_and(Shape::is_per_node);
            // Runs that are kept are kept with their history; of a job without a schedule it is one for all of them.
            let key = if service.spec.schedule.is_some() { SlotKey::of } else { SlotKey::across_runs };
            self.slots.insert((service.id.clone(), key(task, is_per_node)));
        }
    }
}

/// The tasks of a slot that are more than are kept, oldest first.
///
/// A task is kept as long as it says something about what comes next: the last one of a slot without a live one, those
/// that tell how often and how soon the slot is tried again, what a job has completed, and the one by which a rollout
/// that is under way judges the slot.
fn surplus(service: &Service, slot: &Slot, history_limit: i64) -> Vec<Arc<Task>> {
    let attempts = service.spec.task.as_ref().map_or(0, |spec| Restart::of(spec).max_attempts);
    let limit = match i64::try_from(attempts).unwrap_or(i64::MAX) {
        0 => history_limit,
        attempts => attempts.saturating_add(1),
    };
    let Ok(limit) = usize::try_from(limit) else { return Vec::new() };
    let goes_on = |task: &Task| task.job_iteration.is_some_and(|iteration| stage(service, iteration) == Stage::GoesOn);
    let counts_failures = max_failures(service).is_some();
    let is_result = |task: &Task| {
        (task.status.state == TaskState::Complete || (counts_failures && is_failure(task))) && goes_on(task)
    };
    let kept: Vec<_> = slot.tasks().filter(|task| task.desired_state < TaskState::Remove && !is_result(task)).collect();
    let newest = if slot.live().next().is_none() { slot.tasks().next_back() } else { None };
    let judged = slot.tasks().find(|task| is_rolling(service) && is_made_by_rollout(service, slot, task));
    let before = judged.and_then(|task| slot.before(task));
    let telling = slot.telling();
    let tells = |task: &Task| {
        telling.contains(&task.id) || [newest, judged, before].into_iter().flatten().any(|other| other.id == task.id)
    };
    let is_wanted = |task: &Task| is_live(task) && (task.job_iteration.is_none() || goes_on(task));
    let disposable = kept.iter().filter(|task| !is_wanted(task) && is_over(task) && !tells(task));
    disposable.take(kept.len().saturating_sub(limit)).map(|task| Arc::clone(task)).collect()
}

fn slot_of(state: &State, service: &ServiceId, key: &SlotKey) -> Slot {
    let tasks: Vec<_> = match key {
        SlotKey::Number(number) | SlotKey::Run(_, Place::Number(number)) => {
            state.find(TaskBy::Slot(service, *number)).collect()
        }
        SlotKey::Node(node) | SlotKey::Run(_, Place::Node(node)) => {
            let on_node = state.find(TaskBy::Node(Some(node)));
            on_node.filter(|task| task.service_id.as_ref() == Some(service)).collect()
        }
    };
    let is_of_run = |task: &Task| key.iteration().is_none_or(|iteration| task.job_iteration == Some(iteration));
    let mut slot = Slot::default();
    tasks
        .into_iter()
        .filter(|task| is_of_run(task))
        .for_each(|task| slot.put_by_age(task.clone(), SystemTime::UNIX_EPOCH));
    slot
}

/// Whether a change of a task can make it, or others of its slot, superfluous.
fn matters(before: &Task, after: &Task) -> bool {
    before.desired_state != after.desired_state || is_over(before) != is_over(after)
}

/// Whether nothing more will happen to a task: it has ended, or nobody has it.
fn is_over(task: &Task) -> bool {
    task.status.state > TaskState::Running || task.status.state < TaskState::Assigned
}

/// Whether a task goes whatever the history: it was told to be removed and is over, or it belongs to nothing and its
/// node is lost.
fn is_finished(task: &Task) -> bool {
    (task.desired_state == TaskState::Remove && is_over(task))
        || (task.service_id.is_none() && task.status.state == TaskState::Orphaned)
}

/// Whether a rollout is under way.
fn is_rolling(service: &Service) -> bool {
    matches!(policy::state(service), Some(UpdateState::Updating | UpdateState::RollbackStarted))
}

/// How many tasks a slot keeps in a cluster. Less than 0 means all.
fn limit(cluster: &Cluster) -> i64 {
    let orchestration = cluster.spec.orchestration.as_ref().filter(|_| is_default(cluster));
    orchestration.map_or(HISTORY_LIMIT, |orchestration| orchestration.task_history_retention_limit)
}
