//! A rollout: bringing the slots of a service to what it asks for now, a few at a time, and watching how that goes.
//!
//! How far a rollout has come is told by the slots and the service's update status. What is kept here beside them is
//! what cannot be told later: when the tasks that it made were first seen running. It is built anew from a snapshot by
//! the same code, then with what can still be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use swarmkit_api::{
    Service, Task, TaskId, TaskState,
    wire::{update_config::FailureAction, update_status::UpdateState},
};

use crate::{
    policy::{self, Rolling},
    slot::{Slot, SlotKey, makes_room},
    times::{observed_at, time},
};

/// The tasks that a rollout has made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rollout {
    made: BTreeMap<TaskId, Made>,
    /// The slots of these tasks.
    begun: BTreeSet<SlotKey>,
    /// Those that neither ran nor ended yet, by when they were made.
    open: BTreeSet<(SystemTime, TaskId)>,
    /// The others, by when they did.
    settled: BTreeSet<(SystemTime, TaskId)>,
    /// Those that have ended, and those that ran too late.
    judged: BTreeSet<TaskId>,
    /// How long one may take to run.
    deadline: Option<Duration>,
}

/// A task that a rollout has made.
#[derive(Clone, Debug)]
struct Made {
    at: SystemTime,
    /// Whether it is known not to have run if that was not seen: this leader saw it before it ended, or its record would
    /// tell.
    is_known: bool,
    /// When it was first seen running.
    running: Option<SystemTime>,
    ended: Option<(SystemTime, TaskState)>,
}

/// What comes next in a rollout.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Next {
    /// What its status has to say.
    pub(crate) verdict: Option<Verdict>,
    /// Whether slots may be touched at all.
    pub(crate) goes_on: bool,
    /// How many slots more may be begun.
    pub(crate) room: usize,
    /// Whether nothing is under way.
    pub(crate) is_idle: bool,
    /// When to look again for no other reason than the time.
    pub(crate) alarm: Option<SystemTime>,
}

/// A task that failed, and whether it did by not running in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Failed {
    task: TaskId,
    late: bool,
}

/// What is said of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It begins.
    Begin,
    Report(UpdateState, String),
    RollBack(String),
    /// It goes neither on nor back, for this reason.
    StandStill(String),
}

// === impl Rollout ===

impl Rollout {
    /// What can still be told of the rollout that a service is in.
    pub(crate) fn of(service: &Service, slots: &BTreeMap<SlotKey, Slot>, now: SystemTime) -> Self {
        let mut rollout = Self { deadline: Rolling::of(service).progress_deadline, ..Self::default() };
        for (key, slot) in slots {
            slot.tasks().for_each(|task| rollout.observe(service, key, slot, task, now));
        }
        rollout
    }

    /// Takes note of a task, if the rollout has made it.
    pub(crate) fn observe(&mut self, service: &Service, key: &SlotKey, slot: &Slot, task: &Task, now: SystemTime) {
        let id = &task.id;
        if slot.was_lost(task) {
            // What replaces it is made by the rollout in its place.
            if let Some(made) = self.made.remove(id) {
                self.open.remove(&(made.at, id.clone()));
            }
            return;
        }
        if !self.made.contains_key(id) {
            if !is_made_by_rollout(service, slot, task) {
                return;
            }
            let at = time(task.meta.created_at).map_or(now, |at| at.min(now));
            let is_known = task.meta.created_version.0 > 0;
            self.made.insert(id.clone(), Made { at, is_known, running: None, ended: None });
            self.begun.insert(key.clone());
            self.open.insert((at, id.clone()));
        }
        let Some(made) = self.made.get_mut(id) else { return };
        let observed = observed_at(task).unwrap_or(now).min(now).max(made.at);
        let ran = time(task.status.running_since).map(|ran| ran.min(now).max(made.at));
        let ran = ran.or((task.status.state == TaskState::Running).then_some(observed));
        made.is_known |= task.status.state <= TaskState::Running;
        made.running = made.running.or(ran);
        if task.status.state < TaskState::Running {
            return;
        }
        if self.open.remove(&(made.at, id.clone())) {
            let settled = made.running.unwrap_or(observed);
            self.settled.insert((settled, id.clone()));
            if self.deadline.is_some_and(|deadline| settled >= made.at + deadline) {
                self.judged.insert(id.clone());
            }
        }
        if task.status.state > TaskState::Running && made.ended.is_none() {
            // However it ended, it had to.
            let end = if makes_room(task) { TaskState::Shutdown } else { task.status.state };
            made.ended = Some((observed, end));
            self.judged.insert(id.clone());
        }
    }

    /// A task is no more: if it neither ran nor ended yet, it never will, and is not waited for.
    pub(crate) fn forget(&mut self, id: &TaskId) {
        if let Some(made) = self.made.get(id)
            && self.open.remove(&(made.at, id.clone()))
        {
            self.made.remove(id);
        }
    }

    /// What comes next, given the slots that are not yet as they shall be.
    pub(crate) fn next<'s>(
        &self,
        service: &Service,
        mut dirty: impl Iterator<Item = &'s SlotKey> + Clone,
        now: SystemTime,
    ) -> Next {
        let state = policy::state(service);
        if matches!(state, Some(UpdateState::Paused | UpdateState::RollbackPaused)) {
            return Next::default();
        }
        let watched = matches!(state, Some(UpdateState::Updating | UpdateState::RollbackStarted));
        if !watched && dirty.clone().next().is_none() {
            return Next::default();
        }
        let rolling = Rolling::of(service);
        let slots = || self.begun.len() + dirty.clone().filter(|slot| !self.begun.contains(slot)).count();
        if watched
            && rolling.on_failure != FailureAction::Continue
            && let Some(failed) = self.failed_too_often(&rolling, slots, now)
        {
            return Next { verdict: Some(fail(service, &rolling, &failed)), ..Next::default() };
        }
        let (in_time, overdue) = self.open(now);
        // Whoever has worked on a slot rests for the delay.
        let rest = |at: SystemTime| Some(at + rolling.delay).filter(|until| *until > now);
        let resting = self.settled.iter().rev().map_while(|(at, _)| rest(*at));
        let given_up = overdue.clone().map_while(rest);
        let busy = in_time.clone().count() + resting.clone().count() + given_up.clone().count();
        let limit = rolling.parallelism.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let next = Next {
            verdict: state.is_none().then_some(Verdict::Begin),
            goes_on: true,
            room: limit.saturating_sub(busy),
            is_idle: busy == 0,
            alarm: [resting.last(), given_up.last(), in_time.last().flatten()].into_iter().flatten().min(),
        };
        if !watched || busy > 0 || !dirty.all(|slot| self.begun.contains(slot)) {
            return next;
        }
        let last = self.settled.last().map(|(at, _)| *at).into_iter().chain(overdue.take(1)).max();
        match last.map(|at| at + rolling.delay + watch_period(&rolling)) {
            Some(over) if over > now => Next { alarm: Some(over), ..next },
            _ => Next { verdict: Some(complete(state)), alarm: None, ..next },
        }
    }

    /// Until when each task that neither ran nor ended has time, if it has; and since when the others have none. The
    /// newest first.
    fn open(
        &self,
        now: SystemTime,
    ) -> (impl Iterator<Item = Option<SystemTime>> + Clone, impl Iterator<Item = SystemTime> + Clone) {
        let deadline = self.deadline;
        let ends = self.open.iter().rev().map(move |(at, _)| deadline.map(|deadline| *at + deadline));
        let in_time = move |end: &Option<SystemTime>| end.is_none_or(|end| end > now);
        (ends.clone().take_while(in_time), ends.skip_while(in_time).flatten())
    }

    /// The task that was one failure too many, out of all slots of the rollout, and whether it was too late.
    fn failed_too_often(&self, rolling: &Rolling, slots: impl Fn() -> usize, now: SystemTime) -> Option<Failed> {
        let open = self.open.iter().take_while(|(at, _)| self.deadline.is_some_and(|deadline| *at + deadline <= now));
        let suspects = open.map(|(_, id)| id).chain(&self.judged);
        let failures = suspects.filter_map(|id| {
            let (at, late) = self.made.get(id)?.failure(rolling, now)?;
            Some((at, Failed { task: id.clone(), late }))
        });
        let (mut count, mut last) = (0_usize, None);
        for failure in failures {
            count += 1;
            last = last.max(Some(failure));
        }
        let (_, last) = last?;
        #[expect(clippy::cast_precision_loss, reason = "a share of slots")]
        let share = count as f32 / slots().max(1) as f32;
        (share > rolling.max_failure_ratio).then_some(last)
    }
}

// === impl Made ===

impl Made {
    /// When it failed, and whether by being late: it did not run in time, or it ended before it ran or soon after. What had
    /// to go, because it was asked to or with its node, has not failed. Of a task of which it is not known whether it ran
    /// only what is certain counts.
    fn failure(&self, rolling: &Rolling, now: SystemTime) -> Option<(SystemTime, bool)> {
        let due = rolling.progress_deadline.map(|deadline| self.at + deadline);
        let began = self.running.or(self.ended.map(|(at, _)| at)).unwrap_or(now);
        if let Some(due) = due.filter(|due| *due <= began) {
            return Some((due, true));
        }
        let (at, state) = self.ended?;
        let within = |since: SystemTime| at.duration_since(since).is_ok_and(|age| age < rolling.monitor);
        let counts = match self.running {
            _ if matches!(state, TaskState::Shutdown | TaskState::Orphaned) => false,
            Some(since) => within(since),
            None => self.is_known || state == TaskState::Rejected || within(self.at),
        };
        counts.then_some((at, false))
    }
}

/// Whether a task is the first of its version in its slot, but for those that were lost before they ran, and was made since
/// the rollout began. What replaces it when it fails is not, and neither is one that was moved.
pub(crate) fn is_made_by_rollout(service: &Service, slot: &Slot, task: &Task) -> bool {
    let Some(status) = &service.update_status else { return false };
    // By the count of the store, which goes on from leader to leader; by their clocks where nobody has counted.
    let is_since = match (status.started_version, task.meta.created_version.0) {
        (0, _) | (_, 0) => {
            time(status.started_at).zip(time(task.meta.created_at)).is_some_and(|(began, made)| made >= began)
        }
        (began, made) => made >= began,
    };
    if !is_since || task.origin.is_some() || task.spec_version != service.spec_version {
        return false;
    }
    let older = slot.tasks().rev().skip_while(|other| other.id != task.id).skip(1);
    let mut older = older.filter(|other| other.desired_state < TaskState::Remove);
    let before = older.find(|other| other.spec_version != task.spec_version || !slot.was_lost(other));
    before.is_some_and(|before| before.spec_version != task.spec_version)
}

/// What follows from too many failures.
fn fail(service: &Service, rolling: &Rolling, failed: &Failed) -> Verdict {
    let mut why = format!("due to failure or early termination of task {}", failed.task);
    if let Some(deadline) = rolling.progress_deadline.filter(|_| failed.late) {
        why += &format!(": it did not run within {deadline:?}");
    }
    let rolls_back = policy::state(service) == Some(UpdateState::RollbackStarted);
    let paused = if rolls_back { UpdateState::RollbackPaused } else { UpdateState::Paused };
    match rolling.on_failure {
        // A rollback is never rolled back.
        FailureAction::Rollback if rolls_back => Verdict::Report(paused, format!("rollback paused {why}")),
        FailureAction::Rollback if service.previous_spec.is_some() => {
            Verdict::RollBack(format!("update rolled back {why}"))
        }
        FailureAction::Rollback => {
            Verdict::StandStill(format!("nothing to roll back to after failure of task {}", failed.task))
        }
        FailureAction::Pause | FailureAction::Continue => Verdict::Report(paused, format!("update paused {why}")),
    }
}

fn complete(state: Option<UpdateState>) -> Verdict {
    match state {
        Some(UpdateState::RollbackStarted) => {
            Verdict::Report(UpdateState::RollbackCompleted, "rollback completed".to_owned())
        }
        _ => Verdict::Report(UpdateState::Completed, "update completed".to_owned()),
    }
}

/// For how long the last task is watched, from when its turn was over.
fn watch_period(rolling: &Rolling) -> Duration {
    match rolling.on_failure {
        FailureAction::Continue => Duration::ZERO,
        _ if rolling.delay >= rolling.monitor => rolling.delay + Duration::from_secs(1),
        _ => rolling.monitor,
    }
}
