//! What new tasks of a service are made from.

use std::sync::Arc;

use swarmkit_api::{
    Service, ServiceId, Task, TaskId, TaskState, TaskStatus, Version,
    wire::{Annotations, Driver, Endpoint, TaskSpec},
};

use crate::slot::{Place, SlotKey};

/// What the tasks of one service at one version have in common, shared by all of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    service: ServiceId,
    pub(crate) spec: Arc<TaskSpec>,
    spec_version: Option<Version>,
    is_job: bool,
    annotations: Arc<Annotations>,
    endpoint: Arc<Endpoint>,
}

impl Template {
    /// The template of a service as it is now. Parts that are the same as before are shared with what was before.
    pub(crate) fn of(service: &Service, before: Option<&Self>) -> Self {
        let spec = service.spec.task.clone().unwrap_or_default();
        let annotations = service.spec.annotations.clone().unwrap_or_default();
        let endpoint = Endpoint { spec: service.spec.endpoint.clone(), ..Default::default() };
        Self {
            service: service.id.clone(),
            spec: share(spec, before.map(|before| &before.spec)),
            spec_version: service.spec_version,
            is_job: is_job(service),
            annotations: share(annotations, before.map(|before| &before.annotations)),
            endpoint: share(endpoint, before.map(|before| &before.endpoint)),
        }
    }

    /// Whether a service is still the one that this was made of. Services of very old clusters have no version to tell.
    pub(crate) fn is_of(&self, service: &Service) -> bool {
        self.spec_version == service.spec_version
            && self.is_job == is_job(service)
            && (self.spec_version.is_some() || service.spec.task.as_ref().is_none_or(|spec| *spec == *self.spec))
    }

    pub(crate) fn service(&self) -> &ServiceId {
        &self.service
    }

    /// The state that its tasks are finally wanted in.
    pub(crate) fn goal(&self) -> TaskState {
        if self.is_job { TaskState::Complete } else { TaskState::Running }
    }

    /// A new task for a slot. Output goes to `log_driver` unless the specification says where.
    pub(crate) fn task(
        &self,
        id: TaskId,
        slot: &SlotKey,
        desired_state: TaskState,
        log_driver: Option<&Driver>,
        now: prost_types::Timestamp,
    ) -> Task {
        let mut task = Task::new(id, self.spec.clone());
        task.service_id = Some(self.service.clone());
        task.spec_version = self.spec_version;
        task.job_iteration = slot.iteration();
        task.service_annotations = self.annotations.clone();
        task.endpoint = Some(self.endpoint.clone());
        task.log_driver = self.spec.log_driver.as_ref().or(log_driver).cloned();
        task.desired_state = desired_state;
        task.status = TaskStatus { timestamp: Some(now), message: "created".to_owned(), ..Default::default() };
        match slot {
            SlotKey::Number(number) | SlotKey::Run(_, Place::Number(number)) => task.slot = *number,
            SlotKey::Node(node) | SlotKey::Run(_, Place::Node(node)) => task.node_id = Some(node.clone()),
        }
        task
    }
}

fn is_job(service: &Service) -> bool {
    crate::policy::Shape::of(service).is_some_and(crate::policy::Shape::is_job)
}

fn share<T: PartialEq>(value: T, before: Option<&Arc<T>>) -> Arc<T> {
    match before {
        Some(before) if **before == value => before.clone(),
        _ => Arc::new(value),
    }
}
