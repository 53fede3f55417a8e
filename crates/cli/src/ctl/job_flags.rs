//! The flags that describe when a job runs and how much a run may take, and what each does to its specification.

use std::{str::FromStr, time::Duration};

use clap::{Args, ValueEnum};
use swarmkit_api::wire::{
    ServiceSpec,
    service_spec::Mode,
    swarmkit::orchestration::v1::{
        JobLimits, Schedule,
        schedule::{Concurrency, Missed},
    },
};

use super::CtlError;
use crate::units::{parse_duration, to_wire_duration};

/// The flags of jobs that `create` and `update` share. What is not given is left as it is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct JobFlags {
    /// How many tasks of a replicated job run at once
    #[arg(long, value_name = "N")]
    max_concurrent: Option<u64>,

    /// When a job runs, as cron has it: minute, hour, day of month, month and day of week
    #[arg(long, value_name = "CRON", conflicts_with = "no_schedule")]
    schedule: Option<String>,

    /// Take the schedule away; the job then runs at once
    #[arg(long)]
    no_schedule: bool,

    /// Time zone of the schedule, such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,

    /// What happens when it is time and the run before goes on [default: allow]
    #[arg(long, value_enum, value_name = "RULE")]
    schedule_concurrency: Option<WhileRunning>,

    /// What happens to runs that were missed [default: run-once]
    #[arg(long, value_enum, value_name = "RULE")]
    schedule_missed: Option<WhenMissed>,

    /// How late a run may still begin, or none [default: none]
    #[arg(long, value_name = "DURATION")]
    schedule_deadline: Option<Limit>,

    /// How many runs that succeeded are kept [default: 3]
    #[arg(long, value_name = "N")]
    keep_succeeded: Option<u32>,

    /// How many runs that failed are kept [default: 1]
    #[arg(long, value_name = "N")]
    keep_failed: Option<u32>,

    /// Begin no more runs until the schedule is resumed
    #[arg(long, conflicts_with = "resume")]
    suspend: bool,

    /// Go on with a schedule that was suspended
    #[arg(long)]
    resume: bool,

    /// How long a run of a job may take, or none [default: none]
    #[arg(long, value_name = "DURATION")]
    job_deadline: Option<Limit>,

    /// How many tasks of a run may fail; 0 is without limit
    #[arg(long, value_name = "N")]
    job_max_failures: Option<u64>,

    /// How long the tasks of a run are kept after its end, or none for as long as the history of the cluster
    #[arg(long, value_name = "DURATION")]
    job_ttl: Option<Limit>,
}

/// What happens when it is time and the run before goes on.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhileRunning {
    /// Both go on
    Allow,
    /// The new run is left out
    Forbid,
    /// The one before is stopped
    Replace,
}

/// What happens to runs that were missed.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum WhenMissed {
    /// The last of them begins late
    RunOnce,
    /// They are left out
    Skip,
}

/// A duration, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limit(Option<Duration>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { parse_duration(text).map(|duration| Self(Some(duration))) }
    }
}

impl Limit {
    fn to_wire(self) -> Option<prost_types::Duration> {
        self.0.map(to_wire_duration)
    }
}

impl JobFlags {
    /// Puts what was given into a specification that has a mode.
    pub(super) fn apply(&self, spec: &mut ServiceSpec) -> Result<(), CtlError> {
        if let Some(at_once) = self.max_concurrent {
            let Some(Mode::ReplicatedJob(job)) = &mut spec.mode else {
                return Err(CtlError::Usage("--max-concurrent is for replicated jobs".to_owned()));
            };
            job.max_concurrent = at_once;
        }
        if self.no_schedule {
            spec.schedule = None;
        }
        if let Some(cron) = &self.schedule {
            spec.schedule.get_or_insert_default().cron.clone_from(cron);
        }
        if self.says_more_of_schedule() {
            let Some(schedule) = &mut spec.schedule else {
                return Err(CtlError::Usage("the job has no schedule: give it one with --schedule".to_owned()));
            };
            self.apply_schedule(schedule);
        }
        if self.job_deadline.is_some() || self.job_max_failures.is_some() || self.job_ttl.is_some() {
            let limits = spec.job_limits.get_or_insert_default();
            limits.deadline = self.job_deadline.map_or(limits.deadline, Limit::to_wire);
            limits.max_failures = self.job_max_failures.unwrap_or(limits.max_failures);
            limits.time_to_live = self.job_ttl.map_or(limits.time_to_live, Limit::to_wire);
            if *limits == JobLimits::default() {
                spec.job_limits = None;
            }
        }
        Ok(())
    }

    fn says_more_of_schedule(&self) -> bool {
        let kept = self.keep_succeeded.is_some() || self.keep_failed.is_some();
        let rules = self.schedule_concurrency.is_some() || self.schedule_missed.is_some();
        kept || rules || self.time_zone.is_some() || self.schedule_deadline.is_some() || self.suspend || self.resume
    }

    fn apply_schedule(&self, schedule: &mut Schedule) {
        if let Some(zone) = &self.time_zone {
            schedule.time_zone.clone_from(zone);
        }
        match self.schedule_concurrency {
            Some(WhileRunning::Allow) => schedule.set_concurrency(Concurrency::Allow),
            Some(WhileRunning::Forbid) => schedule.set_concurrency(Concurrency::Forbid),
            Some(WhileRunning::Replace) => schedule.set_concurrency(Concurrency::Replace),
            None => {}
        }
        match self.schedule_missed {
            Some(WhenMissed::RunOnce) => schedule.set_missed(Missed::RunOnce),
            Some(WhenMissed::Skip) => schedule.set_missed(Missed::Skip),
            None => {}
        }
        schedule.starting_deadline = self.schedule_deadline.map_or(schedule.starting_deadline, Limit::to_wire);
        schedule.succeeded_history = self.keep_succeeded.or(schedule.succeeded_history);
        schedule.failed_history = self.keep_failed.or(schedule.failed_history);
        schedule.suspended = (schedule.suspended || self.suspend) && !self.resume;
    }
}
