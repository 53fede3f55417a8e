//! A unit of intent.

use std::sync::Arc;

use bytes::BufMut;

use super::{
    DecodeError, Kind, Meta,
    codec::{self, FromWire, ToWire},
};
use crate::{ServiceId, Version, wire};

pub use crate::wire::{
    Endpoint, UpdateStatus,
    swarmkit::orchestration::v1::{JobRun, Waiting},
};

/// What should run, and how far the cluster has come in running it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What identifies it.
    pub id: ServiceId,
    /// When the object was written.
    pub meta: Meta,
    /// What the operator asked for.
    pub spec: Arc<wire::ServiceSpec>,
    /// The version that `spec` was taken over at. `None` in objects of very old clusters.
    pub spec_version: Option<Version>,
    /// What the operator had asked for before: the target of a rollback.
    pub previous_spec: Option<Arc<wire::ServiceSpec>>,
    /// The version that `previous_spec` was taken over at.
    pub previous_spec_version: Option<Version>,
    /// The ports and addresses it was given. Written by the allocator only.
    pub endpoint: Option<Arc<wire::Endpoint>>,
    /// How the last rollout went. Written by the updater, and by a requested rollback.
    pub update_status: Option<wire::UpdateStatus>,
    /// Which iteration a job is at. `None` for services that are no jobs.
    pub job_status: Option<wire::JobStatus>,
    /// To be deleted as soon as nothing uses it any more.
    pub pending_delete: bool,
    /// The runs of a job that go on or are kept, oldest first. Written for jobs with a schedule or limits.
    pub runs: Vec<JobRun>,
    /// What its start waits for. `None` when for nothing.
    pub waiting: Option<Waiting>,
    /// Up to when is decided which times of the schedule of a job begin a run.
    pub decided_until: Option<prost_types::Timestamp>,
}

impl Service {
    /// A service that was just asked for.
    #[must_use]
    pub fn new(id: ServiceId, spec: impl Into<Arc<wire::ServiceSpec>>) -> Self {
        Self {
            id,
            meta: Meta::default(),
            spec: spec.into(),
            spec_version: None,
            previous_spec: None,
            previous_spec_version: None,
            endpoint: None,
            update_status: None,
            job_status: None,
            pending_delete: false,
            runs: Vec::new(),
            waiting: None,
            decided_until: None,
        }
    }

    /// The name that the operator gave it.
    #[must_use]
    pub fn name(&self) -> &str {
        &codec::annotations(&self.spec.annotations).name
    }

    /// Everything but the shared specifications, which are encoded in place.
    fn shell(&self) -> wire::Service {
        wire::Service {
            id: self.id.to_string(),
            meta: Some(self.meta.into()),
            spec: None,
            spec_version: self.spec_version.map(Into::into),
            previous_spec: None,
            previous_spec_version: self.previous_spec_version.map(Into::into),
            endpoint: self.endpoint.as_deref().cloned(),
            update_status: self.update_status.clone(),
            job_status: self.job_status,
            pending_delete: self.pending_delete,
            runs: self.runs.clone(),
            waiting: self.waiting.clone(),
            decided_until: self.decided_until,
        }
    }
}

/// Field numbers of the parts that are encoded by reference.
const SPEC: u32 = 3;
const PREVIOUS_SPEC: u32 = 6;

impl ToWire for Service {
    type Wire = wire::Service;

    fn to_wire(&self) -> wire::Service {
        wire::Service {
            spec: Some(self.spec.as_ref().clone()),
            previous_spec: self.previous_spec.as_deref().cloned(),
            ..self.shell()
        }
    }

    fn encoded_len(&self) -> usize {
        prost::Message::encoded_len(&self.shell())
            + prost::encoding::message::encoded_len(SPEC, self.spec.as_ref())
            + self.previous_spec.as_deref().map_or(0, |spec| prost::encoding::message::encoded_len(PREVIOUS_SPEC, spec))
    }

    fn encode(&self, buffer: &mut impl BufMut) {
        prost::Message::encode_raw(&self.shell(), buffer);
        prost::encoding::message::encode(SPEC, self.spec.as_ref(), buffer);
        if let Some(spec) = self.previous_spec.as_deref() {
            prost::encoding::message::encode(PREVIOUS_SPEC, spec, buffer);
        }
    }
}

impl FromWire for Service {
    type Wire = wire::Service;

    fn from_wire(wire: wire::Service) -> Result<Self, DecodeError> {
        Ok(Self {
            id: codec::id(Kind::Service, wire.id)?,
            meta: wire.meta.into(),
            spec: Arc::new(wire.spec.unwrap_or_default()),
            spec_version: wire.spec_version.map(Into::into),
            previous_spec: wire.previous_spec.map(Arc::new),
            previous_spec_version: wire.previous_spec_version.map(Into::into),
            endpoint: wire.endpoint.map(Arc::new),
            update_status: wire.update_status,
            job_status: wire.job_status,
            pending_delete: wire.pending_delete,
            runs: wire.runs,
            waiting: wire.waiting,
            decided_until: wire.decided_until,
        })
    }
}
