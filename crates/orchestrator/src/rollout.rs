//! A rollout: bringing the slots of a service to what it asks for now, a few at a time, and watching how that goes.
//!
//! How far a rollout has come is told by the slots and the service's update status. What is kept here beside them is
//! what cannot be told later: when the tasks that it made were first seen running. It is built anew from a snapshot by
//! the same code, then with what can still be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use swarmkit_api::{
    Service, Task, TaskId, TaskState,
    wire::{
        update_config::{FailureAction, UpdateOrder},
        update_status::UpdateState,
    },
};

use crate::{
    policy::{self, Rolling},
    slot::{Slot, SlotKey},
    times::{observed_at, time},
};

/// The tasks that a rollout has made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rollout {
    made: BTreeMap<TaskId, Made>,
    /// The slots of these tasks.
    begun: BTreeSet<SlotKey>,
    /// Those that neither ran nor ended yet.
    open: BTreeSet<TaskId>,
    /// The others, by when they did.
    settled: BTreeSet<(SystemTime, TaskId)>,
    /// Those that have ended.
    ended: BTreeSet<TaskId>,
}

/// A task that a rollout has made.
#[derive(Clone, Debug)]
struct Made {
    at: SystemTime,
    /// Whether it was seen before it ended.
    seen_alive: bool,
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
    /// When to look again for no other reason than the time.
    pub(crate) alarm: Option<SystemTime>,
}

/// What is said of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Report(UpdateState, String),
    RollBack(String),
}

/// What to do in one slot of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Turn {
    /// Nothing is as it shall be: stop these, and make a task, which is on hold if it may only start after them.
    Replace { stop: Vec<Arc<Task>>, on_hold: bool },
    /// One task is as it shall be: stop the others.
    Finish { stop: Vec<Arc<Task>> },
    /// One task is as it shall be, but the others go on until it runs.
    Wait,
}

// === impl Rollout ===

impl Rollout {
    /// What can still be told of the rollout that a service is in.
    pub(crate) fn of(service: &Service, slots: &BTreeMap<SlotKey, Slot>, now: SystemTime) -> Self {
        let mut rollout = Self::default();
        for (key, slot) in slots {
            slot.tasks().for_each(|task| rollout.observe(service, key, slot, task, now));
        }
        rollout
    }

    /// Takes note of a task, if the rollout has made it.
    pub(crate) fn observe(&mut self, service: &Service, key: &SlotKey, slot: &Slot, task: &Task, now: SystemTime) {
        if !self.made.contains_key(&task.id) {
            if !is_made_by_rollout(service, slot, task) {
                return;
            }
            let at = time(task.meta.created_at).map_or(now, |at| at.min(now));
            self.made.insert(task.id.clone(), Made { at, seen_alive: false, running: None, ended: None });
            self.begun.insert(key.clone());
            self.open.insert(task.id.clone());
        }
        let Some(made) = self.made.get_mut(&task.id) else { return };
        let observed = observed_at(task).unwrap_or(now).min(now).max(made.at);
        if task.status.state < TaskState::Running {
            made.seen_alive = true;
            return;
        }
        if self.open.remove(&task.id) {
            self.settled.insert((observed, task.id.clone()));
        }
        if task.status.state == TaskState::Running {
            made.seen_alive = true;
            made.running.get_or_insert(observed);
        } else if made.ended.is_none() {
            made.ended = Some((observed, task.status.state));
            self.ended.insert(task.id.clone());
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
            && let Some(failed) = self.failed_too_often(&rolling, slots)
        {
            return Next { verdict: fail(service, &rolling, failed), ..Next::default() };
        }
        let begins = || Verdict::Report(UpdateState::Updating, "update in progress".to_owned());
        // Whoever has worked on a slot rests for the delay.
        let resting = self.settled.iter().rev().map(|(at, _)| *at + rolling.delay).take_while(|until| *until > now);
        let busy = self.open.len() + resting.clone().count();
        let limit = rolling.parallelism.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let next = Next {
            verdict: state.is_none().then(begins),
            goes_on: true,
            room: limit.saturating_sub(busy),
            alarm: resting.last(),
        };
        if !watched || busy > 0 || !dirty.all(|slot| self.begun.contains(slot)) {
            return next;
        }
        let last = self.settled.last().map(|(at, _)| *at + rolling.delay + watch_period(&rolling));
        match last {
            Some(over) if over > now => Next { alarm: Some(over), ..next },
            _ => Next { verdict: Some(complete(state)), alarm: None, ..next },
        }
    }

    /// The task that was one failure too many, out of all slots of the rollout.
    fn failed_too_often(&self, rolling: &Rolling, slots: impl Fn() -> usize) -> Option<&TaskId> {
        let failures = self.ended.iter().filter_map(|id| Some((self.made.get(id)?.failure(rolling)?, id)));
        let (_, last) = failures.clone().max()?;
        #[expect(clippy::cast_precision_loss, reason = "a share of slots")]
        let share = failures.count() as f32 / slots().max(1) as f32;
        (share > rolling.max_failure_ratio).then_some(last)
    }
}

// === impl Made ===

impl Made {
    /// When it failed, if its end is one: that of any task that was not asked to stop, and that came before it ran or
    /// soon after. Of a task that this leader has never seen alive only what is certain counts.
    fn failure(&self, rolling: &Rolling) -> Option<SystemTime> {
        let (at, state) = self.ended?;
        let within = |since: SystemTime| at.duration_since(since).is_ok_and(|age| age < rolling.monitor);
        let counts = match self.running {
            _ if state == TaskState::Shutdown => false,
            Some(since) => within(since),
            None => self.seen_alive || state == TaskState::Rejected || within(self.at),
        };
        counts.then_some(at)
    }
}

/// What to do in a slot that is not as it shall be.
pub(crate) fn turn(slot: &Slot, order: UpdateOrder, is_dirty: impl Fn(&Task) -> bool) -> Turn {
    let live: Vec<_> = slot.live().collect();
    let rank = |task: &Task| (task.desired_state, task.status.state == TaskState::Running);
    // The oldest of the best, since it has come furthest.
    let kept = live.iter().filter(|task| !is_dirty(task)).rev().max_by_key(|task| rank(task));
    let Some(kept) = kept else {
        // What runs goes on until the new task does, if that starts first; what does not run yet is not waited for.
        let goes = |task: &&&Arc<Task>| order == UpdateOrder::StopFirst || task.status.state != TaskState::Running;
        let stop: Vec<_> = live.iter().filter(goes).map(|task| Arc::clone(task)).collect();
        return Turn::Replace { on_hold: order == UpdateOrder::StopFirst && !stop.is_empty(), stop };
    };
    let others = live.iter().filter(|task| task.id != kept.id);
    let stop: Vec<_> = others.clone().map(|task| Arc::clone(task)).collect();
    let runs = kept.status.state == TaskState::Running;
    if order == UpdateOrder::StopFirst || runs || others.clone().all(|task| !is_dirty(task)) {
        Turn::Finish { stop }
    } else {
        Turn::Wait
    }
}

/// Whether a task is the first of its version in its slot, and was made since the rollout began. What replaces it when
/// it fails is not, and neither is one that was moved.
pub(crate) fn is_made_by_rollout(service: &Service, slot: &Slot, task: &Task) -> bool {
    let Some(status) = &service.update_status else { return false };
    // By the count of the store, which goes on from leader to leader; by their clocks where nobody has counted.
    let is_since = match (status.started_version, task.meta.created_version.0) {
        (0, _) | (_, 0) => {
            time(status.started_at).zip(time(task.meta.created_at)).is_some_and(|(began, made)| made >= began)
        }
        (began, made) => made >= began,
    };
    is_since
        && task.origin.is_none()
        && task.spec_version == service.spec_version
        && slot.before(task).is_some_and(|before| before.spec_version != task.spec_version)
}

/// What follows from too many failures.
fn fail(service: &Service, rolling: &Rolling, task: &TaskId) -> Option<Verdict> {
    let why = format!("due to failure or early termination of task {task}");
    let rolls_back = policy::state(service) == Some(UpdateState::RollbackStarted);
    match rolling.on_failure {
        FailureAction::Continue => None,
        FailureAction::Pause => {
            let paused = if rolls_back { UpdateState::RollbackPaused } else { UpdateState::Paused };
            Some(Verdict::Report(paused, format!("update paused {why}")))
        }
        // A rollback is never rolled back.
        FailureAction::Rollback if rolls_back => {
            Some(Verdict::Report(UpdateState::RollbackPaused, format!("rollback paused {why}")))
        }
        FailureAction::Rollback if service.previous_spec.is_some() => {
            Some(Verdict::RollBack(format!("update rolled back {why}")))
        }
        FailureAction::Rollback => {
            tracing::warn!(service = %service.id, %task, "the update fails, and there is nothing to roll back to");
            None
        }
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
