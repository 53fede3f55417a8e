//! One attempt to run something.

use std::sync::Arc;

use bytes::BufMut;
use prost_types::Timestamp;

use super::{
    DecodeError, Kind, Meta,
    codec::{self, FromWire, ToWire},
    task_wire,
};
pub use crate::wire::swarmkit::{orchestration::v1::Origin, scheduling::v1::Preemption};
use crate::{NodeId, ServiceId, TaskId, TaskState, Version, wire};

/// One attempt to run what a service asks for, on one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// What identifies it.
    pub id: TaskId,
    /// When the object was written.
    pub meta: Meta,
    /// What to run. All tasks that one service made from one specification share it.
    pub spec: Arc<wire::TaskSpec>,
    /// The version of the service's specification that it was made from.
    pub spec_version: Option<Version>,
    /// The service that it belongs to. `None` for network attachments made by hand.
    pub service_id: Option<ServiceId>,
    /// Which replica it is, from 1. 0 for tasks of global services.
    pub slot: u64,
    /// Where it runs. `None` until the scheduler has decided; global tasks have it from the start.
    pub node_id: Option<NodeId>,
    /// Its own name, labels and indices; mostly empty.
    pub annotations: wire::Annotations,
    /// The name and labels of its service when it was made.
    pub service_annotations: Arc<wire::Annotations>,
    /// How it is doing. Written by its agent, through the dispatcher, once a node has it.
    pub status: TaskStatus,
    /// The state it shall reach. Written by managers only, and never lowered.
    pub desired_state: TaskState,
    /// Its attachments to networks. Written by the allocator only.
    pub networks: Vec<wire::NetworkAttachment>,
    /// The ports and addresses of its service. Written by the allocator only.
    pub endpoint: Option<Arc<wire::Endpoint>>,
    /// Where its output goes, if not to the executor's default.
    pub log_driver: Option<wire::Driver>,
    /// The generic resources it was given. Written by the scheduler only.
    pub assigned_generic_resources: Vec<wire::GenericResource>,
    /// Which iteration of a job it belongs to.
    pub job_iteration: Option<Version>,
    /// The cluster volumes chosen for it. Written by the scheduler only.
    pub volumes: Vec<wire::VolumeAttachment>,
    /// Why it was made, where it was neither asked for nor replaces one that ended.
    pub origin: Option<Arc<Origin>>,
    /// The room that it makes for another, or others for it. Written by the scheduler only.
    pub preemption: Option<Arc<Preemption>>,
}

/// How a task is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskStatus {
    /// When the state was observed, by the clock of the observer.
    pub timestamp: Option<Timestamp>,
    /// The observed state. It never moves backward.
    pub state: TaskState,
    /// What is going on, for people.
    pub message: String,
    /// Why it failed or waits, for people. Empty when all is well.
    pub err: String,
    /// What the executor knows of the running thing: its id, process id, exit code.
    pub container: Option<wire::ContainerStatus>,
    /// The ports that it really listens on, for host-mode ports.
    pub port_status: Option<wire::PortStatus>,
    /// The manager that wrote this status into the store.
    pub applied_by: Option<NodeId>,
    /// When that manager wrote it, by its clock.
    pub applied_at: Option<Timestamp>,
    /// When a manager first wrote that it runs, by its clock. `None`: none did, as far as is known.
    pub running_since: Option<Timestamp>,
}

impl Task {
    /// A task that was just made.
    #[must_use]
    pub fn new(id: TaskId, spec: impl Into<Arc<wire::TaskSpec>>) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: spec.into(),
            spec_version: None,
            service_id: None,
            slot: 0,
            node_id: None,
            annotations: wire::Annotations::default(),
            service_annotations: Arc::default(),
            status: TaskStatus::default(),
            desired_state: TaskState::New,
            networks: Vec::new(),
            endpoint: None,
            log_driver: None,
            assigned_generic_resources: Vec::new(),
            job_iteration: None,
            volumes: Vec::new(),
            origin: None,
            preemption: None,
        }
    }

    /// The name that clients see: its own, or `<service>.<slot or node>.<task>`.
    #[must_use]
    pub fn name(&self) -> String {
        if !self.annotations.name.is_empty() {
            return self.annotations.name.clone();
        }
        let service = &self.service_annotations.name;
        match (self.slot, &self.node_id) {
            (0, Some(node)) => format!("{service}.{node}.{}", self.id),
            (0, None) => format!("{service}..{}", self.id),
            (slot, _) => format!("{service}.{slot}.{}", self.id),
        }
    }

    /// A task from its message, but for the parts that are given, and those that stay empty: service, node, endpoint.
    pub(super) fn from_shell(
        id: TaskId,
        wire: wire::Task,
        spec: Arc<wire::TaskSpec>,
        service_annotations: Arc<wire::Annotations>,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            id,
            meta: wire.meta.into(),
            spec,
            spec_version: wire.spec_version.map(Into::into),
            service_id: None,
            slot: wire.slot,
            node_id: None,
            annotations: wire.annotations.unwrap_or_default(),
            service_annotations,
            status: TaskStatus::from_wire(wire.status.unwrap_or_default())?,
            desired_state: codec::enumeration("task.desired_state", wire.desired_state)?,
            networks: wire.networks,
            endpoint: None,
            log_driver: wire.log_driver,
            assigned_generic_resources: wire.assigned_generic_resources,
            job_iteration: wire.job_iteration.map(Into::into),
            volumes: wire.volumes,
            origin: wire.origin.map(Arc::new),
            preemption: wire.preemption.map(Arc::new),
        })
    }
}

impl TaskStatus {
    /// The wire's message of this status.
    #[must_use]
    pub fn to_wire(&self) -> wire::TaskStatus {
        wire::TaskStatus {
            timestamp: self.timestamp,
            state: self.state.into(),
            message: self.message.clone(),
            err: self.err.clone(),
            port_status: self.port_status.clone(),
            applied_by: NodeId::to_wire(self.applied_by.as_ref()),
            applied_at: self.applied_at,
            running_since: self.running_since,
            runtime_status: self.container.clone().map(wire::task_status::RuntimeStatus::Container),
        }
    }

    /// Reads the wire's message.
    ///
    /// # Errors
    ///
    /// When the state is a number that this version does not know.
    pub fn from_wire(wire: wire::TaskStatus) -> Result<Self, DecodeError> {
        Ok(Self {
            timestamp: wire.timestamp,
            state: codec::enumeration("task.status.state", wire.state)?,
            message: wire.message,
            err: wire.err,
            container: wire.runtime_status.map(|wire::task_status::RuntimeStatus::Container(container)| container),
            port_status: wire.port_status,
            applied_by: NodeId::from_wire(wire.applied_by),
            applied_at: wire.applied_at,
            running_since: wire.running_since,
        })
    }
}

impl ToWire for Task {
    type Wire = wire::Task;

    fn to_wire(&self) -> wire::Task {
        wire::Task {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: Some(self.spec.as_ref().clone()),
            spec_version: self.spec_version.map(Into::into),
            service_id: ServiceId::to_wire(self.service_id.as_ref()),
            slot: self.slot,
            node_id: NodeId::to_wire(self.node_id.as_ref()),
            annotations: Some(self.annotations.clone()),
            service_annotations: Some(self.service_annotations.as_ref().clone()),
            status: Some(self.status.to_wire()),
            desired_state: self.desired_state.into(),
            networks: self.networks.clone(),
            endpoint: self.endpoint.as_deref().cloned(),
            log_driver: self.log_driver.clone(),
            assigned_generic_resources: self.assigned_generic_resources.clone(),
            job_iteration: self.job_iteration.map(Into::into),
            volumes: self.volumes.clone(),
            origin: self.origin.as_deref().cloned(),
            preemption: self.preemption.as_deref().cloned(),
        }
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        task_wire::encode(self, buffer);
    }
}

impl FromWire for Task {
    type Wire = wire::Task;

    fn from_wire(mut wire: wire::Task) -> Result<Self, DecodeError> {
        let id = codec::id(Kind::Task, std::mem::take(&mut wire.id))?;
        let (service, node) = (std::mem::take(&mut wire.service_id), std::mem::take(&mut wire.node_id));
        let spec = wire.spec.take().unwrap_or_default().into();
        let service_annotations = wire.service_annotations.take().unwrap_or_default().into();
        let endpoint = wire.endpoint.take().map(Arc::new);
        let mut task = Self::from_shell(id, wire, spec, service_annotations)?;
        task.service_id = ServiceId::from_wire(service);
        task.node_id = NodeId::from_wire(node);
        task.endpoint = endpoint;
        Ok(task)
    }
}
