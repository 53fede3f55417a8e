//! Which runs of a job go on, and which are over.
//!
//! A job without a schedule and without limits has one run, of which its status tells the number, and which goes on for
//! good. Of other jobs the service's record tells the runs.

use std::time::{Duration, SystemTime};

use swarmkit_api::{
    JobRun, Service, Version,
    wire::swarmkit::orchestration::v1::{JobLimits, job_run::Outcome},
};

use crate::times::{period, time};

/// How it stands with one iteration of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its tasks are made, and made again.
    GoesOn,
    /// Nothing more is done for it, but its tasks are kept.
    Over,
    /// Its tasks shall go.
    Gone,
}

/// How it stands with an iteration.
pub(crate) fn stage(service: &Service, iteration: Version) -> Stage {
    if !is_recorded(service) {
        return if iteration == present(service) { Stage::GoesOn } else { Stage::Gone };
    }
    match service.runs.iter().find(|run| run.iteration == iteration.0).map(JobRun::outcome) {
        Some(Outcome::Running) => Stage::GoesOn,
        Some(Outcome::Succeeded | Outcome::Failed | Outcome::Replaced) => Stage::Over,
        None => Stage::Gone,
    }
}

/// The iterations that go on, oldest first.
pub(crate) fn going_on(service: &Service) -> Vec<Version> {
    if !is_recorded(service) {
        return vec![present(service)];
    }
    let running = service.runs.iter().filter(|run| run.outcome() == Outcome::Running);
    running.map(|run| Version(run.iteration)).collect()
}

/// Whether the runs of a job are written down.
pub(crate) fn is_recorded(service: &Service) -> bool {
    service.spec.schedule.is_some() || service.spec.job_limits.is_some()
}

/// Whether nothing is kept of iterations that are gone, not even what has ended.
pub(crate) fn keeps_nothing(service: &Service) -> bool {
    service.spec.schedule.is_some() || limits(service).is_some_and(|limits| limits.time_to_live.is_some())
}

/// Which iteration a job is at. A job without a status is at its first one.
pub(crate) fn present(service: &Service) -> Version {
    service.job_status.and_then(|status| status.job_iteration).unwrap_or_default().into()
}

pub(crate) fn limits(service: &Service) -> Option<&JobLimits> {
    service.spec.job_limits.as_ref()
}

/// How many tasks of a run may fail. `None` is without limit.
pub(crate) fn max_failures(service: &Service) -> Option<u64> {
    limits(service).map(|limits| limits.max_failures).filter(|max| *max > 0)
}

/// How long a run may take. `None` is without limit.
pub(crate) fn deadline(service: &Service) -> Option<Duration> {
    limits(service).and_then(|limits| period(limits.deadline))
}

/// When the tasks of a run go that is over. `None` is when its history does.
pub(crate) fn expiry(service: &Service, run: &JobRun) -> Option<SystemTime> {
    let time_to_live = limits(service).and_then(|limits| period(limits.time_to_live))?;
    time(run.ended_at)?.checked_add(time_to_live)
}
