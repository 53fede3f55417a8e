//! What the checks are written with.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{
    Task, TaskId,
    wire::{ContainerStatus, TaskSpec},
};
use swarmkit_runtime::Env;

use super::Act;
use crate::{Assignment, Controller, ExecError, Executor};

/// How long any one operation may take before the check fails. Generous, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// The executor to be judged, and how to make tasks for it.
pub(super) struct Bench<O, S> {
    open: O,
    spec: S,
    env: Env,
}

impl<E: Executor, O: AsyncFn() -> E, S: Fn(Act) -> TaskSpec> Bench<O, S> {
    pub(super) fn new(open: O, spec: S) -> Self {
        Self { open, spec, env: Env::real() }
    }

    /// Opens the executor, as a program does when it starts.
    pub(super) async fn open(&self) -> E {
        within("opening the executor", (self.open)()).await
    }

    /// A task with a fresh id.
    pub(super) fn task(&self, act: Act) -> Arc<Task> {
        Arc::new(Task::new(TaskId::from(self.env.new_id()), (self.spec)(act)))
    }

    /// A controller for a new task.
    pub(super) async fn controller(&self, executor: &E, act: Act) -> Trial<E::Controller> {
        self.adopt(executor, &self.task(act)).await
    }

    /// A controller for a given task.
    pub(super) async fn adopt(&self, executor: &E, task: &Arc<Task>) -> Trial<E::Controller> {
        let made = within("controller", executor.controller(Assignment::new(Arc::clone(task)))).await;
        Trial { controller: made.expect("a controller can be made"), task: Arc::clone(task) }
    }

    /// A task that was prepared and started.
    pub(super) async fn started(&self, executor: &E, act: Act) -> Trial<E::Controller> {
        let trial = self.controller(executor, act).await;
        trial.prepare().await;
        trial.start().await;
        trial
    }
}

/// A controller whose calls are bounded and, unless said otherwise, must succeed.
pub(super) struct Trial<C> {
    pub(super) controller: C,
    pub(super) task: Arc<Task>,
}

impl<C: Controller> Trial<C> {
    /// Tells it what it knows already.
    pub(super) async fn update(&self, when: &str) {
        let updated = within("update", self.controller.update(Arc::clone(&self.task))).await;
        assert!(updated.is_ok(), "the same definition is accepted {when}: {updated:?}");
    }

    pub(super) async fn prepare(&self) {
        within("prepare", self.controller.prepare()).await.expect("prepare succeeds");
    }

    pub(super) async fn start(&self) {
        within("start", self.controller.start()).await.expect("start succeeds");
    }

    pub(super) async fn wait(&self) -> Result<(), ExecError> {
        within("wait", self.controller.wait()).await
    }

    pub(super) async fn shutdown(&self) {
        within("shutdown", self.controller.shutdown()).await.expect("shutdown succeeds");
    }

    pub(super) async fn terminate(&self) {
        within("terminate", self.controller.terminate()).await.expect("terminate succeeds");
    }

    pub(super) async fn remove(&self) {
        within("remove", self.controller.remove()).await.expect("remove succeeds");
    }

    /// The end of a check: nothing is left behind.
    pub(super) async fn finish(self) {
        self.remove().await;
        within("close", self.controller.close()).await.expect("close succeeds");
    }

    /// Fails the check if the task has ended.
    pub(super) async fn expect_running(&self, why: &str) {
        // The end of a task is known to the machine before anyone asks, so one look is enough to see it.
        let ended = tokio::time::timeout(Duration::from_millis(1), self.controller.wait()).await;
        assert!(ended.is_err(), "{why}: the task runs, but wait said {ended:?}");
    }

    /// What the executor knows of what runs below.
    pub(super) async fn container(&self) -> Option<ContainerStatus> {
        within("status", self.controller.status()).await.expect("status succeeds").container
    }

    /// The process id, where the executor has such a thing.
    pub(super) async fn pid(&self) -> Option<i32> {
        self.container().await.map(|container| container.pid).filter(|pid| *pid > 0)
    }
}

/// Waits for what must happen.
pub(super) async fn within<T>(what: &str, doing: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, doing).await {
        Ok(done) => done,
        Err(_) => panic!("{what} did not return within {PATIENCE:?}"),
    }
}

/// Lets a future run for so many polls, and drops it.
pub(super) async fn drop_after<T>(polls: usize, doing: impl Future<Output = T>) {
    let mut doing = std::pin::pin!(doing);
    for _ in 0..polls {
        if futures_util::poll!(&mut doing).is_ready() {
            return;
        }
        // What it waits for may happen meanwhile, so that the next poll gets further.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
