//! The task database as the rest of the agent uses it: changes are queued, and written many at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use swarmkit_api::{TaskId, TaskStatus};
use swarmkit_runtime::{PartError, Spawner};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::database::{Change, Database, Fate, Record};

/// How long after a write the disk is told to keep it, and how long a failed write waits for the next attempt.
const SETTLE: Duration = Duration::from_secs(1);

/// A queue of changes in front of the task database. Clones share it.
///
/// It holds one entry a task, so it is no longer than the node has tasks.
#[derive(Clone)]
pub(crate) struct Records(Arc<Shared>);

struct Shared {
    database: Arc<Database>,
    queue: Mutex<Queue>,
    filled: Notify,
    /// Held while writing: one write at a time, and what is queued meanwhile goes with the next.
    writer: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Queue {
    /// What is to be written.
    waiting: BTreeMap<TaskId, Change>,
    /// All that is or shall be written, for when the database has lost it.
    all: BTreeMap<TaskId, Change>,
}

impl Queue {
    fn put(&mut self, task: &TaskId, change: Change) {
        if change.fate == Some(Fate::Deleted) {
            self.all.remove(task);
        } else {
            self.all.entry(task.clone()).or_default().absorb(change.clone());
        }
        self.waiting.entry(task.clone()).or_default().absorb(change);
    }

    /// Changes that could not be written go below what was queued since.
    fn put_back(&mut self, changes: &BTreeMap<TaskId, Change>) {
        for (task, change) in changes {
            let mut merged = change.clone();
            if let Some(later) = self.waiting.remove(task) {
                merged.absorb(later);
            }
            self.waiting.insert(task.clone(), merged);
        }
    }

    /// Everything is to be written again.
    fn repeat_all(&mut self) {
        self.waiting.extend(self.all.iter().map(|(task, change)| (task.clone(), change.clone())));
    }
}

impl Records {
    pub(crate) fn new(database: Database) -> Self {
        Self(Arc::new(Shared {
            database: Arc::new(database),
            queue: Mutex::default(),
            filled: Notify::new(),
            writer: tokio::sync::Mutex::default(),
        }))
    }

    /// Everything that an earlier agent has left behind.
    pub(crate) async fn load(&self) -> Result<Vec<Record>, PartError> {
        let database = Arc::clone(&self.0.database);
        let records = self.on_database(move || database.load()).await??;
        let mut queue = self.0.queue.lock();
        for record in &records {
            let fate = Some(if record.assigned { Fate::Assigned } else { Fate::Released });
            let (task, status) = (Some(Arc::clone(&record.task)), Some(record.task.status.clone()));
            let mut known = Change { task, status, fate };
            known.absorb(queue.all.remove(&record.task.id).unwrap_or_default());
            queue.all.insert(record.task.id.clone(), known);
        }
        Ok(records)
    }

    /// Queues a change. It is written soon.
    pub(crate) fn put(&self, task: &TaskId, change: Change) {
        self.0.queue.lock().put(task, change);
        self.0.filled.notify_one();
    }

    /// Queues a status. If a kill comes before it is written, the task is found at an earlier state and goes through
    /// what follows again, which every controller allows.
    pub(crate) fn put_status(&self, task: &TaskId, status: &TaskStatus) {
        self.put(task, Change { status: Some(status.clone()), ..Change::default() });
    }

    /// Queues what becomes of a task.
    pub(crate) fn put_fate(&self, task: &TaskId, fate: Fate) {
        self.put(task, Change { fate: Some(fate), ..Change::default() });
    }

    /// Writes everything that was queued before the call, together with what others queued meanwhile.
    ///
    /// # Errors
    ///
    /// When it cannot be written; it stays queued.
    pub(crate) async fn commit(&self) -> Result<(), PartError> {
        let _writing = self.0.writer.lock().await;
        let reopenings = self.0.database.reopenings();
        self.write_waiting().await?;
        if self.0.database.reopenings() != reopenings {
            self.0.queue.lock().repeat_all();
            self.write_waiting().await?;
        }
        Ok(())
    }

    async fn write_waiting(&self) -> Result<(), PartError> {
        let changes = Arc::new(std::mem::take(&mut self.0.queue.lock().waiting));
        if changes.is_empty() {
            return Ok(());
        }
        let (database, written) = (Arc::clone(&self.0.database), Arc::clone(&changes));
        let result = self.on_database(move || database.write(&written)).await;
        if let Err(error) = result.and_then(|written| written) {
            self.0.queue.lock().put_back(&changes);
            return Err(error);
        }
        Ok(())
    }

    /// Writes what is queued, and tells the disk a moment later. Runs until stopped.
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), PartError> {
        let mut unsynced = false;
        loop {
            tokio::select! { biased; // what is queued comes before the disk, so that a busy agent syncs rarely
                () = stop.cancelled() => break,
                () = self.0.filled.notified() => {
                    match self.commit().await {
                        Ok(()) => unsynced = true,
                        Err(error) => {
                            tracing::error!(error, "cannot write the task database; trying again");
                            tokio::time::sleep(SETTLE).await;
                            self.0.filled.notify_one();
                        }
                    }
                }
                () = tokio::time::sleep(SETTLE), if unsynced => {
                    self.sync().await;
                    unsynced = false;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left and waits for the disk. The last call, when nobody queues any more.
    pub(crate) async fn finish(&self) {
        if let Err(error) = self.commit().await {
            tracing::error!(error, "the last changes of the task database are lost");
        }
        self.sync().await;
    }

    async fn sync(&self) {
        let database = Arc::clone(&self.0.database);
        match self.on_database(move || database.sync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot sync the task database"),
            Err(error) => tracing::warn!(error, "cannot sync the task database"),
        }
    }

    /// Leaves the asynchronous threads only for a file.
    async fn on_database<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PartError> {
        if self.0.database.is_in_memory() { Ok(work()) } else { Ok(Spawner::blocking(work).await?) }
    }
}

#[cfg(test)]
mod tests {
    use swarmkit_api::{Task, TaskState, wire};

    use super::*;

    fn records() -> Records {
        Records::new(Database::in_memory().unwrap())
    }

    fn assigned(id: &str) -> Change {
        let task = Arc::new(Task::new(TaskId::from(id), wire::TaskSpec::default()));
        Change { task: Some(task), fate: Some(Fate::Assigned), ..Change::default() }
    }

    #[tokio::test]
    async fn changes_of_a_task_are_written_as_one() {
        let records = records();
        let id = TaskId::from("a");
        records.put(&id, assigned("a"));
        for state in [TaskState::Accepted, TaskState::Running] {
            records.put_status(&id, &TaskStatus { state, ..TaskStatus::default() });
        }
        records.commit().await.unwrap();
        assert_eq!(records.load().await.unwrap()[0].task.status.state, TaskState::Running);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_is_written_without_being_asked() {
        let records = records();
        let stop = CancellationToken::new();
        let (run, ()) = tokio::join!(records.clone().run(stop.clone()), async {
            records.put(&TaskId::from("a"), assigned("a"));
            while records.load().await.unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        });
        run.unwrap();
    }

    #[tokio::test]
    async fn what_could_not_be_written_does_not_cover_what_came_later() {
        let records = records();
        let id = TaskId::from("a");
        records.put(
            &id,
            Change {
                status: Some(TaskStatus { state: TaskState::Running, ..Default::default() }),
                ..Change::default()
            },
        );
        let earlier = Change { status: Some(TaskStatus::default()), ..assigned("a") };
        records.0.queue.lock().put_back(&BTreeMap::from([(id.clone(), earlier)]));
        records.commit().await.unwrap();
        let [record] = &records.load().await.unwrap()[..] else { panic!("one task") };
        assert!(record.assigned);
        assert_eq!(record.task.status.state, TaskState::Running);
    }
}
