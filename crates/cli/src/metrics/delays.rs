//! How long tasks take from when they are given to a node until they run there.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use swarmkit_api::{Task, TaskId, TaskState};
use swarmkit_store::State;

/// Since when tasks have a node, as far as they do not run yet. Times are those that the leader wrote, so this has no clock.
#[derive(Debug, Default)]
pub(super) struct Delays(BTreeMap<TaskId, SystemTime>);

impl Delays {
    /// Starts over. Of tasks that their node has taken up already it is not known any more since when they have it.
    pub(super) fn restart(&mut self, state: &State) {
        self.0.clear();
        for task in state.all::<Task>().filter(|task| task.status.state == TaskState::Assigned) {
            self.begin(task);
        }
    }

    /// Takes a change of a task. If it runs from now on, gives how long that took.
    pub(super) fn absorb(&mut self, before: Option<&Task>, after: Option<&Task>) -> Option<Duration> {
        let state = |task: Option<&Task>| task.map_or(TaskState::New, |task| task.status.state);
        let (was, is) = (state(before), state(after));
        match (before, after) {
            (Some(task), None) => {
                self.0.remove(&task.id);
                None
            }
            (_, Some(task)) if is == TaskState::Assigned => {
                if was < TaskState::Assigned {
                    self.begin(task);
                }
                None
            }
            (_, Some(task)) if is >= TaskState::Running => {
                let since = self.0.remove(&task.id).filter(|_| is == TaskState::Running)?;
                written(task)?.duration_since(since).ok()
            }
            _ => None,
        }
    }

    fn begin(&mut self, task: &Task) {
        if let Some(at) = written(task) {
            self.0.insert(task.id.clone(), at);
        }
    }
}

fn written(task: &Task) -> Option<SystemTime> {
    task.meta.updated_at.or(task.meta.created_at).and_then(|at| SystemTime::try_from(at).ok())
}

#[cfg(test)]
mod tests {
    use swarmkit_api::wire;

    use super::*;

    fn task(state: TaskState, at: i64) -> Task {
        let mut task = Task::new(TaskId::from("t"), wire::TaskSpec::default());
        task.status.state = state;
        task.meta.updated_at = Some(prost_types::Timestamp { seconds: at, nanos: 0 });
        task
    }

    /// What is said of a task that goes through these states, one a second.
    fn delays(states: &[TaskState]) -> Vec<u64> {
        let (mut delays, mut before, mut told) = (Delays::default(), None, Vec::new());
        for (second, state) in (0..).zip(states) {
            let after = task(*state, second);
            told.extend(delays.absorb(before.as_ref(), Some(&after)));
            before = Some(after);
        }
        delays.absorb(before.as_ref(), None);
        assert!(delays.0.is_empty(), "nothing is remembered of a task that is gone");
        told.iter().map(Duration::as_secs).collect()
    }

    #[test]
    fn the_delay_is_from_the_assignment_to_the_first_time_that_the_task_runs() {
        use TaskState::{Assigned, Failed, New, Pending, Preparing, Running};
        assert_eq!(delays(&[New, Pending, Assigned, Assigned, Preparing, Running, Running]), [3]);
        assert_eq!(delays(&[Assigned, Running]), [1], "a task may be made so");
        assert_eq!(delays(&[New, Assigned, Failed]), [0; 0], "it never ran");
        assert_eq!(delays(&[Preparing, Running]), [0; 0], "nobody knows since when it has its node");
    }
}
