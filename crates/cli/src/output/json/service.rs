//! Services.

use std::collections::BTreeMap;

use serde::Serialize;
use swarmkit_api::wire::{self, config_reference, secret_reference};
use swarmkit_executor::container_spec;

use super::{
    Rebalance,
    explanation::Waiting,
    generic::{Units, generic},
    job::Job,
    millis,
    placement::Placement,
    priority::Priority,
    start::Start,
    time,
    volume::Mount,
};
use crate::output::{Names, WaitingTasks};

/// A service.
#[derive(Clone, Debug, Serialize)]
pub struct Service {
    id: String,
    name: String,
    labels: BTreeMap<String, String>,
    /// `replicated`, `global`, `replicated-job` or `global-job`.
    mode: &'static str,
    /// How many are wanted; `null` where the number of nodes decides.
    replicas: Option<u64>,
    /// How many run on nodes that are not down.
    running: u64,
    /// How many have completed, of a job.
    completed: u64,
    #[serde(flatten)]
    start: Start,
    waiting_tasks: Vec<Waiting>,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<String>,
    dir: String,
    user: String,
    constraints: Vec<String>,
    limits: Resources,
    reservations: Resources,
    restart: Option<Restart>,
    update: Option<Update>,
    rollback: Option<Update>,
    update_status: Option<UpdateStatus>,
    rebalance: Option<Rebalance>,
    #[serde(flatten)]
    placement: Placement,
    #[serde(flatten)]
    priority: Priority,
    ports: Vec<Port>,
    mounts: Vec<Mount>,
    secrets: Vec<FileRef>,
    configs: Vec<FileRef>,
    #[serde(flatten)]
    job: Job,
    version: u64,
    created_at: Option<String>,
    updated_at: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Resources {
    nano_cpus: i64,
    memory_bytes: i64,
    generic_resources: BTreeMap<String, Units>,
}

#[derive(Clone, Debug, Serialize)]
struct Restart {
    condition: &'static str,
    delay_ms: Option<u64>,
    max_attempts: u64,
    window_ms: Option<u64>,
    /// Up to which the delay doubles; `null` if it is always the same.
    max_delay_ms: Option<u64>,
    stable_after_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Update {
    parallelism: u64,
    delay_ms: Option<u64>,
    failure_action: &'static str,
    monitor_ms: Option<u64>,
    max_failure_ratio: f32,
    order: &'static str,
    /// How long a new task may take to run; `null` is without limit.
    progress_deadline_ms: Option<u64>,
    /// How many slots may be without a task; 0 is without limit.
    max_unavailable: u64,
}

#[derive(Clone, Debug, Serialize)]
struct UpdateStatus {
    state: &'static str,
    started_at: Option<String>,
    completed_at: Option<String>,
    message: String,
}

#[derive(Clone, Debug, Serialize)]
struct Port {
    name: String,
    protocol: &'static str,
    target: u32,
    published: u32,
    mode: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct FileRef {
    id: String,
    name: String,
    target: String,
}

impl Service {
    /// The JSON form of a service, with how many of its tasks run and have completed.
    #[must_use]
    pub fn new(service: &wire::Service, (running, completed): (u64, u64)) -> Self {
        let spec = service.spec.clone().unwrap_or_default();
        let annotations = spec.annotations.clone().unwrap_or_default();
        let (mode, replicas) = mode(&spec);
        let task = spec.task.clone().unwrap_or_default();
        let container = container_spec(&task).cloned().unwrap_or_default();
        let requirements = task.resources.unwrap_or_default();
        // What was allocated, or else what is asked for.
        let ports = service.endpoint.as_ref().map(|endpoint| &endpoint.ports).filter(|ports| !ports.is_empty());
        let ports = ports.or(spec.endpoint.as_ref().map(|endpoint| &endpoint.ports));
        let meta = service.meta.unwrap_or_default();
        Self {
            id: service.id.clone(),
            name: annotations.name,
            labels: annotations.labels,
            mode,
            replicas,
            running,
            completed,
            start: Start::new(service),
            waiting_tasks: Vec::new(),
            constraints: task.placement.map(|placement| placement.constraints).unwrap_or_default(),
            limits: Resources::new(requirements.limits),
            reservations: Resources::new(requirements.reservations),
            restart: task.restart.as_ref().map(Restart::new),
            update: spec.update.as_ref().map(Update::new),
            rollback: spec.rollback.as_ref().map(Update::new),
            update_status: service.update_status.as_ref().map(UpdateStatus::new),
            rebalance: spec.rebalance.as_ref().map(Rebalance::new),
            placement: Placement::new(&spec),
            priority: Priority::new(spec.scheduling.as_ref()),
            ports: ports.into_iter().flatten().map(Port::new).collect(),
            mounts: Mount::all(&container),
            secrets: container.secrets.iter().map(FileRef::of_secret).collect(),
            configs: container.configs.iter().map(FileRef::of_config).collect(),
            image: container.image,
            command: container.command,
            args: container.args,
            env: container.env,
            dir: container.dir,
            user: container.user,
            job: Job::new(service),
            version: meta.version.unwrap_or_default().index,
            created_at: time(meta.created_at.as_ref()),
            updated_at: time(meta.updated_at.as_ref()),
        }
    }

    /// With its tasks that wait.
    #[must_use]
    pub fn with_waiting(mut self, groups: &[WaitingTasks], names: &Names) -> Self {
        self.waiting_tasks = groups.iter().map(|group| Waiting::new(group, names)).collect();
        self
    }
}

fn mode(spec: &wire::ServiceSpec) -> (&'static str, Option<u64>) {
    use wire::service_spec::Mode;

    match &spec.mode {
        Some(Mode::Replicated(replicated)) => ("replicated", Some(replicated.replicas)),
        Some(Mode::Global(_)) => ("global", None),
        Some(Mode::ReplicatedJob(job)) => ("replicated-job", Some(job.total_completions)),
        Some(Mode::GlobalJob(_)) => ("global-job", None),
        None => ("", None),
    }
}

impl Resources {
    fn new(resources: Option<wire::Resources>) -> Self {
        let resources = resources.unwrap_or_default();
        let generic_resources = generic(&resources.generic);
        Self { nano_cpus: resources.nano_cpus, memory_bytes: resources.memory_bytes, generic_resources }
    }
}

impl Restart {
    fn new(restart: &wire::RestartPolicy) -> Self {
        Self {
            condition: restart.condition().as_str_name(),
            delay_ms: millis(restart.delay.as_ref()),
            max_attempts: restart.max_attempts,
            window_ms: millis(restart.window.as_ref()),
            max_delay_ms: millis(restart.max_delay.as_ref()),
            stable_after_ms: millis(restart.stable_after.as_ref()),
        }
    }
}

impl Update {
    fn new(update: &wire::UpdateConfig) -> Self {
        Self {
            parallelism: update.parallelism,
            delay_ms: millis(update.delay.as_ref()),
            failure_action: update.failure_action().as_str_name(),
            monitor_ms: millis(update.monitor.as_ref()),
            max_failure_ratio: update.max_failure_ratio,
            order: update.order().as_str_name(),
            progress_deadline_ms: millis(update.progress_deadline.as_ref()),
            max_unavailable: update.max_unavailable,
        }
    }
}

impl UpdateStatus {
    fn new(status: &wire::UpdateStatus) -> Self {
        Self {
            state: status.state().as_str_name(),
            started_at: time(status.started_at.as_ref()),
            completed_at: time(status.completed_at.as_ref()),
            message: status.message.clone(),
        }
    }
}

impl Port {
    fn new(port: &wire::PortConfig) -> Self {
        Self {
            name: port.name.clone(),
            protocol: port.protocol().as_str_name(),
            target: port.target_port,
            published: port.published_port,
            mode: port.publish_mode().as_str_name(),
        }
    }
}

impl FileRef {
    fn of_secret(reference: &wire::SecretReference) -> Self {
        let target = reference.target.as_ref().map(|secret_reference::Target::File(file)| file.name.clone());
        Self {
            id: reference.secret_id.clone(),
            name: reference.secret_name.clone(),
            target: target.unwrap_or_default(),
        }
    }

    fn of_config(reference: &wire::ConfigReference) -> Self {
        let target = match &reference.target {
            Some(config_reference::Target::File(file)) => file.name.clone(),
            Some(config_reference::Target::Runtime(_)) | None => String::new(),
        };
        Self { id: reference.config_id.clone(), name: reference.config_name.clone(), target }
    }
}
