//! Tasks.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire;
use swarmkit_executor::container_spec;

use super::{
    Explanation,
    generic::{Units, generic},
    network::Attachment,
    priority::Preemption,
    time,
    volume::Given,
};
use crate::output::{Names, task::container_status};

/// A task.
#[derive(Clone, Debug, Serialize)]
pub struct Task {
    id: String,
    service_id: String,
    service: String,
    /// 0 where tasks have no slots.
    slot: u64,
    /// Empty until it is assigned.
    node_id: String,
    node: String,
    desired_state: &'static str,
    state: &'static str,
    state_since: Option<String>,
    message: String,
    error: String,
    /// What it waits for, if it does and was asked.
    waiting_for: Option<Explanation>,
    origin: Option<Origin>,
    preemption: Option<Preemption>,
    /// What it was given.
    generic_resources: BTreeMap<String, Units>,
    volumes: Vec<Given>,
    container_id: Option<String>,
    pid: Option<i32>,
    exit_code: Option<i32>,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<String>,
    networks: Vec<Attachment>,
    created_at: Option<String>,
    updated_at: Option<String>,
}

/// Why a task was made that was neither asked for nor replaces one that ended.
#[derive(Clone, Debug, Serialize)]
struct Origin {
    /// The task whose work it took over.
    replaces: String,
    message: String,
}

impl Origin {
    fn new(origin: &wire::swarmkit::orchestration::v1::Origin) -> Self {
        Self { replaces: origin.replaces.clone(), message: origin.message.clone() }
    }
}

impl Task {
    /// The JSON form of a task.
    #[must_use]
    pub fn new(task: &wire::Task, names: &Names) -> Self {
        let status = task.status.clone().unwrap_or_default();
        let runtime = container_status(&status);
        let ended = status.state() > swarmkit_api::TaskState::Running;
        let container = task.spec.as_ref().and_then(container_spec).cloned().unwrap_or_default();
        let meta = task.meta.unwrap_or_default();
        Self {
            id: task.id.clone(),
            service_id: task.service_id.clone(),
            service: names.service(task).to_owned(),
            slot: task.slot,
            node_id: task.node_id.clone(),
            node: names.node(&task.node_id).to_owned(),
            desired_state: task.desired_state().as_str_name(),
            state: status.state().as_str_name(),
            state_since: time(status.timestamp.as_ref()),
            message: status.message.clone(),
            error: status.err.clone(),
            waiting_for: None,
            origin: task.origin.as_ref().map(Origin::new),
            preemption: Preemption::of(task),
            generic_resources: generic(&task.assigned_generic_resources),
            volumes: Given::all(task),
            container_id: runtime.map(|container| container.container_id.clone()),
            pid: runtime.map(|container| container.pid).filter(|pid| *pid != 0),
            exit_code: runtime.filter(|_| ended).map(|container| container.exit_code),
            image: container.image,
            command: container.command,
            args: container.args,
            env: container.env,
            networks: Attachment::all(&task.networks),
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }

    /// With what it waits for.
    #[must_use]
    pub fn waiting_for(mut self, told: Option<&wire::swarmkit::scheduling::v1::Explanation>, names: &Names) -> Self {
        self.waiting_for = told.map(|told| Explanation::new(told, names));
        self
    }
}
