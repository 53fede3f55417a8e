//! Tasks to the wire and back without a message in between.
//!
//! A cluster writes tasks more than anything else, and reads a million of them when it starts. So they are encoded from
//! where their parts lie, and what many of them have in common is decoded once: see [`Sharing`]. A test with random
//! messages holds this against the generated code.

use std::{collections::BTreeMap, sync::Arc};

use bytes::BufMut;
use prost::{
    DecodeError as Malformed, Message,
    encoding::{
        DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len,
        message, uint64,
    },
};

use super::{DecodeError, Task, TaskStatus, codec::FromWire as _};
use crate::{NodeId, ServiceId, TaskId, wire};

/// The field numbers of a task.
mod field {
    pub(super) const ID: u32 = 1;
    pub(super) const META: u32 = 2;
    pub(super) const SPEC: u32 = 3;
    pub(super) const SERVICE_ID: u32 = 4;
    pub(super) const SLOT: u32 = 5;
    pub(super) const NODE_ID: u32 = 6;
    pub(super) const ANNOTATIONS: u32 = 7;
    pub(super) const SERVICE_ANNOTATIONS: u32 = 8;
    pub(super) const STATUS: u32 = 9;
    pub(super) const DESIRED_STATE: u32 = 10;
    pub(super) const NETWORKS: u32 = 11;
    pub(super) const ENDPOINT: u32 = 12;
    pub(super) const LOG_DRIVER: u32 = 13;
    pub(super) const SPEC_VERSION: u32 = 14;
    pub(super) const GENERIC_RESOURCES: u32 = 15;
    pub(super) const JOB_ITERATION: u32 = 16;
    pub(super) const VOLUMES: u32 = 17;
    pub(super) const ORIGIN: u32 = 57_001;
    pub(super) const PREEMPTION: u32 = 57_002;
}

/// The field numbers of its status.
mod status {
    pub(super) const TIMESTAMP: u32 = 1;
    pub(super) const STATE: u32 = 2;
    pub(super) const MESSAGE: u32 = 3;
    pub(super) const ERR: u32 = 4;
    pub(super) const CONTAINER: u32 = 5;
    pub(super) const PORT_STATUS: u32 = 6;
    pub(super) const APPLIED_BY: u32 = 7;
    pub(super) const APPLIED_AT: u32 = 8;
    pub(super) const RUNNING_SINCE: u32 = 57_001;
}

// === Encoding ===

pub(super) fn encode(task: &Task, out: &mut impl BufMut) {
    put_text(field::ID, task.id.as_str(), out);
    message::encode(field::META, &wire::Meta::from(task.meta), out);
    message::encode(field::SPEC, task.spec.as_ref(), out);
    put_text(field::SERVICE_ID, task.service_id.as_ref().map_or("", ServiceId::as_str), out);
    put_number(field::SLOT, task.slot, out);
    put_text(field::NODE_ID, task.node_id.as_ref().map_or("", NodeId::as_str), out);
    message::encode(field::ANNOTATIONS, &task.annotations, out);
    message::encode(field::SERVICE_ANNOTATIONS, task.service_annotations.as_ref(), out);
    encode_key(field::STATUS, WireType::LengthDelimited, out);
    encode_varint(status_len(&task.status) as u64, out);
    encode_status(&task.status, out);
    put_number(field::DESIRED_STATE, number_of(task.desired_state), out);
    message::encode_repeated(field::NETWORKS, &task.networks, out);
    put_message(field::ENDPOINT, task.endpoint.as_deref(), out);
    put_message(field::LOG_DRIVER, task.log_driver.as_ref(), out);
    put_message(field::SPEC_VERSION, task.spec_version.map(wire::Version::from).as_ref(), out);
    message::encode_repeated(field::GENERIC_RESOURCES, &task.assigned_generic_resources, out);
    put_message(field::JOB_ITERATION, task.job_iteration.map(wire::Version::from).as_ref(), out);
    message::encode_repeated(field::VOLUMES, &task.volumes, out);
    put_message(field::ORIGIN, task.origin.as_deref(), out);
    put_message(field::PREEMPTION, task.preemption.as_deref(), out);
}

fn encode_status(of: &TaskStatus, out: &mut impl BufMut) {
    put_message(status::TIMESTAMP, of.timestamp.as_ref(), out);
    put_number(status::STATE, number_of(of.state), out);
    put_text(status::MESSAGE, &of.message, out);
    put_text(status::ERR, &of.err, out);
    put_message(status::CONTAINER, of.container.as_ref(), out);
    put_message(status::PORT_STATUS, of.port_status.as_ref(), out);
    put_text(status::APPLIED_BY, applied_by(of), out);
    put_message(status::APPLIED_AT, of.applied_at.as_ref(), out);
    put_message(status::RUNNING_SINCE, of.running_since.as_ref(), out);
}

fn status_len(of: &TaskStatus) -> usize {
    message_len(status::TIMESTAMP, of.timestamp.as_ref())
        + number_len(status::STATE, number_of(of.state))
        + text_len(status::MESSAGE, &of.message)
        + text_len(status::ERR, &of.err)
        + message_len(status::CONTAINER, of.container.as_ref())
        + message_len(status::PORT_STATUS, of.port_status.as_ref())
        + text_len(status::APPLIED_BY, applied_by(of))
        + message_len(status::APPLIED_AT, of.applied_at.as_ref())
        + message_len(status::RUNNING_SINCE, of.running_since.as_ref())
}

fn applied_by(status: &TaskStatus) -> &str {
    status.applied_by.as_ref().map_or("", NodeId::as_str)
}

/// An enum as the wire writes it. Those of tasks have no negative numbers.
fn number_of(state: impl Into<i32>) -> u64 {
    u64::try_from(state.into()).unwrap_or_default()
}

fn put_text(tag: u32, text: &str, out: &mut impl BufMut) {
    if !text.is_empty() {
        encode_key(tag, WireType::LengthDelimited, out);
        encode_varint(text.len() as u64, out);
        out.put_slice(text.as_bytes());
    }
}

fn text_len(tag: u32, text: &str) -> usize {
    if text.is_empty() { 0 } else { key_len(tag) + encoded_len_varint(text.len() as u64) + text.len() }
}

fn put_number(tag: u32, number: u64, out: &mut impl BufMut) {
    if number != 0 {
        uint64::encode(tag, &number, out);
    }
}

fn number_len(tag: u32, number: u64) -> usize {
    if number == 0 { 0 } else { uint64::encoded_len(tag, &number) }
}

fn put_message(tag: u32, part: Option<&impl Message>, out: &mut impl BufMut) {
    if let Some(part) = part {
        message::encode(tag, part, out);
    }
}

fn message_len(tag: u32, part: Option<&impl Message>) -> usize {
    part.map_or(0, |part| message::encoded_len(tag, part))
}

// === Decoding ===

/// What tasks that are decoded one after the other have in common, so that it is decoded once and lies in memory once.
///
/// It is kept by its bytes, and compared, so it changes nothing about what a task holds.
#[derive(Default)]
pub struct Sharing {
    services: BTreeMap<ServiceId, Shared>,
}

/// The most services whose parts are remembered; then it is begun anew.
const SHARING_SERVICES: usize = 16_384;

/// The parts of the last task of a service, with their bytes.
#[derive(Default)]
struct Shared {
    spec: Part<wire::TaskSpec>,
    annotations: Part<wire::Annotations>,
    endpoint: Part<wire::Endpoint>,
}

struct Part<T> {
    bytes: Vec<u8>,
    value: Arc<T>,
}

impl<T: Default> Default for Part<T> {
    /// No bytes are the empty message.
    fn default() -> Self {
        Self { bytes: Vec::new(), value: Arc::default() }
    }
}

impl<T: Message + Default> Part<T> {
    fn of(&mut self, bytes: &[u8]) -> Result<Arc<T>, Malformed> {
        if self.bytes != bytes {
            self.value = Arc::new(T::decode(bytes)?);
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
        }
        Ok(self.value.clone())
    }
}

impl Sharing {
    fn of(&mut self, service: &ServiceId) -> &mut Shared {
        if self.services.len() >= SHARING_SERVICES && !self.services.contains_key(service) {
            self.services.clear();
        }
        self.services.entry(service.clone()).or_default()
    }
}

impl std::fmt::Debug for Sharing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").field("services", &self.services.len()).finish()
    }
}

/// The fields of a task that are not read into the message.
#[derive(Default)]
struct Apart<'a> {
    id: Option<TaskId>,
    service: Option<ServiceId>,
    node: Option<NodeId>,
    spec: Option<&'a [u8]>,
    annotations: Option<&'a [u8]>,
    endpoint: Option<&'a [u8]>,
}

/// Reads a task.
pub(super) fn decode(bytes: &[u8], sharing: &mut Sharing) -> Result<Task, DecodeError> {
    let (mut rest, mut apart, mut shell) = (bytes, Apart::default(), wire::Task::default());
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        if wire_type != WireType::LengthDelimited {
            shell.merge_field(tag, wire_type, &mut rest, DecodeContext::default())?;
            continue;
        }
        let slot = match tag {
            field::ID => {
                apart.id = id(&mut rest)?;
                continue;
            }
            field::SERVICE_ID => {
                apart.service = id(&mut rest)?;
                continue;
            }
            field::NODE_ID => {
                apart.node = id(&mut rest)?;
                continue;
            }
            field::SPEC => &mut apart.spec,
            field::SERVICE_ANNOTATIONS => &mut apart.annotations,
            field::ENDPOINT => &mut apart.endpoint,
            _ => {
                shell.merge_field(tag, wire_type, &mut rest, DecodeContext::default())?;
                continue;
            }
        };
        if slot.replace(delimited(&mut rest)?).is_some() {
            // A message may come in pieces that are merged; nobody writes it so, and the generated code can.
            return Task::from_wire(wire::Task::decode(bytes)?);
        }
    }
    finish(shell, apart, sharing)
}

fn finish(shell: wire::Task, apart: Apart<'_>, sharing: &mut Sharing) -> Result<Task, DecodeError> {
    let mut alone = Shared::default();
    let shared = match &apart.service {
        Some(service) => sharing.of(service),
        None => &mut alone,
    };
    let spec = shared.spec.of(apart.spec.unwrap_or_default())?;
    let service_annotations = shared.annotations.of(apart.annotations.unwrap_or_default())?;
    let endpoint = apart.endpoint.map(|bytes| shared.endpoint.of(bytes)).transpose()?;
    let id = apart.id.ok_or(DecodeError::MissingId(super::Kind::Task))?;
    let mut task = Task::from_shell(id, shell, spec, service_annotations)?;
    task.service_id = apart.service;
    task.node_id = apart.node;
    task.endpoint = endpoint;
    Ok(task)
}

/// Reads an id, and nothing if it is empty.
fn id<I: for<'a> From<&'a str>>(rest: &mut &[u8]) -> Result<Option<I>, DecodeError> {
    let text = delimited(rest)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(I::from(str::from_utf8(text).map_err(|_| DecodeError::NotText)?)))
}

/// Reads a field that tells its length.
fn delimited<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = usize::try_from(decode_varint(rest)?).map_err(|_| DecodeError::Cut)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(DecodeError::Cut)?;
    *rest = after;
    Ok(bytes)
}
