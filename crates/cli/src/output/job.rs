//! Jobs: schedules, limits and runs.

use std::time::SystemTime;

use prost_types::Timestamp;
use swarmkit_api::{
    JobRun,
    wire::{
        self,
        swarmkit::orchestration::v1::{Schedule, job_run::Outcome},
    },
};
use swarmkit_schedule::Timetable;

use super::{Columns, absolute, relative};

/// When a job runs next by its schedule. `None` when it has none, or one that is suspended.
#[must_use]
pub fn next_run(service: &wire::Service) -> Option<Timestamp> {
    let schedule = service.spec.as_ref()?.schedule.as_ref().filter(|schedule| !schedule.suspended)?;
    let decided_until = SystemTime::try_from(service.decided_until?).ok()?;
    let timetable = Timetable::parse(&schedule.cron, &schedule.time_zone).ok()?;
    timetable.next_after(decided_until).map(Timestamp::from)
}

/// What the list of services says of the next run: nothing of jobs without a schedule.
pub(super) fn next_run_in_short(service: &wire::Service, now: SystemTime) -> String {
    let schedule = service.spec.as_ref().and_then(|spec| spec.schedule.as_ref());
    match schedule {
        Some(schedule) if schedule.suspended => "suspended".to_owned(),
        Some(_) => relative(next_run(service).as_ref(), now),
        None => String::new(),
    }
}

/// What `service inspect` says of the schedule and the limits of a job, and of its runs, newest last.
pub(super) fn job_fields(columns: &mut Columns, service: &wire::Service, now: SystemTime) {
    let Some(spec) = &service.spec else { return };
    if let Some(schedule) = &spec.schedule {
        schedule_fields(columns, schedule);
        if let Some(next) = next_run(service) {
            columns.field(" Next Run", format!("{} ({})", absolute(Some(&next)), relative(Some(&next), now)));
        }
    }
    if let Some(limits) = &spec.job_limits {
        columns.section("Limits");
        columns.field_if_any(" Deadline", told(limits.deadline.as_ref()));
        if limits.max_failures > 0 {
            columns.field(" Failures", limits.max_failures);
        }
        columns.field_if_any(" Kept", told(limits.time_to_live.as_ref()));
    }
    if !service.runs.is_empty() {
        columns.section("Runs");
        service.runs.iter().for_each(|run| columns.field(&format!(" {}", run.iteration), run_line(run, now)));
    }
}

fn schedule_fields(columns: &mut Columns, schedule: &Schedule) {
    columns.section("Schedule");
    columns.field(" Cron", &schedule.cron);
    columns.field(" Time Zone", if schedule.time_zone.is_empty() { "UTC" } else { &schedule.time_zone });
    columns.field(" Concurrency", schedule.concurrency().as_str_name().to_lowercase());
    columns.field(" Missed", schedule.missed().as_str_name().to_lowercase().replace('_', "-"));
    columns.field_if_any(" Deadline", told(schedule.starting_deadline.as_ref()));
    if schedule.suspended {
        columns.field(" Suspended", true);
    }
}

/// `succeeded, for 2026-01-01T03:00:00Z, 2 hours ago: completed`.
fn run_line(run: &JobRun, now: SystemTime) -> String {
    let outcome = run.outcome().as_str_name().to_lowercase();
    let scheduled =
        run.scheduled_for.as_ref().map_or("asked for".to_owned(), |at| format!("for {}", absolute(Some(at))));
    let since = if run.outcome() == Outcome::Running { &run.started_at } else { &run.ended_at };
    let since = relative(since.as_ref(), now);
    let message = if run.message.is_empty() { String::new() } else { format!(": {}", run.message) };
    format!("{outcome}, {scheduled}, {since}{message}")
}

fn told(duration: Option<&prost_types::Duration>) -> String {
    let duration = duration.and_then(|duration| std::time::Duration::try_from(*duration).ok());
    duration.map(|duration| humantime::format_duration(duration).to_string()).unwrap_or_default()
}
