//! Which tasks a service would have: what is decided about it, without deciding it.

use std::{collections::BTreeSet, sync::Arc};

use prost_types::Timestamp;
use swarmkit_api::{
    JobRun, Service, ServiceId, Task, TaskId, TaskState,
    wire::{
        UpdateConfig,
        swarmkit::orchestration::v1::{job_run::Outcome, schedule::Concurrency},
        update_config::FailureAction,
    },
};
use swarmkit_runtime::Env;
use swarmkit_store::{State, StoreError, TaskBy, View};

use crate::{
    policy::Shape,
    slot::{SlotKey, is_live},
    world::World,
};

/// How often is decided at most. A rollout is said to begin, and a run of a job is written down, before anything follows.
const ROUNDS_MAX: usize = 8;

/// Which tasks a service would have.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The state in which the service has them: new ones as they are made, and what would be told to stop has stopped.
    pub view: View,
    /// What would have to come before the first of them is made, in words. The rest is told as if it had.
    pub waits_for: Option<String>,
    /// Those that would be new.
    pub created: BTreeSet<TaskId>,
    /// Those that would stay as they are.
    pub kept: BTreeSet<TaskId>,
    /// Those that a new one would replace. Where that is started first they have not stopped in `view`.
    pub replaced: BTreeSet<TaskId>,
    /// Those that would be given up.
    pub given_up: BTreeSet<TaskId>,
}

/// Says which tasks a service would have that is in `view`, if nothing else happened, and everything at once: rollouts take
/// no time, what it depends on is there, and of a job with a schedule it is time for a run.
///
/// It looks at the nodes and at the tasks of the service; at everything if it depends on others.
///
/// # Errors
///
/// When there is no such service, and those of the writes, which nobody else makes.
pub fn outlook(view: &View, id: &ServiceId, env: &Env) -> Result<Outlook, StoreError> {
    let now = env.now();
    let service = view.get::<Service>(id).ok_or(StoreError::NotFound)?;
    let waits_for = if service.spec.depends_on.is_empty() { None } else { waits_for(view, service, env) };
    let (mut after, _) = view.suppose(now.into(), |tx| tx.edit::<Service>(id, |service| hurry(service, now.into())))?;
    for _ in 0..ROUNDS_MAX {
        let Some(service) = after.get::<Service>(id) else { break };
        let mut world = World::of_service(&after, service, now);
        let due = world.take_due();
        let plan = world.plan(&due, now);
        if plan.steps.is_empty() {
            break;
        }
        let log_driver = world.log_driver.as_ref();
        let mut steps = plan.steps.iter();
        (after, _) =
            after.suppose(now.into(), |tx| steps.try_for_each(|step| step.write(tx, env, log_driver).map(drop)))?;
    }
    compare(view, &after, id, waits_for, now.into())
}

fn waits_for(view: &View, service: &Service, env: &Env) -> Option<String> {
    let world = World::from_state(view, env.now());
    world.waits(service, world.services.get(&service.id)?)
}

/// Makes everything happen at once that the service would take time for.
fn hurry(service: &mut Service, now: Timestamp) {
    let is_recorded = service.spec.schedule.is_some();
    let spec = Arc::make_mut(&mut service.spec);
    for config in [&mut spec.update, &mut spec.rollback] {
        let order = config.as_ref().map_or(0, |config| config.order);
        *config = Some(UpdateConfig { order, failure_action: FailureAction::Continue.into(), ..Default::default() });
    }
    spec.depends_on.clear();
    service.waiting = None;
    if let Some(schedule) = &mut spec.schedule {
        schedule.suspended = true;
        schedule.set_concurrency(Concurrency::Allow);
    }
    if is_recorded {
        let iteration = service.job_status.get_or_insert_default().job_iteration.get_or_insert_default();
        iteration.index += 1;
        let run = JobRun { iteration: iteration.index, started_at: Some(now), ..JobRun::default() };
        debug_assert_eq!(run.outcome(), Outcome::Running);
        service.runs.push(run);
    }
}

/// What became of the tasks that a service had, and which are new. What was told to stop is over.
fn compare(
    before: &State,
    after: &View,
    id: &ServiceId,
    waits_for: Option<String>,
    now: Timestamp,
) -> Result<Outlook, StoreError> {
    let service = after.get::<Service>(id).ok_or(StoreError::NotFound)?;
    let is_per_node = Shape::of(service).is_some_and(Shape::is_per_node);
    let key = |task: &Task| SlotKey::of(task, is_per_node);
    let had = before.find(TaskBy::Service(id)).filter(|task| is_live(task) && task.status.state <= TaskState::Running);
    let new: Vec<_> = after.find(TaskBy::Service(id)).filter(|task| before.get::<Task>(&task.id).is_none()).collect();
    let taken: BTreeSet<_> = new.iter().map(|task| key(task)).collect();
    let mut outlook = Outlook {
        view: after.clone(),
        waits_for,
        created: new.iter().map(|task| task.id.clone()).collect(),
        kept: BTreeSet::new(),
        replaced: BTreeSet::new(),
        given_up: BTreeSet::new(),
    };
    let mut stopped = Vec::new();
    for task in had {
        let stays = after.get::<Task>(&task.id).is_some_and(|task| is_live(task));
        if !stays {
            stopped.push(&task.id);
        }
        let fate = match (stays, taken.contains(&key(task))) {
            (_, true) => &mut outlook.replaced,
            (true, false) => &mut outlook.kept,
            (false, false) => &mut outlook.given_up,
        };
        fate.insert(task.id.clone());
    }
    let there = |id: &&&TaskId| after.get::<Task>(id).is_some();
    let mut stopped = stopped.iter().filter(there);
    (outlook.view, ()) = after.suppose(now, |tx| {
        stopped.try_for_each(|id| tx.edit::<Task>(id, |task| task.status.state = TaskState::Shutdown).map(drop))
    })?;
    Ok(outlook)
}
