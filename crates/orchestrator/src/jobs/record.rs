//! What is written down of the runs of a job: which have begun, how they ended, and up to when the schedule is decided.
//!
//! All that decides is in the record, and each change of it is one write that holds only if the record is what it was. So
//! no time of a schedule begins two runs and none is forgotten, whoever leads, and whatever becomes of the clock.

use std::time::{Duration, SystemTime};

use swarmkit_api::{
    JobRun, Service,
    wire::{
        self,
        swarmkit::orchestration::v1::{
            Schedule,
            job_run::Outcome,
            schedule::{Concurrency, Missed},
        },
    },
};
use swarmkit_schedule::{RUNS_AT_ONCE_MAX, Timetable};

use super::runs::{deadline, max_failures, present};
use crate::times::{period, time};

/// How late a run may begin without being called missed: another manager may have to be elected first, and to learn what
/// there is.
const ON_TIME: Duration = Duration::from_secs(30);

/// How many runs that succeeded, and how many that failed, are kept where the schedule does not say.
const SUCCEEDED_KEPT: u32 = 3;
const FAILED_KEPT: u32 = 1;

/// What the record of a job shall be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) runs: Vec<JobRun>,
    pub(crate) status: Option<wire::JobStatus>,
    pub(crate) decided_until: Option<prost_types::Timestamp>,
}

/// How far a run has come, by its tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) end: Option<End>,
    /// How many of its tasks failed.
    pub(crate) failures: u64,
}

/// How a run has ended, by its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All is done.
    Complete,
    /// So many slots failed as often as they may, and all others are done.
    Spent(u64),
}

/// What comes of a time of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Due {
    Run,
    LeaveOut(&'static str),
    /// Not decided: it is, when the schedule is no longer suspended.
    Wait,
}

impl Record {
    /// What is written down of a job.
    pub(crate) fn of(service: &Service) -> Self {
        Self { runs: service.runs.clone(), status: service.job_status, decided_until: service.decided_until }
    }

    /// Writes it down.
    pub(crate) fn write(&self, service: &mut Service) {
        service.runs.clone_from(&self.runs);
        service.job_status = self.status;
        service.decided_until = self.decided_until;
    }

    /// What has to be written down now, and when to look again for no other reason than the time. `state` tells how far a
    /// run has come.
    pub(crate) fn next(
        service: &Service,
        timetable: Option<&Timetable>,
        state: impl Fn(&JobRun) -> State,
        now: SystemTime,
    ) -> (Self, Option<SystemTime>) {
        let mut record = Self::of(service);
        if service.spec.schedule.is_none() {
            let iteration = present(service).0;
            record.runs.retain(|run| run.iteration == iteration);
            if record.runs.is_empty() {
                record.runs.push(begun(iteration, None, now));
            }
            record.decided_until = None;
        }
        let mut alarm = record.judge(service, state, now);
        if let Some(schedule) = &service.spec.schedule {
            let next = timetable.and_then(|timetable| record.keep_time(service, schedule, timetable, now));
            alarm = alarm.into_iter().chain(next).min();
            record.replace(schedule, now);
            record.trim(schedule);
        }
        (record, alarm)
    }

    /// Ends the runs that have come to their end. Gives when the first of the others has to.
    fn judge(&mut self, service: &Service, state: impl Fn(&JobRun) -> State, now: SystemTime) -> Option<SystemTime> {
        let mut alarm = None;
        for run in self.runs.iter_mut().filter(|run| run.outcome() == Outcome::Running) {
            let State { end: ended, failures } = state(run);
            let ends_at = deadline(service).and_then(|deadline| time(run.started_at)?.checked_add(deadline));
            let max = max_failures(service);
            match ended {
                Some(End::Complete) => end(run, Outcome::Succeeded, "completed".to_owned(), now),
                _ if max.is_some_and(|max| failures > max) => {
                    let message = format!("{failures} tasks failed, and {} may", max.unwrap_or_default());
                    end(run, Outcome::Failed, message, now);
                }
                Some(End::Spent(slots)) => {
                    let slots = if slots == 1 { "1 slot".to_owned() } else { format!("{slots} slots") };
                    end(run, Outcome::Failed, format!("{slots} failed as often as the restart policy lets them"), now);
                }
                None if ends_at.is_some_and(|at| at <= now) => {
                    end(run, Outcome::Failed, "took longer than its deadline".to_owned(), now);
                }
                None => alarm = alarm.into_iter().chain(ends_at).min(),
            }
        }
        alarm
    }

    /// Decides about the last time of the schedule that has come; those before it were missed, and one run is enough for
    /// all of them. Gives when the next one comes.
    fn keep_time(
        &mut self,
        service: &Service,
        schedule: &Schedule,
        timetable: &Timetable,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let since = self.decided_until.or(service.meta.created_at);
        let since = time(since).unwrap_or(now);
        let Some(last) = timetable.last_in(since, now) else { return timetable.next_after(since) };
        let going_on = self.runs.iter().filter(|run| run.outcome() == Outcome::Running).count();
        let late = now.duration_since(last).unwrap_or_default();
        match due(schedule, late, going_on) {
            Due::Wait => return None,
            Due::Run => {
                let iteration = present(service).0 + 1;
                self.runs.push(begun(iteration, Some(last), now));
                let job_iteration = Some(wire::Version { index: iteration });
                self.status = Some(wire::JobStatus { job_iteration, last_execution: Some(now.into()) });
            }
            Due::LeaveOut(why) => {
                tracing::info!(service = service.name(), why, "a time of a schedule is left out");
                if let Some(run) = self.runs.iter_mut().rfind(|run| run.outcome() == Outcome::Running) {
                    run.message = format!("left out meanwhile: {}", prost_types::Timestamp::from(last));
                }
            }
        }
        self.decided_until = Some(last.into());
        timetable.next_after(now)
    }

    /// Where the last run takes the place of others, these have ended.
    fn replace(&mut self, schedule: &Schedule, now: SystemTime) {
        if schedule.concurrency() != Concurrency::Replace {
            return;
        }
        let mut running = self.runs.iter_mut().filter(|run| run.outcome() == Outcome::Running).rev();
        let Some(last) = running.next() else { return };
        let message = format!("run {} took its place", last.iteration);
        running.for_each(|run| end(run, Outcome::Replaced, message.clone(), now));
    }

    /// Forgets the oldest runs that are over and more than are kept.
    fn trim(&mut self, schedule: &Schedule) {
        let mut succeeded = schedule.succeeded_history.unwrap_or(SUCCEEDED_KEPT);
        let mut failed = schedule.failed_history.unwrap_or(FAILED_KEPT);
        let mut kept: Vec<_> = std::mem::take(&mut self.runs);
        kept.reverse();
        kept.retain(|run| {
            let room = match run.outcome() {
                Outcome::Running => return true,
                Outcome::Succeeded => &mut succeeded,
                Outcome::Failed | Outcome::Replaced => &mut failed,
            };
            let is_kept = *room > 0;
            *room = room.saturating_sub(1);
            is_kept
        });
        kept.reverse();
        self.runs = kept;
    }
}

/// What comes of a time of the schedule, so late, with so many runs going on.
fn due(schedule: &Schedule, late: Duration, going_on: usize) -> Due {
    let skips = schedule.missed() == Missed::Skip;
    let is_too_late = period(schedule.starting_deadline).is_some_and(|deadline| late > deadline);
    match schedule.concurrency() {
        _ if schedule.suspended && !skips => Due::Wait,
        _ if schedule.suspended => Due::LeaveOut("the schedule is suspended"),
        _ if skips && late > ON_TIME => Due::LeaveOut("it was missed"),
        _ if is_too_late => Due::LeaveOut("its starting deadline has passed"),
        Concurrency::Forbid if going_on > 0 => Due::LeaveOut("the run before goes on"),
        Concurrency::Allow if going_on >= RUNS_AT_ONCE_MAX => Due::LeaveOut("too many runs go on"),
        Concurrency::Allow | Concurrency::Forbid | Concurrency::Replace => Due::Run,
    }
}

fn begun(iteration: u64, scheduled_for: Option<SystemTime>, now: SystemTime) -> JobRun {
    JobRun {
        iteration,
        scheduled_for: scheduled_for.map(Into::into),
        started_at: Some(now.into()),
        ..JobRun::default()
    }
}

fn end(run: &mut JobRun, outcome: Outcome, message: String, now: SystemTime) {
    run.set_outcome(outcome);
    run.ended_at = Some(now.into());
    run.message = message;
}
