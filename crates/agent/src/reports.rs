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

    /// At most `limit` statuses that have to be told, as soon as there are any. Whoever takes them tells them, or says
    /// [`Reports::put_back`]; [`Reports::repeat_all`] covers one that was dropped meanwhile.
    pub(crate) async fn take(&self, limit: usize) -> Vec<(TaskId, TaskStatus)> {
        loop {
            {
                let mut state = self.0.state.lock();
                let State { latest, untold } = &mut *state;
                let mut batch = Vec::with_capacity(untold.len().min(limit));
                while batch.len() < limit
                    && let Some(task) = untold.pop_first()
                {
                    if let Some(status) = latest.get(&task) {
                        batch.push((task, status.clone()));
                    }
                }
                if !batch.is_empty() {
                    return batch;
                }
            }
            self.0.news.notified().await;
        }
    }

    /// These could not be told.
    pub(crate) fn put_back(&self, tasks: impl IntoIterator<Item = TaskId>) {
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use swarmkit_api::TaskState;

    use super::*;

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { state, ..TaskStatus::default() }
    }

    fn taken(reports: &Reports) -> Vec<(String, TaskState)> {
        let batch = reports.take(10).now_or_never().unwrap_or_default();
        batch.into_iter().map(|(task, status)| (task.to_string(), status.state)).collect()
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
        assert_eq!(taken(&reports).len(), 1);
        reports.put(&"a".into(), &status(TaskState::Running));
        reports.put_back(["a".into()]);
        assert_eq!(taken(&reports), [("a".to_owned(), TaskState::Running)]);
    }

    #[test]
    fn a_task_that_is_gone_is_not_told_any_more() {
        let reports = Reports::default();
        reports.put(&"a".into(), &status(TaskState::Running));
        assert_eq!(taken(&reports).len(), 1);
        reports.forget(&"a".into());
        reports.put_back(["a".into()]);
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
        assert_eq!(batch.len(), 1);
    }
}
