//! Limits on what a container may use.

use bollard::models::{HostConfig, ResourcesUlimits};
use swarmkit_api::{Task, wire::ContainerSpec};

use super::{number, refusals::Refusals, some};

/// The limits of a task, and nothing else.
///
/// What is reserved is the scheduler's business.
pub(super) fn limits(task: &Task, spec: &ContainerSpec, refused: &mut Refusals) -> HostConfig {
    let asked = task.spec.resources.clone().unwrap_or_default();
    let limits = asked.limits.unwrap_or_default();
    refused.unless(limits.generic.is_empty(), "limits of generic resources (reserve them)");
    refused.unless((-1000..=1000).contains(&spec.oom_score_adj), "OOM score adjustment beyond -1000 to 1000");
    let memory = number(limits.memory_bytes);
    HostConfig {
        nano_cpus: number(limits.nano_cpus),
        memory,
        memory_swap: swap(asked.swap_bytes, memory, refused),
        memory_swappiness: swappiness(asked.memory_swappiness, refused),
        pids_limit: (spec.pids_limit > 0).then_some(spec.pids_limit),
        oom_score_adj: number(spec.oom_score_adj),
        ulimits: some(spec.ulimits.iter().map(ulimit).collect()),
        ..Default::default()
    }
}

/// The engine counts memory and swap together.
fn swap(asked: Option<i64>, memory: Option<i64>, refused: &mut Refusals) -> Option<i64> {
    match (asked?, memory) {
        (-1, _) => Some(-1),
        (bytes @ 0.., Some(memory)) => Some(memory.saturating_add(bytes)),
        (0.., None) => {
            refused.unless(false, "swap limit without a memory limit");
            None
        }
        _ => {
            refused.unless(false, "negative swap limit");
            None
        }
    }
}

fn swappiness(asked: Option<i64>, refused: &mut Refusals) -> Option<i64> {
    let asked = asked.filter(|asked| *asked != -1)?;
    refused.unless((0..=100).contains(&asked), "memory swappiness beyond 0 to 100");
    Some(asked)
}

fn ulimit(limit: &swarmkit_api::wire::container_spec::Ulimit) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(limit.name.clone()), soft: Some(limit.soft), hard: Some(limit.hard) }
}
