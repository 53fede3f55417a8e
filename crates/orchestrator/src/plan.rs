//! What is decided, and how it is written.

use std::{sync::Arc, time::SystemTime};

use swarmkit_api::{
    Service, ServiceId, Task, TaskId, TaskState,
    wire::{Driver, UpdateStatus, update_status::UpdateState},
};
use swarmkit_runtime::Env;
use swarmkit_store::{StoreError, Transaction};

use crate::{
    depend,
    jobs::{
        Record,
        runs::{Stage, stage},
    },
    slot::SlotKey,
    template::Template,
};

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    /// When to look again for no other reason than the time.
    pub(crate) alarms: Vec<(SystemTime, ServiceId, Option<SlotKey>)>,
}

/// What is done together or not at all.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) service: ServiceId,
    /// `None` when it is about the service as a whole.
    pub(crate) slot: Option<SlotKey>,
    pub(crate) actions: Vec<Action>,
}

/// One write.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// A new task.
    Create { template: Arc<Template>, slot: SlotKey, desired: TaskState },
    /// A task is wanted in a higher state than before.
    Want { task: Arc<Task>, state: TaskState },
    /// A task is not worth keeping as history.
    Delete { task: Arc<Task> },
    /// A rollout has come that far.
    Report { service: Arc<Service>, state: UpdateState, message: String },
    /// What a service waits for is said, or that it waits no more.
    Wait { service: Arc<Service>, message: Option<String> },
    /// Runs of a job have begun or ended.
    Record { service: Arc<Service>, record: Record },
    /// A rollout is given up, and what was before comes back.
    RollBack { service: Arc<Service>, message: String },
}

impl Step {
    /// Writes the step, if what it was based on still holds. Gives whether it did.
    pub(crate) fn write(
        &self,
        tx: &mut Transaction,
        env: &Env,
        log_driver: Option<&Driver>,
    ) -> Result<bool, StoreError> {
        if !self.actions.iter().all(|action| action.holds(tx)) {
            return Ok(false);
        }
        self.actions.iter().try_for_each(|action| action.write(tx, env, log_driver))?;
        Ok(true)
    }
}

impl Action {
    /// Whether the service is still what the action was decided for. Tasks are not asked: nobody else gives them up.
    fn holds(&self, tx: &Transaction) -> bool {
        match self {
            Self::Create { template, slot, .. } => tx.get::<Service>(template.service()).is_some_and(|service| {
                let goes_on = |iteration| stage(service, iteration) == Stage::GoesOn;
                template.is_of(service) && !service.pending_delete && slot.iteration().is_none_or(goes_on)
            }),
            Self::Record { service, .. } => tx.get::<Service>(&service.id).is_some_and(|stored| {
                Record::of(stored) == Record::of(service)
                    && stored.spec_version == service.spec_version
                    && (Arc::ptr_eq(&stored.spec, &service.spec) || stored.spec == service.spec)
            }),
            Self::Report { service, .. } | Self::RollBack { service, .. } => {
                tx.get::<Service>(&service.id).is_some_and(|stored| {
                    stored.spec_version == service.spec_version && stored.update_status == service.update_status
                })
            }
            Self::Wait { service, .. } => tx
                .get::<Service>(&service.id)
                .is_some_and(|stored| stored.spec_version == service.spec_version && stored.waiting == service.waiting),
            Self::Want { .. } | Self::Delete { .. } => true,
        }
    }

    fn write(&self, tx: &mut Transaction, env: &Env, log_driver: Option<&Driver>) -> Result<(), StoreError> {
        let (now, version) = (tx.now(), tx.version().0);
        match self {
            Self::Create { template, slot, desired } => {
                let id = TaskId::from(env.new_id());
                tx.create(template.task(id, slot, *desired, log_driver, now))?;
            }
            Self::Want { task, state } => {
                if tx.get::<Task>(&task.id).is_some_and(|stored| stored.desired_state < *state) {
                    tx.edit::<Task>(&task.id, |task| task.desired_state = *state)?;
                }
            }
            Self::Delete { task } => {
                if tx.get::<Task>(&task.id).is_some() {
                    tx.delete::<Task>(&task.id)?;
                }
            }
            Self::Report { service, state, message } => {
                let begins = service.update_status.is_none();
                let is_over = matches!(state, UpdateState::Completed | UpdateState::RollbackCompleted);
                tx.edit::<Service>(&service.id, |service| {
                    let status = service.update_status.get_or_insert_with(UpdateStatus::default);
                    status.set_state(*state);
                    status.message.clone_from(message);
                    if begins {
                        status.started_at = Some(now);
                        status.started_version = version;
                    }
                    if is_over {
                        status.completed_at = Some(now);
                    }
                })?;
            }
            Self::Wait { service, message } => depend::write(tx, service, message.as_ref())?,
            Self::Record { service, record } => {
                tx.edit::<Service>(&service.id, |service| record.write(service))?;
            }
            Self::RollBack { service, message } => {
                tx.edit::<Service>(&service.id, |service| {
                    let Some(previous) = service.previous_spec.take() else { return };
                    service.spec = previous;
                    service.spec_version = service.previous_spec_version.take();
                    service.update_status = Some(UpdateStatus {
                        state: UpdateState::RollbackStarted.into(),
                        started_at: Some(now),
                        completed_at: None,
                        message: message.clone(),
                        started_version: version,
                    });
                })?;
            }
        }
        Ok(())
    }
}
