//! What only jobs have.

use serde::Serialize;
use swarmkit_api::{
    JobRun,
    wire::{
        self,
        swarmkit::orchestration::v1::{JobLimits, Schedule},
    },
};

use super::{super::next_run, millis, time};

/// What only jobs have. Of other services it is all absent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Job {
    schedule: Option<JobSchedule>,
    job_limits: Option<Limits>,
    next_run: Option<String>,
    /// Oldest first.
    runs: Vec<Run>,
}

#[derive(Clone, Debug, Serialize)]
struct JobSchedule {
    cron: String,
    time_zone: String,
    concurrency: &'static str,
    missed: &'static str,
    starting_deadline_ms: Option<u64>,
    succeeded_history: Option<u32>,
    failed_history: Option<u32>,
    suspended: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Limits {
    deadline_ms: Option<u64>,
    max_failures: u64,
    time_to_live_ms: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
struct Run {
    iteration: u64,
    scheduled_for: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    outcome: &'static str,
    message: String,
}

impl Job {
    pub(super) fn new(service: &wire::Service) -> Self {
        let spec = service.spec.as_ref();
        Self {
            schedule: spec.and_then(|spec| spec.schedule.as_ref()).map(JobSchedule::new),
            job_limits: spec.and_then(|spec| spec.job_limits.as_ref()).map(Limits::new),
            next_run: time(next_run(service).as_ref()),
            runs: service.runs.iter().map(Run::new).collect(),
        }
    }
}

impl JobSchedule {
    fn new(schedule: &Schedule) -> Self {
        let zone = if schedule.time_zone.is_empty() { "UTC" } else { &schedule.time_zone };
        Self {
            cron: schedule.cron.clone(),
            time_zone: zone.to_owned(),
            concurrency: schedule.concurrency().as_str_name(),
            missed: schedule.missed().as_str_name(),
            starting_deadline_ms: millis(schedule.starting_deadline.as_ref()),
            succeeded_history: schedule.succeeded_history,
            failed_history: schedule.failed_history,
            suspended: schedule.suspended,
        }
    }
}

impl Limits {
    fn new(limits: &JobLimits) -> Self {
        Self {
            deadline_ms: millis(limits.deadline.as_ref()),
            max_failures: limits.max_failures,
            time_to_live_ms: millis(limits.time_to_live.as_ref()),
        }
    }
}

impl Run {
    fn new(run: &JobRun) -> Self {
        Self {
            iteration: run.iteration,
            scheduled_for: time(run.scheduled_for.as_ref()),
            started_at: time(run.started_at.as_ref()),
            ended_at: time(run.ended_at.as_ref()),
            outcome: run.outcome().as_str_name(),
            message: run.message.clone(),
        }
    }
}
