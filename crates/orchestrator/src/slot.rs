//! A slot: the place of one replica, or of a service on one node, and the tasks that were made for it.

use std::{sync::Arc, time::SystemTime};

use swarmkit_api::{
    NodeId, Service, Task, TaskId, TaskState, Version,
    wire::{swarmkit::scheduling::v1::preemption::Side, update_status::UpdateState},
};

use crate::{
    policy,
    times::{observed_at, time},
};

/// Which slot of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SlotKey {
    /// Of a replicated service, from 1.
    Number(u64),
    /// Of a global service.
    Node(NodeId),
    /// Of one run of a job, by its iteration.
    Run(Version, Place),
}

/// Which slot of a run of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Of a replicated job, from 0.
    Number(u64),
    /// Of a global job.
    Node(NodeId),
}

/// The tasks of one slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    /// Oldest first.
    tasks: Vec<Seated>,
}

/// How far a slot of a run of a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nobody works on it.
    None,
    /// A task works on it, or has ended and is about to be replaced.
    Running,
    /// It is done.
    Complete,
    /// It failed as often as it may.
    Spent,
}

/// A task in its slot.
#[derive(Clone, Debug)]
pub(crate) struct Seated {
    pub(crate) task: Arc<Task>,
    /// Since when it exists: when it was made, but not later than when this leader first saw it. So a clock that is
    /// ahead cannot make anybody wait for ever.
    pub(crate) since: SystemTime,
}

// === impl SlotKey ===

impl SlotKey {
    /// The slot of a task. Tasks of a service that is not known have no node to belong to.
    pub(crate) fn of(task: &Task, is_per_node: bool) -> Self {
        match (Self::across_runs(task, is_per_node), task.job_iteration) {
            (Self::Number(number), Some(iteration)) => Self::Run(iteration, Place::Number(number)),
            (Self::Node(node), Some(iteration)) => Self::Run(iteration, Place::Node(node)),
            (key, _) => key,
        }
    }

    /// The slot of a task, or, if it is of a job, where it is in all runs.
    pub(crate) fn across_runs(task: &Task, is_per_node: bool) -> Self {
        match &task.node_id {
            Some(node) if is_per_node => Self::Node(node.clone()),
            _ => Self::Number(task.slot),
        }
    }

    /// The run that it is of.
    pub(crate) fn iteration(&self) -> Option<Version> {
        match self {
            Self::Run(iteration, _) => Some(*iteration),
            Self::Number(_) | Self::Node(_) => None,
        }
    }

    /// The node that it is on, where slots are nodes.
    pub(crate) fn node(&self) -> Option<&NodeId> {
        match self {
            Self::Node(node) | Self::Run(_, Place::Node(node)) => Some(node),
            Self::Number(_) | Self::Run(_, Place::Number(_)) => None,
        }
    }
}

// === impl Seated ===

impl Seated {
    fn new(task: Arc<Task>, now: SystemTime) -> Self {
        let since = time(task.meta.created_at).map_or(now, |made| made.min(now));
        Self { task, since }
    }
}

// === impl Slot ===

impl Slot {
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(crate) fn into_seated(self) -> Vec<Seated> {
        self.tasks
    }

    /// All tasks, oldest first.
    pub(crate) fn seated(&self) -> &[Seated] {
        &self.tasks
    }

    pub(crate) fn tasks(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.tasks.iter().map(|seated| &seated.task)
    }

    /// The tasks that are wanted, oldest first: to run, or, for those of jobs, to complete.
    pub(crate) fn live(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.tasks().filter(|task| is_live(task))
    }

    /// Whether a task that was told to make room for others is still there.
    pub(crate) fn is_being_left(&self) -> bool {
        self.tasks().any(|task| makes_room(task) && !is_live(task) && task.status.state <= TaskState::Running)
    }

    /// Puts a task in that was just made, or a new record of one that is there.
    pub(crate) fn put(&mut self, task: Arc<Task>, now: SystemTime) {
        if let Some(seated) = self.tasks.iter_mut().find(|seated| seated.task.id == task.id) {
            seated.task = task;
            return;
        }
        let place = self.tasks.partition_point(|other| made(&other.task) <= made(&task));
        self.tasks.insert(place, Seated::new(task, now));
    }

    /// Puts a task in that was made at some time: where its time, as far as it tells, says.
    pub(crate) fn put_by_age(&mut self, task: Arc<Task>, now: SystemTime) {
        let place = self.tasks.partition_point(|other| age(&other.task) <= age(&task));
        self.tasks.insert(place, Seated::new(task, now));
    }

    pub(crate) fn take(&mut self, id: &TaskId) -> Option<Seated> {
        let place = self.tasks.iter().position(|seated| seated.task.id == *id)?;
        Some(self.tasks.remove(place))
    }

    /// The task that was in the slot before another one: the newest of the older ones.
    pub(crate) fn before(&self, task: &Task) -> Option<&Arc<Task>> {
        let older = self.tasks().rev().skip_while(|other| other.id != task.id).skip(1);
        older.into_iter().find(|other| other.desired_state < TaskState::Remove)
    }

    /// The tasks that a change of the service replaces. They keep the slot: without any, the slot is dead and its number
    /// is free.
    ///
    /// Those are the live ones. If there are none, it is the last one that ended for good, so that what has finished is
    /// not done again; but not while rolling back, where everything has to come back.
    pub(crate) fn updatable(&self, service: &Service) -> Vec<&Arc<Task>> {
        let live: Vec<_> = self.live().collect();
        if !live.is_empty() || policy::state(service) == Some(UpdateState::RollbackStarted) {
            return live;
        }
        let newest = self.tasks().rfind(|task| task.desired_state < TaskState::Remove);
        newest.filter(|task| !self.may_restart(task)).into_iter().collect()
    }

    /// How far the slot of a run of a job has come. Tasks that were asked to stop before they had ended leave it as if
    /// they had not been.
    pub(crate) fn progress(&self) -> Progress {
        let mut present = self.tasks().filter(|task| task.desired_state < TaskState::Remove).rev().peekable();
        let Some(newest) = present.peek().copied() else { return Progress::None };
        let (mut complete, mut running) = (false, false);
        for task in present {
            complete |= task.status.state == TaskState::Complete;
            running |= is_live(task);
        }
        match (complete, running) {
            (true, _) => Progress::Complete,
            (false, true) => Progress::Running,
            (false, false) if !self.may_restart(newest) => Progress::Spent,
            (false, false) => Progress::None,
        }
    }
}

/// Whether a task is wanted to run, or to complete if it is one of a job.
pub(crate) fn is_live(task: &Task) -> bool {
    task.desired_state <= goal(task.job_iteration)
}

/// Whether a task failed by itself, or could not be run. What a lost node took along did not, nor did what was told to
/// make room for others, however it then ended.
pub(crate) fn is_failure(task: &Task) -> bool {
    matches!(task.status.state, TaskState::Failed | TaskState::Rejected) && !makes_room(task)
}

/// Whether a task was told to stop by the scheduler, to make room for one that is more important.
pub(crate) fn makes_room(task: &Task) -> bool {
    task.preemption.as_ref().is_some_and(|preemption| matches!(preemption.side, Some(Side::Yield(_))))
}

/// The state that a task is finally wanted in: jobs are wanted to complete, others to run.
pub(crate) fn goal(job_iteration: Option<Version>) -> TaskState {
    if job_iteration.is_some() { TaskState::Complete } else { TaskState::Running }
}

/// When a task was made: by the count of the store, which goes on from leader to leader whatever their clocks show, and by
/// its clock for tasks that were made without it.
fn made(task: &Task) -> (Version, Option<SystemTime>) {
    (task.meta.created_version, time(task.meta.created_at))
}

/// Orders tasks of a slot by when they were made. Of those made in one moment, the ones that are no longer wanted were
/// replaced by the others.
fn age(task: &Task) -> ((Version, Option<SystemTime>), bool, Option<SystemTime>, &TaskId) {
    (made(task), is_live(task), observed_at(task), &task.id)
}
