//! When each task was first seen in each of the stages that count.

use std::{collections::BTreeMap, time::Duration};

use swarmkit_api::wire::{self, TaskState};

/// The moments of one task, counted from the beginning of the measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) created: Duration,
    pub(super) assigned: Option<Duration>,
    pub(super) running: Option<Duration>,
}

/// The moments of all tasks of one service.
#[derive(Debug)]
pub(super) struct Moments {
    service: String,
    tasks: BTreeMap<String, Seen>,
    running: usize,
    reason: Option<String>,
}

impl Moments {
    pub(super) fn new(service: String) -> Self {
        Self { service, tasks: BTreeMap::new(), running: 0, reason: None }
    }

    /// Takes in the state of a task. A task that was never seen in a stage that it has passed reached it with this one.
    pub(super) fn observe(&mut self, task: &wire::Task, at: Duration) {
        if task.service_id != self.service {
            return;
        }
        let status = task.status.clone().unwrap_or_default();
        let seen = self.tasks.entry(task.id.clone()).or_insert(Seen { created: at, ..Seen::default() });
        if status.state() >= TaskState::Assigned {
            seen.assigned.get_or_insert(at);
        }
        if status.state() == TaskState::Running && seen.running.is_none() {
            seen.running = Some(at);
            self.running += 1;
        }
        if status.state() != TaskState::Running && !status.err.is_empty() {
            self.reason = Some(status.err);
        }
    }

    /// How many have run.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// What a task that does not run has said last.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// All that have run.
    pub(super) fn seen(&self) -> impl Iterator<Item = &Seen> {
        self.tasks.values().filter(|seen| seen.running.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: &str, service: &str, state: TaskState, err: &str) -> wire::Task {
        let status = wire::TaskStatus { state: state.into(), err: err.to_owned(), ..Default::default() };
        wire::Task { id: id.to_owned(), service_id: service.to_owned(), status: Some(status), ..Default::default() }
    }

    #[test]
    fn a_task_is_timed_once_in_each_stage_and_others_services_are_not_looked_at() {
        let ms = Duration::from_millis;
        let mut moments = Moments::new("s".to_owned());
        moments.observe(&task("a", "other", TaskState::Running, ""), ms(1));
        moments.observe(&task("a", "s", TaskState::New, ""), ms(2));
        moments.observe(&task("a", "s", TaskState::Pending, "no suitable node"), ms(3));
        assert_eq!((moments.running(), moments.reason()), (0, Some("no suitable node")));
        moments.observe(&task("a", "s", TaskState::Starting, ""), ms(4));
        moments.observe(&task("a", "s", TaskState::Running, ""), ms(5));
        moments.observe(&task("a", "s", TaskState::Running, ""), ms(6));
        let expected = Seen { created: ms(2), assigned: Some(ms(4)), running: Some(ms(5)) };
        assert_eq!((moments.running(), moments.seen().collect::<Vec<_>>()), (1, vec![&expected]));
    }
}
