//! How updates, rollbacks and restarts go, and how far an update has come.

use std::time::{Duration, SystemTime};

use swarmkit_api::wire::{self, update_status::UpdateState};

use super::{Columns, relative};
use crate::units::format_duration;

/// What is said of a service beside how many of its tasks run: nothing, unless an update is under way or waits for somebody.
pub(super) fn standing(service: &wire::Service) -> &'static str {
    match service.update_status.as_ref().map(wire::UpdateStatus::state) {
        Some(UpdateState::Updating) => " (updating)",
        Some(UpdateState::Paused) => " (update paused)",
        Some(UpdateState::RollbackStarted) => " (rolling back)",
        Some(UpdateState::RollbackPaused) => " (rollback paused)",
        Some(UpdateState::Unknown | UpdateState::Completed | UpdateState::RollbackCompleted) | None => "",
    }
}

/// How far it has come, and what was asked for.
pub(super) fn fields(columns: &mut Columns, service: &wire::Service, now: SystemTime) {
    if let Some(status) = &service.update_status {
        columns.section("Update Status");
        columns.field(" State", status.state().as_str_name());
        columns.field_if_any(" Started", relative(status.started_at.as_ref(), now));
        columns.field_if_any(" Completed", relative(status.completed_at.as_ref(), now));
        columns.field_if_any(" Message", &status.message);
    }
    let Some(spec) = &service.spec else { return };
    for (title, config) in [("Update Config", &spec.update), ("Rollback Config", &spec.rollback)] {
        let Some(config) = config else { continue };
        columns.section(title);
        columns.field(
            " Parallelism",
            if config.parallelism == 0 { "all".to_owned() } else { config.parallelism.to_string() },
        );
        columns.field_if_any(" Delay", period(config.delay.as_ref()));
        columns.field_if_any(" Monitor", period(config.monitor.as_ref()));
        columns.field(" On Failure", config.failure_action().as_str_name());
        columns.field(" Failure Ratio", config.max_failure_ratio);
        columns.field(" Order", config.order().as_str_name());
        columns.field_if_any(" Deadline", period(config.progress_deadline.as_ref()));
        columns.field_if_any(" Max Unavailable", number(config.max_unavailable));
    }
    if let Some(restart) = spec.task.as_ref().and_then(|task| task.restart.as_ref()) {
        columns.section("Restart Policy");
        columns.field(" Condition", restart.condition().as_str_name());
        columns.field_if_any(" Delay", period(restart.delay.as_ref()));
        columns.field_if_any(" Max Delay", period(restart.max_delay.as_ref()));
        columns.field_if_any(" Stable After", period(restart.stable_after.as_ref()));
        columns.field_if_any(" Max Attempts", number(restart.max_attempts));
        columns.field_if_any(" Window", period(restart.window.as_ref()));
    }
}

/// A period, if one was given.
fn period(period: Option<&prost_types::Duration>) -> String {
    period.and_then(|period| Duration::try_from(*period).ok()).map(format_duration).unwrap_or_default()
}

/// A number, unless it stands for no limit.
fn number(number: u64) -> String {
    if number == 0 { String::new() } else { number.to_string() }
}
