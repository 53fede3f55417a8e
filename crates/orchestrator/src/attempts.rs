//! Whether, and how soon, what has ended in a slot is tried again: told by the tasks of the slot themselves.
//!
//! A task that ended by itself is an attempt that is used up. One that had to go is none: its node was lost or drained, it
//! was moved, it made room for one that is more important, or somebody asked it to stop. The two are told apart by the order of the store, in which the end of the
//! one comes before its replacement, and that of the other after it. So each leader counts the same.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Task, TaskId, TaskState, wire::restart_policy::RestartCondition};

use crate::{
    policy::Restart,
    slot::{Seated, Slot, goal, is_live, makes_room},
    times::{observed_at, time},
};

impl Slot {
    /// Whether a task that has ended, or has to, may be replaced: by its own restart policy, and by how often the slot
    /// was tried with the same specification. What had to go is always tried again, if that policy replaces anything; and
    /// whatever it says if it made room for others, since the cluster gave it up that could have kept it.
    pub(crate) fn may_restart(&self, task: &Task) -> bool {
        let policy = Restart::of(&task.spec);
        let completed = task.status.state == TaskState::Complete;
        if makes_room(task) && !completed {
            return true;
        }
        let wanted = match policy.condition {
            RestartCondition::None => false,
            RestartCondition::OnFailure => !completed,
            RestartCondition::Any => !(completed && task.job_iteration.is_some()),
        };
        if !wanted || policy.max_attempts == 0 {
            return wanted;
        }
        let mut row = self.row(task);
        if row.next().is_none_or(|(_, after)| !ended_by_itself(task, after)) {
            return true;
        }
        let restarts = row.filter(|(before, after)| ended_by_itself(&before.task, *after));
        let restarts = restarts.filter_map(|(_, after)| Some(after?.since));
        let attempts = match (policy.window, observed_at(task)) {
            (Some(window), Some(ended)) => {
                let begin = ended.checked_sub(window).unwrap_or(SystemTime::UNIX_EPOCH);
                restarts.filter(|at| *at > begin && *at < ended).count()
            }
            _ => restarts.count(),
        };
        (attempts as u64) < policy.max_attempts
    }

    /// How long what replaces a task that has ended waits, as the policy of that task says: longer with each end in a row,
    /// if the policy has a longest delay.
    pub(crate) fn delay_after(&self, task: &Task) -> Duration {
        let policy = Restart::of(&task.spec);
        if policy.steps() == 0 {
            return policy.delay;
        }
        let mut ends = 0;
        for (seated, after) in self.row(task) {
            ends += u32::from(ended_by_itself(&seated.task, after));
            if ran_for(&seated.task, after) >= policy.stable_after || ends > policy.steps() {
                break;
            }
        }
        policy.delay_at(ends.saturating_sub(1))
    }

    /// The last task of the same specification that ended by itself, before one that had to go, with what replaced it.
    pub(crate) fn last_end_before(&self, task: &Task) -> Option<&Seated> {
        let (_, after) = self.row(task).skip(1).find(|(seated, after)| ended_by_itself(&seated.task, *after))?;
        after
    }

    /// Whether a task had to go before it had ever run, so that what replaces it does what it was to do.
    pub(crate) fn was_lost(&self, task: &Task) -> bool {
        let ran = task.status.running_since.is_some() || task.status.state == TaskState::Running;
        !ran && !is_live(task) && !self.row(task).next().is_none_or(|(_, after)| ended_by_itself(task, after))
    }

    /// The tasks that tell whether and when the newest one, if it ends, is replaced, or when the one on hold may start. Of
    /// those that ended by themselves these are as many as the policy has attempts or steps up to its longest delay.
    pub(crate) fn telling(&self) -> BTreeSet<&TaskId> {
        let mut telling = BTreeSet::new();
        let Some(newest) = self.tasks().rfind(|task| task.desired_state < TaskState::Remove) else { return telling };
        let on_hold: Vec<_> = self.live().filter(|task| task.desired_state < goal(task.job_iteration)).collect();
        telling.extend(on_hold.iter().filter_map(|task| self.before(task)).map(|task| &task.id));
        let policy = Restart::of(&newest.spec);
        // The one that is judged itself, and those before it.
        let attempts = if policy.max_attempts > 0 { policy.max_attempts.saturating_add(1) } else { 0 };
        let attempts = attempts.max(u64::from(!on_hold.is_empty()));
        let mut steps = if policy.steps() > 0 { u64::from(policy.steps()) + 1 } else { 0 };
        let mut ends = 0;
        for (seated, after) in self.row(newest) {
            if ends >= steps.max(attempts) {
                break;
            }
            let is_stable = steps > 0 && ran_for(&seated.task, after) >= policy.stable_after;
            if ended_by_itself(&seated.task, after) {
                ends += 1;
                telling.extend(after.map(|after| &after.task.id));
                telling.insert(&seated.task.id);
            } else if is_stable {
                telling.insert(&seated.task.id);
            }
            // What was before one that was well says nothing about the delay.
            if is_stable {
                steps = 0;
            }
        }
        telling
    }

    /// The tasks of one specification in an unbroken row, from a task on back, each with the one that came after it.
    fn row(&self, task: &Task) -> impl Iterator<Item = (&Seated, Option<&Seated>)> {
        let kind = (task.spec_version, task.job_iteration);
        let wanted = self.seated().iter().rev().filter(|seated| seated.task.desired_state < TaskState::Remove);
        let mut after = None;
        let id = task.id.clone();
        wanted
            .map(move |seated| (seated, after.replace(seated)))
            .skip_while(move |(seated, _)| seated.task.id != id)
            .take_while(move |(seated, _)| (seated.task.spec_version, seated.task.job_iteration) == kind)
    }
}

/// Whether a task ended, and not because it had to. `after` is the one that came next in its slot.
fn ended_by_itself(task: &Task, after: Option<&Seated>) -> bool {
    let ended = matches!(task.status.state, TaskState::Complete | TaskState::Failed | TaskState::Rejected);
    ended && !makes_room(task) && after.is_none_or(|after| was_over_before(task, &after.task))
}

/// Whether a task, which is over, was so when another one was made. What ends because it is replaced is written after its
/// replacement.
pub(crate) fn was_over_before(task: &Task, after: &Task) -> bool {
    if after.meta.created_version.0 == 0 {
        // It was made by a manager that does not count.
        return time(task.meta.updated_at) <= time(after.meta.created_at);
    }
    task.meta.version <= after.meta.created_version
}

/// For how long a task ran, as far as managers have seen it.
fn ran_for(task: &Task, after: Option<&Seated>) -> Duration {
    let Some(began) = time(task.status.running_since) else { return Duration::ZERO };
    let over = if task.status.state > TaskState::Running { observed_at(task) } else { None };
    let replaced = after.map(|after| after.since);
    let end = if is_live(task) { over } else { over.into_iter().chain(replaced).min() };
    end.and_then(|end| end.duration_since(began).ok()).unwrap_or_default()
}
