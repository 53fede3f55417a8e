//! Tasks that are futures of this program: started once, dropped to stop them, their exit code kept.
//!
//! [`Jobs`] is the table of a machine and [`Job`] one controller's grip on one task. Together they keep every obligation
//! of a [`crate::Controller`] that is about the life of a task, so that an executor within a program is left with what
//! is its own: what it can run, and what running means.

use std::{collections::BTreeMap, fmt, future::Future, panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use swarmkit_api::TaskId;
use swarmkit_runtime::Spawner;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::ExecError;

/// What a task that was dropped ends with: 128 + SIGKILL, as a process.
const KILLED: i32 = 137;
/// What a task that panicked ends with, as a Rust program.
const PANICKED: i32 = 101;

/// The tasks of one machine. Clones are the same machine; it ends with the crew that its tasks run in.
#[derive(Clone)]
pub struct Jobs {
    lives: Arc<Mutex<BTreeMap<TaskId, Life>>>,
    spawner: Spawner,
}

/// One task on the machine, for one controller: until it is closed.
pub struct Job {
    jobs: Jobs,
    task: TaskId,
    life: Mutex<Option<Life>>,
}

type Life = Arc<watch::Sender<State>>;

#[derive(Default)]
enum State {
    #[default]
    Fresh,
    /// The token drops it.
    Running(CancellationToken),
    Ended(i32),
}

// === impl Jobs ===

impl Jobs {
    /// A machine without tasks, whose tasks run in the crew of `spawner`.
    #[must_use]
    pub fn new(spawner: Spawner) -> Self {
        Self { lives: Arc::default(), spawner }
    }

    /// The task as it stands on this machine, or a fresh one. For [`crate::Executor::controller`].
    #[must_use]
    pub fn job(&self, task: &TaskId) -> Job {
        let life = self.lives.lock().get(task).cloned().unwrap_or_default();
        Job { jobs: self.clone(), task: task.clone(), life: Mutex::new(Some(life)) }
    }

    /// Stops and forgets what is not in `known`. For [`crate::Executor::reconcile`].
    pub fn retain(&self, known: &[TaskId]) {
        self.lives.lock().extract_if(.., |task, _| !known.contains(task)).for_each(|(_, life)| kill(&life));
    }

    /// How many tasks the machine has, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lives.lock().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lives.lock().is_empty()
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jobs").field("tasks", &self.len()).finish_non_exhaustive()
    }
}

// === impl Job ===

impl Job {
    /// Gives the task its place on the machine. For [`crate::Controller::prepare`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Closed`], as of all methods.
    pub fn prepare(&self) -> Result<(), ExecError> {
        let life = self.life()?;
        self.jobs.lives.lock().insert(self.task.clone(), life);
        Ok(())
    }

    /// Runs the task, which gives its exit code; one that panics ends with 101. `run` is not called if it was called
    /// before, whatever became of that. For [`crate::Controller::start`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Closed`].
    pub fn start<Run>(&self, run: impl FnOnce() -> Run + Send + 'static) -> Result<(), ExecError>
    where
        Run: Future<Output = i32> + Send + 'static,
    {
        let (life, kill) = (self.life()?, self.jobs.spawner.stop().child_token());
        let first = life.send_if_modified(|state| {
            let first = matches!(state, State::Fresh);
            if first {
                *state = State::Running(kill.clone());
            }
            first
        });
        if first {
            let run = AssertUnwindSafe(async move { run().await }).catch_unwind();
            drop(self.jobs.spawner.spawn("job", async move {
                let ended = kill.run_until_cancelled(run).await;
                life.send_replace(State::Ended(ended.map_or(KILLED, |ended| ended.unwrap_or(PANICKED))));
            }));
        }
        Ok(())
    }

    /// Waits for the end. For [`crate::Controller::wait`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Exited`] with any code but 0, [`ExecError::Failed`] for a task that was never started, and
    /// [`ExecError::Closed`].
    pub async fn wait(&self) -> Result<(), ExecError> {
        match ended(&self.life()?).await {
            Some(0) => Ok(()),
            Some(code) => Err(ExecError::exited(code)),
            None => Err(ExecError::failed("the task does not run")),
        }
    }

    /// Drops the running task, and returns when that is done; it ends with 137. For [`crate::Controller::terminate`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Closed`].
    pub async fn terminate(&self) -> Result<(), ExecError> {
        let life = self.life()?;
        kill(&life);
        ended(&life).await;
        Ok(())
    }

    /// Stops the task, and takes it off the machine. For [`crate::Controller::remove`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Closed`].
    pub async fn remove(&self) -> Result<(), ExecError> {
        self.terminate().await?;
        self.jobs.lives.lock().remove(&self.task);
        Ok(())
    }

    /// Lets go of the task, which goes on. For [`crate::Controller::close`].
    ///
    /// # Errors
    ///
    /// [`ExecError::Closed`], the second time.
    pub fn close(&self) -> Result<(), ExecError> {
        self.life.lock().take().map(drop).ok_or(ExecError::Closed)
    }

    fn life(&self) -> Result<Life, ExecError> {
        self.life.lock().clone().ok_or(ExecError::Closed)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("task", &self.task).finish_non_exhaustive()
    }
}

fn kill(life: &Life) {
    if let State::Running(kill) = &*life.borrow() {
        kill.cancel();
    }
}

/// Waits until it runs no more, and gives its exit code. `None` if it never ran.
async fn ended(life: &Life) -> Option<i32> {
    match *life.subscribe().wait_for(|state| !matches!(state, State::Running(_))).await.ok()? {
        State::Ended(code) => Some(code),
        State::Fresh | State::Running(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use swarmkit_runtime::Crew;

    use super::*;

    fn machine() -> (Crew, Jobs) {
        let crew = Crew::under(&CancellationToken::new());
        let jobs = Jobs::new(crew.spawner());
        (crew, jobs)
    }

    #[tokio::test]
    async fn a_job_is_started_once_in_its_life() {
        let (_crew, jobs) = machine();
        let job = jobs.job(&TaskId::from("t1"));
        job.prepare().unwrap();
        job.start(|| ready(4)).unwrap();
        job.start(|| ready(5)).unwrap();
        assert_eq!(job.wait().await.unwrap_err().exit_code(), Some(4));
        let next = jobs.job(&TaskId::from("t1"));
        next.start(|| ready(6)).unwrap();
        assert_eq!(next.wait().await.unwrap_err().exit_code(), Some(4), "also by the next controller");
    }

    #[tokio::test]
    async fn a_job_that_panics_has_failed() {
        let (_crew, jobs) = machine();
        let job = jobs.job(&TaskId::from("t1"));
        job.start(|| async { panic!("as the test wants") }).unwrap();
        assert_eq!(job.wait().await.unwrap_err().exit_code(), Some(PANICKED));
    }

    #[tokio::test]
    async fn a_job_ends_with_its_crew() {
        let (crew, jobs) = machine();
        let job = jobs.job(&TaskId::from("t1"));
        job.start(pending).unwrap();
        crew.stop().cancel();
        crew.finish().await.unwrap();
        assert_eq!(job.wait().await.unwrap_err().exit_code(), Some(KILLED));
    }

    #[tokio::test]
    async fn what_nobody_knows_any_more_is_dropped_and_forgotten() {
        let (_crew, jobs) = machine();
        let [kept, forgotten] = ["t1", "t2"].map(|id| jobs.job(&TaskId::from(id)));
        for job in [&kept, &forgotten] {
            job.prepare().unwrap();
            job.start(pending).unwrap();
        }
        jobs.retain(&[TaskId::from("t1")]);
        assert_eq!(forgotten.wait().await.unwrap_err().exit_code(), Some(KILLED));
        assert_eq!(jobs.len(), 1);
        kept.remove().await.unwrap();
        assert!(jobs.is_empty(), "a removed job is not on the machine");
        kept.close().unwrap();
        assert!(matches!(kept.prepare(), Err(ExecError::Closed)));
    }
}
