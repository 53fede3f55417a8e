//! The flags that say how updates, rollbacks and restarts go.

use std::time::Duration;

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    self,
    restart_policy::RestartCondition,
    update_config::{FailureAction, UpdateOrder},
};

use super::service_flags::RESTART_DEFAULT;
use crate::units::{parse_duration, to_wire_duration};

/// The flags that `create` and `update` share. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct RolloutFlags {
    /// How many tasks to update at once; 0 is all of them
    #[arg(long, value_name = "N")]
    update_parallelism: Option<u64>,

    /// How long to wait between updates
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    update_delay: Option<Duration>,

    /// How long an updated task is watched: if it ends within that, it has failed [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    update_monitor: Option<Duration>,

    /// The share of updated tasks that may fail, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    update_max_failure_ratio: Option<f32>,

    /// What to do when updated tasks fail
    #[arg(long, value_enum, value_name = "ACTION")]
    update_on_failure: Option<OnFailure>,

    /// Which comes first, stopping the old task or starting the new one
    #[arg(long, value_enum, value_name = "ORDER")]
    update_order: Option<Order>,

    /// How long an updated task may take to run, or else it has failed; 0 is without limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    update_progress_deadline: Option<Duration>,

    /// How many tasks may be missing at a time while updating; 0 is without limit
    #[arg(long, value_name = "N")]
    update_max_unavailable: Option<u64>,

    /// How many tasks to roll back at once; 0 is all of them
    #[arg(long, value_name = "N")]
    rollback_parallelism: Option<u64>,

    /// How long to wait between roll-backs
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    rollback_delay: Option<Duration>,

    /// How long a task that was rolled back is watched [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    rollback_monitor: Option<Duration>,

    /// The share of tasks that may fail when rolled back, from 0 to 1
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    rollback_max_failure_ratio: Option<f32>,

    /// What to do when tasks fail that were rolled back
    #[arg(long, value_enum, value_name = "ACTION")]
    rollback_on_failure: Option<RollbackOnFailure>,

    /// Which comes first when rolling back
    #[arg(long, value_enum, value_name = "ORDER")]
    rollback_order: Option<Order>,

    /// How long a task that was rolled back may take to run; 0 is without limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    rollback_progress_deadline: Option<Duration>,

    /// How many tasks may be missing at a time while rolling back; 0 is without limit
    #[arg(long, value_name = "N")]
    rollback_max_unavailable: Option<u64>,

    /// When to replace a task that has ended [default: any]
    #[arg(long, value_enum, value_name = "CONDITION")]
    restart_condition: Option<Condition>,

    /// How long to wait before a task is replaced [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_delay: Option<Duration>,

    /// Up to which the delay doubles with each end in a row; 0 is always the same
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_max_delay: Option<Duration>,

    /// How long a task has to run for the delay to start over [default: the longest delay]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_stable_after: Option<Duration>,

    /// How often a task is replaced within the window; 0 is without limit
    #[arg(long, value_name = "N")]
    restart_max_attempts: Option<u64>,

    /// The window in which attempts count; 0 is for ever
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    restart_window: Option<Duration>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnFailure {
    Pause,
    Continue,
    Rollback,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RollbackOnFailure {
    Pause,
    Continue,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    StopFirst,
    StartFirst,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Condition {
    Any,
    Failure,
    None,
}

/// What was given for updates, or for rollbacks.
struct Given {
    parallelism: Option<u64>,
    delay: Option<Duration>,
    monitor: Option<Duration>,
    max_failure_ratio: Option<f32>,
    action: Option<FailureAction>,
    order: Option<Order>,
    progress_deadline: Option<Duration>,
    max_unavailable: Option<u64>,
}

impl RolloutFlags {
    /// Puts what was given into a specification.
    pub(super) fn apply(&self, spec: &mut wire::ServiceSpec) {
        let update = Given {
            parallelism: self.update_parallelism,
            delay: self.update_delay,
            monitor: self.update_monitor,
            max_failure_ratio: self.update_max_failure_ratio,
            action: self.update_on_failure.map(|action| match action {
                OnFailure::Pause => FailureAction::Pause,
                OnFailure::Continue => FailureAction::Continue,
                OnFailure::Rollback => FailureAction::Rollback,
            }),
            order: self.update_order,
            progress_deadline: self.update_progress_deadline,
            max_unavailable: self.update_max_unavailable,
        };
        update.apply(&mut spec.update);
        let rollback = Given {
            parallelism: self.rollback_parallelism,
            delay: self.rollback_delay,
            monitor: self.rollback_monitor,
            max_failure_ratio: self.rollback_max_failure_ratio,
            action: self.rollback_on_failure.map(|action| match action {
                RollbackOnFailure::Pause => FailureAction::Pause,
                RollbackOnFailure::Continue => FailureAction::Continue,
            }),
            order: self.rollback_order,
            progress_deadline: self.rollback_progress_deadline,
            max_unavailable: self.rollback_max_unavailable,
        };
        rollback.apply(&mut spec.rollback);
        self.apply_restart(spec.task.get_or_insert_default());
    }

    fn apply_restart(&self, task: &mut wire::TaskSpec) {
        let present = task.restart;
        let restart = task.restart.get_or_insert(RESTART_DEFAULT);
        let before = *restart;
        if let Some(condition) = self.restart_condition {
            restart.set_condition(match condition {
                Condition::Any => RestartCondition::Any,
                Condition::Failure => RestartCondition::OnFailure,
                Condition::None => RestartCondition::None,
            });
        }
        restart.max_attempts = self.restart_max_attempts.unwrap_or(restart.max_attempts);
        restart.delay = self.restart_delay.map(to_wire_duration).or(restart.delay);
        restart.max_delay = limit(self.restart_max_delay, restart.max_delay);
        restart.stable_after = self.restart_stable_after.map(to_wire_duration).or(restart.stable_after);
        restart.window = self.restart_window.map(to_wire_duration).or(restart.window);
        if *restart == before && self.restart_condition.is_none() {
            task.restart = present;
        }
    }
}

impl Given {
    fn apply(self, config: &mut Option<wire::UpdateConfig>) {
        let was_absent = config.is_none();
        // One at a time is what a service without this section gets, too.
        let before = config.unwrap_or(wire::UpdateConfig { parallelism: 1, ..Default::default() });
        let mut after = before;
        after.parallelism = self.parallelism.unwrap_or(after.parallelism);
        after.delay = self.delay.map(to_wire_duration).or(after.delay);
        after.monitor = self.monitor.map(to_wire_duration).or(after.monitor);
        after.max_failure_ratio = self.max_failure_ratio.unwrap_or(after.max_failure_ratio);
        after.progress_deadline = limit(self.progress_deadline, after.progress_deadline);
        after.max_unavailable = self.max_unavailable.unwrap_or(after.max_unavailable);
        if let Some(action) = self.action {
            after.set_failure_action(action);
        }
        match self.order {
            Some(Order::StopFirst) => after.set_order(UpdateOrder::StopFirst),
            Some(Order::StartFirst) => after.set_order(UpdateOrder::StartFirst),
            None => {}
        }
        if !was_absent || after != before {
            *config = Some(after);
        }
    }
}

/// A limit as it was given, where 0 takes away the one that there is.
fn limit(given: Option<Duration>, present: Option<prost_types::Duration>) -> Option<prost_types::Duration> {
    given.map_or(present, |given| (!given.is_zero()).then(|| to_wire_duration(given)))
}

fn parse_share(text: &str) -> Result<f32, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("expected a number from 0 to 1".to_owned())
}
