//! Schedules and limits of jobs.

use prost_types::Duration;
use swarmkit_api::wire::{
    self,
    service_spec::Mode,
    swarmkit::orchestration::v1::{
        JobLimits, Schedule,
        schedule::{Concurrency, Missed},
    },
};
use swarmkit_schedule::{HISTORY_MAX, Timetable};

use super::{Checked, duration, not_negative};
use crate::ControlError;

const SECOND: i128 = 1_000_000_000;

/// Checks what only jobs may have.
pub(crate) fn job(spec: &wire::ServiceSpec) -> Checked {
    let is_job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
    if !is_job && spec.schedule.is_some() {
        return Err(ControlError::invalid("schedule: only jobs may have one"));
    }
    if !is_job && spec.job_limits.is_some() {
        return Err(ControlError::invalid("job limits: only jobs may have them"));
    }
    spec.schedule.as_ref().map_or(Ok(()), schedule)?;
    spec.job_limits.as_ref().map_or(Ok(()), limits)
}

fn schedule(schedule: &Schedule) -> Checked {
    Timetable::parse(&schedule.cron, &schedule.time_zone)
        .map_err(|error| ControlError::invalid(format!("schedule: {error}")))?;
    Concurrency::try_from(schedule.concurrency).map_err(|_unknown| {
        ControlError::invalid(format!("schedule: there is no concurrency {}", schedule.concurrency))
    })?;
    Missed::try_from(schedule.missed)
        .map_err(|_unknown| ControlError::invalid(format!("schedule: there is no missed {}", schedule.missed)))?;
    at_least_a_second("schedule: starting deadline", schedule.starting_deadline.as_ref())?;
    for (field, kept) in
        [("succeeded history", schedule.succeeded_history), ("failed history", schedule.failed_history)]
    {
        if kept.is_some_and(|kept| kept > HISTORY_MAX) {
            return Err(ControlError::invalid(format!("schedule: {field} must be at most {HISTORY_MAX}")));
        }
    }
    Ok(())
}

fn limits(limits: &JobLimits) -> Checked {
    at_least_a_second("job limits: deadline", limits.deadline.as_ref())?;
    not_negative("job limits: time to live", limits.time_to_live.as_ref())
}

/// What is shorter passes before anything can be done.
fn at_least_a_second(field: &str, said: Option<&Duration>) -> Checked {
    if duration(field, said)?.is_some_and(|nanoseconds| nanoseconds < SECOND) {
        return Err(ControlError::invalid(format!("{field}: must be at least a second")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use swarmkit_testing::service;

    use super::*;

    fn refused(change: impl FnOnce(&mut Schedule, &mut JobLimits)) -> String {
        let mut schedule = Schedule { cron: "0 3 * * *".to_owned(), ..Schedule::default() };
        let mut limits = JobLimits::default();
        change(&mut schedule, &mut limits);
        let job_with = service("job").job(1, 1).spec(|spec| {
            spec.schedule = Some(schedule);
            spec.job_limits = Some(limits);
        });
        job(&job_with.build().spec).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn seconds(seconds: i64) -> Option<Duration> {
        Some(Duration { seconds, nanos: 0 })
    }

    #[test]
    fn only_jobs_have_schedules_and_limits() {
        let scheduled = service("web").spec(|spec| spec.schedule = Some(Schedule::default())).build();
        assert_eq!(job(&scheduled.spec).unwrap_err().to_string(), "schedule: only jobs may have one");
        let limited = service("web").global().spec(|spec| spec.job_limits = Some(JobLimits::default())).build();
        assert_eq!(job(&limited.spec).unwrap_err().to_string(), "job limits: only jobs may have them");
        assert_eq!(refused(|_, _| ()), "");
    }

    #[test]
    fn what_is_wrong_with_a_schedule_is_named() {
        let five = "five fields are needed (minute, hour, day of month, month, day of week), and there are 0";
        assert_eq!(refused(|schedule, _| schedule.cron.clear()), format!("schedule: \"\": {five}"));
        let hour = refused(|schedule, _| schedule.cron = "0 24 * * *".to_owned());
        assert!(hour.starts_with("schedule: hour \"24\": "), "{hour}");
        assert_eq!(refused(|s, _| s.cron = "0 0 30 2 *".to_owned()), "schedule: \"0 0 30 2 *\" never comes");
        assert_eq!(
            refused(|schedule, _| schedule.time_zone = "Berlin".to_owned()),
            "schedule: \"Berlin\" is no time zone of the tz database, such as Europe/Berlin"
        );
        assert_eq!(refused(|schedule, _| schedule.concurrency = 7), "schedule: there is no concurrency 7");
        assert_eq!(refused(|schedule, _| schedule.missed = -1), "schedule: there is no missed -1");
        assert_eq!(
            refused(|schedule, _| schedule.starting_deadline = seconds(0)),
            "schedule: starting deadline: must be at least a second"
        );
        assert_eq!(refused(|s, _| s.failed_history = Some(1001)), "schedule: failed history must be at most 1000");
        assert_eq!(
            refused(|s, _| s.succeeded_history = Some(1001)),
            "schedule: succeeded history must be at most 1000"
        );
    }

    #[test]
    fn what_is_wrong_with_limits_is_named() {
        assert_eq!(
            refused(|_, limits| limits.deadline = seconds(-5)),
            "job limits: deadline: must be at least a second"
        );
        assert_eq!(
            refused(|_, limits| limits.time_to_live = seconds(-1)),
            "job limits: time to live: duration must not be negative"
        );
    }
}
