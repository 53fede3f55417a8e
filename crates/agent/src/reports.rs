//! What managers have to be told about tasks: the latest status of each, until it was accepted.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use swarmkit_api::{TaskId, TaskStatus};
use tokio::sync::Notify;

/// The status of every task of this node, and which of them managers do not know yet. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Reports(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    news: Notify,
}

#[derive(Default)]
struct State {
    latest: BTreeMap<TaskId, TaskStatus>,
    untold: BTreeSet<TaskId>,
}

impl Reports {
    /// A task has a new status. One that says nothing new, or that would go back, is ignored.
    pub(crate) fn put(&self, task: &TaskId, status: &TaskStatus) {
        let mut state = self.0.state.lock();
        if state.latest.get(task).is_some_and(|latest| latest == status || latest.state > status.state) {
            return;
        }
        state.latest.insert(task.clone(), status.clone());
        state.untold.insert(task.clone());
        drop(state);
        self.0.news.notify_one();
    }

    /// The node has a task whose status managers know already: they sent it.
    pub(crate) fn note(&self, task: &TaskId, status: &TaskStatus) {
        self.0.state.lock().latest.insert(task.clone(), status.clone());
    }

    /// The node has the task no more.
    pub(crate) fn forget(&self, task: &TaskId) {
        let mut state = self.0.state.lock();
        state.latest.remove(task);
        state.untold.remove(task);
    }

    /// Everything is to be told again: there is a new session, and nobody knows what the last one got through.
    pub(crate) fn repeat_all(&self) {
        let mut state = self.0.state.lock();
        state.untold = state.latest.keys().cloned().collect();
        drop(state);
        self.0.news.notify_one();
    }

    /// At most `limit` statuses that have to be told, as soon as there are any.
    pub(crate) async fn take(&self, limit: usize) -> Batch {
        loop {
            if let Some(batch) = self.take_now(limit) {
                return batch;
            }
            self.0.news.notified().await;
        }
    }

    /// The same, if there are any at this moment.
    pub(crate) fn take_now(&self, limit: usize) -> Option<Batch> {
        let mut state = self.0.state.lock();
        let State { latest, untold } = &mut *state;
        let mut statuses = Vec::with_capacity(untold.len().min(limit));
        while statuses.len() < limit
            && let Some(task) = untold.pop_first()
        {
            if let Some(status) = latest.get(&task) {
                statuses.push((task, status.clone()));
            }
        }
        (!statuses.is_empty()).then(|| Batch { of: self.clone(), statuses })
    }

    /// These could not be told: whatever is the latest of them by now is to be told later.
    fn put_back(&self, tasks: impl IntoIterator<Item = TaskId>) {
        let mut state = self.0.state.lock();
        for task in tasks {
            if state.latest.contains_key(&task) {
                state.untold.insert(task);
            }
        }
        drop(state);
        self.0.news.notify_one();
    }
}

/// Statuses that are being told. One that is dropped before it was [told](Self::told), because a call failed or was given
/// up, counts as not told.
pub(crate) struct Batch {
    of: Reports,
    statuses: Vec<(TaskId, TaskStatus)>,
}

impl Batch {
    /// What to tell. Never empty.
    pub(crate) fn statuses(&self) -> &[(TaskId, TaskStatus)] {
        &self.statuses
    }

    /// A manager has taken them all.
    pub(crate) fn told(mut self) {
        self.statuses.clear();
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if !self.statuses.is_empty() {
            self.of.put_back(self.statuses.drain(..).map(|(task, _)| task));
        }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::TaskState;

    use super::*;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { state, ..TaskStatus::default() }
    }

    /// What is told now, by a manager that takes it.
    fn taken(reports: &Reports) -> Vec<(String, TaskState)> {
        let Some(batch) = reports.take_now(10) else { return Vec::new() };
        let told = batch.statuses().iter().map(|(task, status)| (task.to_string(), status.state)).collect();
        batch.told();
        told
    }

    #[test]
    fn only_the_latest_status_of_a_task_is_told_and_only_once() {
        let reports = Reports::default();
        for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Running] {
            reports.put(&"a".into(), &status(state));
        }
        assert_eq!(taken(&reports), [("a".to_owned(), TaskState::Running)]);
        reports.put(&"a".into(), &status(TaskState::Running));
        assert_eq!(taken(&reports), []);
    }

    #[test]
    fn an_older_status_does_not_replace_a_newer_one() {
        let reports = Reports::default();
        reports.put(&"a".into(), &status(TaskState::Running));
        reports.put(&"a".into(), &status(TaskState::Starting));
        assert_eq!(taken(&reports), [("a".to_owned(), TaskState::Running)]);
    }

    #[test]
    fn what_could_not_be_told_is_told_later_in_its_latest_form() {
        let reports = Reports::default();
        reports.put(&"a".into(), &status(TaskState::Starting));
        let given_up = reports.take_now(10).unwrap();
        drop(given_up);
        assert_eq!(taken(&reports), [("a".to_owned(), TaskState::Starting)]);
        reports.put(&"a".into(), &status(TaskState::Running));
        let given_up = reports.take_now(10).unwrap();
        reports.put(&"a".into(), &status(TaskState::Complete));
        drop(given_up);
        assert_eq!(taken(&reports), [("a".to_owned(), TaskState::Complete)]);
        assert_eq!(taken(&reports), []);
    }

    #[test]
    fn a_task_that_is_gone_is_not_told_any_more() {
        let reports = Reports::default();
        reports.put(&"a".into(), &status(TaskState::Running));
        let given_up = reports.take_now(10).unwrap();
        reports.forget(&"a".into());
        drop(given_up);
        reports.repeat_all();
        assert_eq!(taken(&reports), []);
    }

    #[test]
    fn a_new_session_is_told_everything_a_batch_at_a_time() {
        let reports = Reports::default();
        for n in 0..25 {
            reports.put(&format!("{n:02}").into(), &status(TaskState::Running));
        }
        while !taken(&reports).is_empty() {}
        reports.repeat_all();
        assert_eq!([taken(&reports).len(), taken(&reports).len(), taken(&reports).len()], [10, 10, 5]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_woken_by_news() {
        let reports = Reports::default();
        let (batch, ()) = tokio::join!(reports.take(10), async {
            tokio::task::yield_now().await;
            reports.put(&"a".into(), &status(TaskState::Running));
        });
        assert_eq!(batch.statuses().len(), 1);
    }
}
