//! What keeping services as they were asked for costs: by itself, on a store in this program, and in a whole cluster.

mod cluster;
mod converge;
mod events;
mod reaction;
mod scale;
mod setting;
mod size;

pub(super) use self::{cluster::Cluster, converge::create, reaction::runtime};
pub(crate) use self::{converge::Converged, events::Events};
use crate::figure::{Figure, Run, Unit};

const fn claimed(id: &'static str, meaning: &'static str, unit: Unit, limit: f64, repeats: u32, run: Run) -> Figure {
    Figure { id, meaning, unit, limit: Some(limit), upstream: None, repeats, for_information: false, run }
}

const fn told(id: &'static str, meaning: &'static str, unit: Unit, repeats: u32, run: Run) -> Figure {
    Figure { id, meaning, unit, limit: None, upstream: None, repeats, for_information: true, run }
}

const STATUS: &str = "a task's status is written and nothing follows: all work of the process for it, with as many thousand \
                      services of 10 tasks; store without replication";
const TASK: &str = "a task fails and is replaced: the same";
const NODE: &str = "a node with 10 tasks goes down and they are replaced: the same";
const UPDATE: &str = "a service is given another image and its first task replaced: the same";

/// The figures of orchestration.
pub(crate) static FIGURES: &[Figure] = &[
    claimed(
        "orch.update_reaction",
        "a service given another image, to its first new task; 1,000 services of 100 running tasks, store without \
         replication",
        Unit::Milliseconds,
        2.0,
        200,
        reaction::among_many,
    ),
    told(
        "orch.update_reaction_one",
        "the same, where all 100,000 tasks are those of that service",
        Unit::Milliseconds,
        20,
        reaction::of_one,
    ),
    claimed(
        "orch.scale_100k",
        "tasks created in a second while a service goes from 0 to 100,000 replicas; store without replication",
        Unit::PerSecond,
        50_000.0,
        5,
        scale::local,
    ),
    told("orch.scale_100k_raft1", "the same with raft: one member, synced disk", Unit::PerSecond, 3, scale::replicated),
    claimed(
        "orch.converge_10kx10",
        "a cluster of one node in this process, with everything that a daemon has: 10,000 services of 10 replicas created \
         through the control API by 64 callers, from the first call to all tasks RUNNING; inert executor",
        Unit::Seconds,
        20.0,
        1,
        converge::converge,
    ),
    claimed(
        "orch.idle_cpu_10kx10",
        "share of one core that this cluster then uses over 20 s",
        Unit::Percent,
        1.0,
        1,
        converge::idle,
    ),
    told(
        "orch.converge_10kx10_cpu",
        "processor time that it took until all tasks ran, callers included",
        Unit::Seconds,
        1,
        converge::processor_time,
    ),
    told(
        "orch.converge_10kx10_rss",
        "resident memory of the process at its end, the tasks of the node included",
        Unit::Megabytes,
        1,
        converge::memory,
    ),
    told(
        "orch.update_reaction_node",
        "UpdateService called to replace the tasks of one service of this cluster, to the first new task in its store",
        Unit::Milliseconds,
        1,
        converge::reactions,
    ),
    told("orch.event_status_1k", STATUS, Unit::Microseconds, 3, events::status::<1>),
    told("orch.event_status_10k", STATUS, Unit::Microseconds, 3, events::status::<10>),
    told("orch.event_status_100k", STATUS, Unit::Microseconds, 3, events::status::<100>),
    told("orch.event_task_1k", TASK, Unit::Microseconds, 3, events::task::<1>),
    told("orch.event_task_10k", TASK, Unit::Microseconds, 3, events::task::<10>),
    told("orch.event_task_100k", TASK, Unit::Microseconds, 3, events::task::<100>),
    told("orch.event_node_1k", NODE, Unit::Microseconds, 3, events::node::<1>),
    told("orch.event_node_10k", NODE, Unit::Microseconds, 3, events::node::<10>),
    told("orch.event_node_100k", NODE, Unit::Microseconds, 3, events::node::<100>),
    told("orch.event_update_1k", UPDATE, Unit::Microseconds, 3, events::update::<1>),
    told("orch.event_update_10k", UPDATE, Unit::Microseconds, 3, events::update::<10>),
    told("orch.event_update_100k", UPDATE, Unit::Microseconds, 3, events::update::<100>),
    told(
        "orch.bytes_per_task",
        "memory that the orchestrator adds for each of a million tasks of 1,000 services, beside the store's own",
        Unit::Bytes,
        1,
        size::per_task,
    ),
    told(
        "orch.bytes_per_service",
        "memory that it adds for each of 100,000 services without tasks",
        Unit::Bytes,
        1,
        size::per_service,
    ),
];
