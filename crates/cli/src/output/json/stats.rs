//! What a task uses.

use serde::Serialize;
use swarmkit_api::wire;

use super::{
    super::{Names, stats::Stats},
    time,
};

/// One sample of one task. What is not known is null.
#[derive(Clone, Debug, Serialize)]
pub struct TaskStats {
    id: String,
    service_id: String,
    service: String,
    slot: u64,
    node_id: String,
    node: String,
    at: Option<String>,
    /// Since it started.
    cpu_seconds: Option<f64>,
    /// How many processors it kept busy since the sample before.
    cpus: Option<f64>,
    memory_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    pids: Option<u64>,
    pids_limit: Option<u64>,
    block_read_bytes: Option<u64>,
    block_written_bytes: Option<u64>,
    network_received_bytes: Option<u64>,
    network_sent_bytes: Option<u64>,
    /// Why its node tells nothing.
    error: Option<String>,
}

impl TaskStats {
    /// The JSON form of what is known of a task.
    #[must_use]
    pub fn new(task: &wire::Task, stats: &Stats, names: &Names) -> Self {
        let sample = stats.sample(task);
        let usage = sample.map(|sample| sample.usage.clone()).unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "exact to the microsecond for a hundred days")]
        let cpu_seconds = usage.cpu_nanos.map(|nanos| nanos as f64 / 1e9);
        Self {
            id: task.id.clone(),
            service_id: task.service_id.clone(),
            service: names.service(task).to_owned(),
            slot: task.slot,
            node_id: task.node_id.clone(),
            node: names.node(&task.node_id).to_owned(),
            at: time(usage.at.as_ref()),
            cpu_seconds,
            cpus: sample.and_then(|sample| sample.cpus),
            memory_bytes: usage.memory_bytes,
            memory_limit_bytes: usage.memory_limit_bytes,
            pids: usage.processes,
            pids_limit: usage.processes_limit,
            block_read_bytes: usage.read_bytes,
            block_written_bytes: usage.written_bytes,
            network_received_bytes: usage.received_bytes,
            network_sent_bytes: usage.sent_bytes,
            error: stats.failure(&task.node_id).map(str::to_owned),
        }
    }
}
