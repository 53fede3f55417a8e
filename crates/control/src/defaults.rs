//! What an unset part of a service means, for clients that ask to be told.

use prost_types::Duration;
use swarmkit_api::wire::{
    self,
    restart_policy::RestartCondition,
    task_spec::Runtime,
    update_config::{FailureAction, UpdateOrder},
};

/// How long a task may take to stop before it is killed.
const STOP_GRACE_PERIOD: Duration = Duration { seconds: 10, nanos: 0 };
/// How long a stopped task stays down before it is replaced.
const RESTART_DELAY: Duration = Duration { seconds: 5, nanos: 0 };
/// How long a rollout watches each new task.
const MONITOR: Duration = Duration { seconds: 5, nanos: 0 };

/// Fills in what the specification leaves open.
pub(crate) fn fill(spec: &mut wire::ServiceSpec) {
    let task = spec.task.get_or_insert_default();
    if let Some(Runtime::Container(container)) = &mut task.runtime {
        container.stop_grace_period.get_or_insert(STOP_GRACE_PERIOD);
        container.pull_options.get_or_insert_default();
        container.dns_config.get_or_insert_default();
    }
    let resources = task.resources.get_or_insert_default();
    resources.limits.get_or_insert_default();
    resources.reservations.get_or_insert_default();
    task.restart
        .get_or_insert_with(|| wire::RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() })
        .delay
        .get_or_insert(RESTART_DELAY);
    task.placement.get_or_insert_default();
    rollout(&mut spec.update);
    rollout(&mut spec.rollback);
}

fn rollout(config: &mut Option<wire::UpdateConfig>) {
    config
        .get_or_insert_with(|| wire::UpdateConfig {
            parallelism: 1,
            failure_action: FailureAction::Pause.into(),
            order: UpdateOrder::StopFirst.into(),
            ..Default::default()
        })
        .monitor
        .get_or_insert(MONITOR);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_stays_as_it_is() {
        let mut spec = wire::ServiceSpec {
            update: Some(wire::UpdateConfig { parallelism: 7, ..Default::default() }),
            ..Default::default()
        };
        fill(&mut spec);
        let update = spec.update.unwrap();
        assert_eq!((update.parallelism, update.monitor), (7, Some(MONITOR)));
        let rollback = spec.rollback.unwrap();
        assert_eq!((rollback.parallelism, rollback.monitor), (1, Some(MONITOR)));
        assert_eq!(spec.task.unwrap().restart.unwrap().delay, Some(RESTART_DELAY));
    }
}
