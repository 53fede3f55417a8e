//! Jobs: when a request begins a run.
//!
//! A job without a schedule runs when it is created, and again whenever it is updated. One with a schedule runs when it is
//! time, and once more when an update changes `force_update`.

use prost_types::Timestamp;
use swarmkit_api::{
    JobRun, Service,
    wire::{
        self, ServiceSpec,
        swarmkit::orchestration::v1::{job_run::Outcome, schedule::Concurrency},
    },
};
use swarmkit_schedule::RUNS_AT_ONCE_MAX;

use crate::ControlError;

/// A new job is at its first iteration. Times of its schedule that were before it was there are none of its own.
pub(crate) fn create(service: &mut Service, now: Timestamp) {
    let is_scheduled = service.spec.schedule.is_some();
    let last_execution = (!is_scheduled).then_some(now);
    service.job_status = Some(wire::JobStatus { job_iteration: Some(wire::Version { index: 0 }), last_execution });
    service.decided_until = is_scheduled.then_some(now);
}

/// What it means for the runs of a job that it now asks for what it does, and was `stored` before.
///
/// # Errors
///
/// When a run is asked for that may not begin now.
pub(crate) fn update(
    service: &mut Service,
    stored: &Service,
    rollback: bool,
    now: Timestamp,
) -> Result<(), ControlError> {
    let Some(schedule) = &service.spec.schedule else {
        service.runs.clear();
        service.decided_until = None;
        count(service, now);
        return Ok(());
    };
    let before = stored.spec.schedule.as_ref();
    if before.map(|before| (&before.cron, &before.time_zone)) != Some((&schedule.cron, &schedule.time_zone)) {
        service.decided_until = Some(now);
    }
    let is_asked = !rollback && before.is_some() && forced(&service.spec) != forced(&stored.spec);
    if !is_asked {
        return Ok(());
    }
    let going_on = service.runs.iter().filter(|run| run.outcome() == Outcome::Running).count();
    if schedule.concurrency() == Concurrency::Forbid && going_on > 0 {
        return Err(ControlError::Precondition(format!(
            "a run of service {} goes on, and its schedule allows one at a time",
            service.name()
        )));
    }
    if going_on >= RUNS_AT_ONCE_MAX {
        return Err(ControlError::Precondition(format!("{going_on} runs of service {} go on", service.name())));
    }
    let iteration = count(service, now);
    service.runs.push(JobRun { iteration, started_at: Some(now), ..JobRun::default() });
    Ok(())
}

/// Counts an iteration.
fn count(service: &mut Service, now: Timestamp) -> u64 {
    let status = service.job_status.get_or_insert_default();
    let iteration = status.job_iteration.get_or_insert_default();
    iteration.index += 1;
    status.last_execution = Some(now);
    iteration.index
}

fn forced(spec: &ServiceSpec) -> u64 {
    spec.task.as_ref().map_or(0, |task| task.force_update)
}
