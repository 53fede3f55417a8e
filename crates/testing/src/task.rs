//! Tasks.

use std::sync::Arc;

use swarmkit_api::{NodeId, Service, ServiceId, Task, TaskId, TaskState, Version, wire};

use crate::{container, env};

/// A task in the making.
#[derive(Clone, Debug)]
#[must_use]
pub struct TaskBuilder(Task);

/// A new task that shall run. Its id says more: `web.1` is slot 1 of service `web`; `web.a`, of which the second part is
/// no number, is the task of the global service `web` on node `a`; anything after that only tells tasks apart.
pub fn task(id: &str) -> TaskBuilder {
    let mut parts = id.splitn(3, '.');
    let mut task = Task::new(TaskId::from(id), container("image"));
    task.desired_state = TaskState::Running;
    task.spec_version = Some(Version(1));
    let service = parts.next().unwrap_or_default();
    task.service_id = Some(ServiceId::from(service));
    task.service_annotations = Arc::new(wire::Annotations { name: service.to_owned(), ..Default::default() });
    match parts.next().map(|part| (part, part.parse())) {
        Some((_, Ok(slot))) => task.slot = slot,
        Some((node, Err(_))) => task.node_id = Some(NodeId::from(node)),
        None => {}
    }
    TaskBuilder(task)
}

impl TaskBuilder {
    /// The task.
    #[must_use]
    pub fn build(self) -> Task {
        self.0
    }

    /// Changed in a way that there is no word for.
    pub fn with(mut self, change: impl FnOnce(&mut Task)) -> Self {
        change(&mut self.0);
        self
    }

    /// Made from what that service asks for now.
    pub fn of(self, service: &Service) -> Self {
        self.with(|task| {
            task.service_id = Some(service.id.clone());
            task.service_annotations = Arc::new(service.spec.annotations.clone().unwrap_or_default());
            task.spec = Arc::new(service.spec.task.clone().unwrap_or_default());
            task.spec_version = service.spec_version;
            task.job_iteration = service.job_status.and_then(|status| status.job_iteration).map(Into::into);
        })
    }

    /// On that node.
    pub fn on(self, node: &str) -> Self {
        self.with(|task| task.node_id = Some(NodeId::from(node)))
    }

    /// Observed in that state.
    pub fn state(self, state: TaskState) -> Self {
        self.with(|task| task.status.state = state)
    }

    /// To reach that state.
    pub fn desired(self, state: TaskState) -> Self {
        self.with(|task| task.desired_state = state)
    }

    /// In that slot.
    pub fn slot(self, slot: u64) -> Self {
        self.with(|task| task.slot = slot)
    }

    /// Made from that version of its service's specification.
    pub fn spec_version(self, version: u64) -> Self {
        self.with(|task| task.spec_version = Some(Version(version)))
    }

    /// Changed in what it runs.
    pub fn spec(self, change: impl FnOnce(&mut wire::TaskSpec)) -> Self {
        self.with(|task| change(Arc::make_mut(&mut task.spec)))
    }

    /// Observed now.
    pub fn observed_now(self) -> Self {
        self.with(|task| task.status.timestamp = Some(env().now().into()))
    }
}

impl From<TaskBuilder> for Task {
    fn from(builder: TaskBuilder) -> Self {
        builder.build()
    }
}
