//! The JSON of `--format json`: one object a line.
//!
//! Field names are stable. Absent values are `null` or empty, never left out. Times are RFC 3339 in UTC, durations
//! milliseconds (`…_ms`), processors billionths (`nano_cpus`), sizes bytes, enums the names of the wire (`RUNNING`).
//! `generic_resources` are by kind: a number, or the names of units. `ls` and `inspect` of one kind print the same object.
//!
//! - **service**: `id`, `name`, `labels`, `mode` (`replicated`, `global`, `replicated-job`, `global-job`), `replicas`
//!   (`null` where the number of nodes decides), `running`, `completed`, `depends_on` (`service`, `condition`),
//!   `waiting` (`null`, or `since`, `message`), `removing`, `waiting_tasks` (`tasks`, `message`, and `explanation`, which
//!   `ls` leaves `null`), `image`, `command`, `args`, `env`, `dir`, `user`, `constraints`, `limits` and `reservations` (`nano_cpus`, `memory_bytes`,
//!   `generic_resources`), `restart` (`condition`, `delay_ms`,
//!   `max_attempts`, `window_ms`), `update` and `rollback` (`parallelism`, `delay_ms`, `failure_action`, `monitor_ms`,
//!   `max_failure_ratio`, `order`), `update_status` (`state`, `started_at`, `completed_at`, `message`), `rebalance` (`mode`,
//!   `moves_per_minute`; `null` where nothing is said), `strategy` (`null`: as the
//!   cluster says), `affinities` (`service`, `direction`, `scope`, `required`), `preferences`, `priority` and `max_disrupted` (`null` where nothing is said), `ports` (`name`, `protocol`, `target`, `published`, `mode`),
//!   `mounts` (`type`, `source`, `target`, `readonly`), `secrets` and `configs` (`id`, `name`, `target`);
//!   of jobs `schedule` (`cron`, `time_zone`, `concurrency`, `missed`, `starting_deadline_ms`, `succeeded_history`,
//!   `failed_history`, `suspended`), `job_limits` (`deadline_ms`, `max_failures`, `time_to_live_ms`), `next_run` and `runs`
//!   (`iteration`, `scheduled_for`, `started_at`, `ended_at`, `outcome`, `message`).
//! - **task**: `id`, `service_id`, `service`, `slot` (0 where there are none), `node_id`, `node`, `desired_state`, `state`,
//!   `state_since`, `message`, `error`, `waiting_for` (an explanation, or `null`; always `null` in `ls`), `origin` (`null`, or `replaces` and `message` of a task that was moved),
//!   `preemption` (`null`, or `claim` with `node_id` and `tasks` of one that others make room for, or `yield` with `task_id`,
//!   `service_id` and `message` of one that makes room), `generic_resources` and `volumes` (`id`, `source`, `target`) that it was given, `container_id`, `pid`, `exit_code` (`null` until it has ended), `image`, `command`, `args`, `env`, `networks`
//!   (`network_id`, `network`, `addresses`, `aliases`).
//! - **explanation** of a task that waits: `standing` (`UNALLOCATED`, `WAITING`, `BOUND` …), `message`, `nodes` and how many
//!   of them are `open`, `refusals` (`filter`, `nodes`, `message`, `needs_left_out`, `needs`: each with `nodes`, `message` and what it is, under one of
//!   `condition`, `shortage`, `plugin`, `executor`, `constraint`, `platform`, `host_port`, `max_replicas`, `volume`, `affinity`),
//!   `refused` (`node_id`, `node`, `filter`, `message`), `refused_left_out`.
//! - **plan** of a service: `waits_for`, `created`, `kept`, `replaced` and `given_up` (numbers of tasks), `placements`
//!   (`node_id`, `node`, `created`, `kept`), `placements_left_out`, `waits` (`tasks`, `message`, `explanation`), `nodes` (the
//!   explanation of its first task), `preempted` (`task_id`, `service_id`, `node_id`), `version` of the state that it is of.
//! - **node**: `id`, `hostname`, `name`, `labels`, `role`, `desired_role`, `membership`, `availability`, `state`, `message`,
//!   `address`, `manager` (`null`, or `address`, `leader`, `reachability`), `os`, `architecture`, `nano_cpus`,
//!   `memory_bytes`, `generic_resources`, `plugins` (names by type; the type `Executor` says which kinds of task run there), `engine_labels`,
//!   `storage` (a list of `plugin`, `node_id`, `max_volumes`, `topology`).
//! - **network**: `id`, `name`, `labels`, `ipv6`, `internal`, `attachable`, `ingress`, `removing`, `waiting` (`null`, or `since`,
//!   `message`), `driver` (`null` until it was allocated, else `name`, `options`), `ipam_driver` (the same), `pools` (`family`,
//!   `subnet`, `range`, `gateway`, `reserved`).
//! - **cluster**: `id`, `name`, `task_history_limit`, `rebalance`, `strategy`, `heartbeat_period_ms`, `node_cert_expiry_ms`, `auto_lock`,
//!   `worker_join_token`, `manager_join_token`.
//! - **unlock key**: `auto_lock`, `unlock_key` (`null` where managers are not locked).
//! - **volume**: `id`, `name`, `labels`, `group`, `driver`, `options`, `availability`, `scope`, `sharing`, `type` (`mount`,
//!   `block`), `required_bytes` and `limit_bytes` (0 is without limit), `volume_id` and `capacity_bytes` (`null` until it is
//!   made), `accessible_topology` (segments with their values), `nodes` (`node_id`, `state`, `message`), `waiting` (`null`, or
//!   `since`, `message`), `removing`.
//! - **line** of a log: `time`, `service_id`, `service`, `slot`, `task_id`, `node_id`, `node`, `stream` (`stdout`, `stderr`), `message`
//!   (without the end of the line), `partial` (the line goes on in the next one of this task and stream), `attrs`.
//! - **secret** and **config**: `id`, `name`, `labels`, `data` (the content of a config if it is text, else `null`).
//!
//! All objects have `created_at` and `updated_at`; all but tasks have `version`. Explanations, plans and lines
//! are no objects and have none of these but what is said above.

mod blob;
mod cluster;
mod explanation;
mod generic;
mod job;
mod log;
mod network;
mod node;
mod placement;
mod priority;
mod rebalance;
mod service;
mod start;
mod stats;
mod task;
mod volume;

pub use blob::Blob;
pub use cluster::{Cluster, UnlockKey};
pub use explanation::{Explanation, Plan};
pub use log::LogLine;
pub use network::Network;
pub use node::Node;
use rebalance::Rebalance;
use serde::Serialize;
pub use service::Service;
pub use stats::TaskStats;
pub use task::Task;
pub use volume::Volume;

use super::time::absolute;

/// One line, without its end.
///
/// # Panics
///
/// Never: the structs of this module have no keys that JSON cannot express.
#[must_use]
pub fn line(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("invariant: own structs with string keys are always JSON")
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    Some(absolute(time)).filter(|text| !text.is_empty())
}

fn millis(duration: Option<&prost_types::Duration>) -> Option<u64> {
    let duration = std::time::Duration::try_from(*duration?).ok()?;
    u64::try_from(duration.as_millis()).ok()
}
