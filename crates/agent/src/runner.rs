//! Brings one task forward, step by step, from its assignment to its removal.

use std::{sync::Arc, time::Duration};

use swarmkit_api::{Task, TaskId, TaskState, TaskStatus};
use swarmkit_executor::{DynController, DynExecutor, ExecError, RuntimeStatus};
use swarmkit_runtime::{Backoff, Env};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    controller::ControllerCell,
    payloads::Payloads,
    progress::Telling,
    records::Records,
    reports::Reports,
    roster::Roster,
    step::{self, Operation, Reached, Step, Verdict},
};

/// The first pause before an operation that failed for now is tried again.
const RETRY_FIRST: Duration = Duration::from_millis(250);
/// The longest such pause.
const RETRY_CAP: Duration = Duration::from_secs(30);

/// What all runners of an agent share.
#[derive(Clone)]
pub(crate) struct Tools {
    pub(crate) env: Env,
    pub(crate) executor: Arc<dyn DynExecutor>,
    pub(crate) payloads: Payloads,
    pub(crate) records: Records,
    pub(crate) reports: Reports,
    pub(crate) roster: Roster,
}

/// What is wanted of a task.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// It shall be as this says.
    Task(Arc<Task>),
    /// Nothing of it shall be left on this machine.
    Gone {
        /// How long it may take to stop. `None` for as long as its specification allows.
        within: Option<Duration>,
    },
}

/// Drives one task. There is never more than one runner for a task, so never more than one operation on its controller.
pub(crate) struct Runner {
    id: TaskId,
    tools: Tools,
    wanted: watch::Receiver<Wanted>,
    controller: ControllerCell,
    task: Arc<Task>,
    /// The controller has not yet been told of `task`.
    stale: bool,
    status: TaskStatus,
    retry: Backoff,
}

impl Runner {
    /// A runner for `task`, which is at `task.status`.
    pub(crate) fn new(
        tools: Tools,
        controller: ControllerCell,
        task: Arc<Task>,
        wanted: watch::Receiver<Wanted>,
    ) -> Self {
        let retry = Backoff::new(RETRY_FIRST, RETRY_CAP, tools.env.rng(&format!("agent/task/{}", task.id)));
        Self { id: task.id.clone(), tools, wanted, controller, status: task.status.clone(), task, stale: false, retry }
    }

    /// Runs until nothing is left of the task, and says so; or until the agent ends, which leaves the task as it is.
    pub(crate) async fn run(&mut self, stop: CancellationToken) -> Option<TaskId> {
        let gone = tokio::select! { biased; // an agent that ends begins nothing more
            () = stop.cancelled() => None,
            () = async {
                self.live().await;
                self.remove().await;
                self.tools.payloads.volumes.observe(&self.task, TaskState::Remove);
            } => Some(self.id.clone()),
        };
        self.controller.close().await;
        gone
    }

    /// Brings the task forward until it is not wanted any more.
    async fn live(&mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted {
                Wanted::Gone { .. } => return,
                Wanted::Task(task) => self.adopt(task),
            }
            if self.stale {
                self.update().await;
                continue;
            }
            match Step::of(self.status.state, self.task.desired_state) {
                Step::Rest => new_wish(&mut self.wanted).await,
                Step::Advance(reached) => self.advance(reached).await,
                Step::Call(operation) => self.call(operation).await,
            }
        }
    }

    /// Takes a new definition of the task. Its status is ours to say, whatever the managers last heard.
    fn adopt(&mut self, task: Arc<Task>) {
        self.stale |= !Arc::ptr_eq(&task, &self.task);
        self.task = task;
    }

    /// Tells the controller of the task's new definition, unless there is an even newer one.
    async fn update(&mut self) {
        let end = tokio::select! { biased; // what was told is told
            end = self.controller.update(Arc::clone(&self.task)) => end,
            () = new_wish(&mut self.wanted) => return,
        };
        self.stale = false;
        if let Err(error) = end {
            tracing::warn!(task = %self.id, %error, "the executor refuses the changed task and goes on with the old one");
        }
    }

    /// Goes to a state that needs no call. Accepting a task takes a controller, which shows that it can be run at all.
    async fn advance(&mut self, reached: Reached) {
        if reached.state == TaskState::Accepted && self.controller().await.is_none() {
            return;
        }
        self.settle(step::reached(&self.status, reached));
    }

    /// Makes one call, or has it cut short by a new wish.
    async fn call(&mut self, operation: Operation) {
        let Some(controller) = self.controller().await else { return };
        let end = {
            let wanted = &mut self.wanted;
            let task = &self.task;
            let state = self.status.state;
            let telling = Telling { id: &self.id, tools: &self.tools, status: &self.status };
            tokio::select! { biased; // an operation that has ended is not forgotten for a new wish
                end = operate(controller.as_ref(), operation) => end,
                () = contradicted(wanted, task, state, operation) => return,
                // Last, since it is only talk.
                never = telling.tell(controller.as_ref(), operation) => match never {},
            }
        };
        let known = if matches!(&end, Err(error) if error.is_temporary()) {
            RuntimeStatus::default()
        } else {
            self.known(controller.as_ref()).await
        };
        match operation.conclude(&self.status, end, known) {
            Verdict::Settled(status) => {
                self.retry.reset();
                self.settle(status);
            }
            Verdict::Retry(status) => {
                tracing::info!(task = %self.id, ?operation, error = status.err, "trying again later");
                // If that is nothing new, what was told meanwhile is over all the same.
                self.tools.reports.put(&self.id, &self.status);
                self.settle(status);
                self.pause().await;
            }
        }
    }

    /// The controller. When there can be none, the task's status says so; a new wish is looked at first.
    async fn controller(&mut self) -> Option<Arc<dyn DynController>> {
        let made = tokio::select! { biased; // what was made is used
            made = self.controller.get() => made,
            () = new_wish(&mut self.wanted) => return None,
        };
        match made {
            Ok(controller) => Some(controller),
            Err(error) if error.is_temporary() => {
                self.settle(TaskStatus { err: error.to_string(), ..self.status.clone() });
                self.pause().await;
                None
            }
            Err(error) => {
                self.settle(step::unresolved(&self.status, &error));
                None
            }
        }
    }

    /// What the executor knows of the task. If it does not say so before there is a new wish, nothing.
    async fn known(&mut self, controller: &dyn DynController) -> RuntimeStatus {
        let mut wanted = self.wanted.clone();
        let known = tokio::select! { biased; // as above
            known = controller.status() => known,
            () = new_wish(&mut wanted) => return RuntimeStatus::default(),
        };
        match known {
            Ok(known) => known,
            Err(ExecError::Unsupported(_)) => RuntimeStatus::default(),
            Err(error) => {
                tracing::warn!(task = %self.id, %error, "the executor cannot tell the task's status");
                RuntimeStatus::default()
            }
        }
    }

    /// Waits before the next attempt, unless something else is wanted meanwhile.
    async fn pause(&mut self) {
        let delay = self.retry.next_delay();
        tokio::select! { biased; // a new wish needs no pause
            () = new_wish(&mut self.wanted) => {}
            () = self.tools.env.sleep(delay) => {}
        }
    }

    /// The task has this status from now on.
    fn settle(&mut self, status: TaskStatus) {
        let status = step::stamped(&self.status, status, self.tools.env.now());
        if status == self.status {
            return;
        }
        debug_assert!(status.state >= self.status.state, "a state never goes back");
        tracing::debug!(task = %self.id, state = ?status.state, message = status.message, err = status.err, "task");
        self.tools.records.put_status(&self.id, &status);
        self.tools.reports.put(&self.id, &status);
        self.tools.payloads.volumes.observe(&self.task, status.state);
        self.status = status;
    }

    /// Stops what runs and frees everything. Not done until it is done, however often it takes.
    async fn remove(&mut self) {
        loop {
            let within = match &*self.wanted.borrow_and_update() {
                Wanted::Gone { within } => *within,
                Wanted::Task(_) => None,
            };
            let mut wanted = self.wanted.clone();
            let end = tokio::select! { biased; // what is done need not be hurried
                end = self.try_remove(within) => end,
                () = new_wish(&mut wanted) => continue,
            };
            match end {
                Ok(()) => return,
                // What no controller can be made for has nothing on this machine.
                Err(ExecError::Rejected(_) | ExecError::Unsupported(_) | ExecError::Closed) => return,
                Err(error) => {
                    tracing::warn!(task = %self.id, %error, "cannot remove what the task has left; trying again");
                    self.pause().await;
                }
            }
        }
    }

    async fn try_remove(&self, within: Option<Duration>) -> Result<(), ExecError> {
        let controller = self.controller.get().await?;
        if (TaskState::Starting..=TaskState::Running).contains(&self.status.state) {
            self.stop_it(controller.as_ref(), within).await?;
        }
        controller.remove().await
    }

    /// Stops a task that may run: politely, and by force when its time is over.
    async fn stop_it(&self, controller: &dyn DynController, within: Option<Duration>) -> Result<(), ExecError> {
        let Some(within) = within else { return controller.shutdown().await };
        match tokio::time::timeout(within, controller.shutdown()).await {
            Ok(end) => end,
            Err(_) => controller.terminate().await,
        }
    }
}

/// Waits for a wish that was not seen yet. When nobody is left to wish anything, the agent is about to end.
async fn new_wish(wanted: &mut watch::Receiver<Wanted>) {
    if wanted.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn operate(controller: &dyn DynController, operation: Operation) -> Result<(), ExecError> {
    match operation {
        Operation::Prepare => controller.prepare().await,
        Operation::Start => controller.start().await,
        Operation::Wait => controller.wait().await,
        Operation::Shutdown => controller.shutdown().await,
    }
}

/// Waits for a wish that the running operation does not serve: another definition, another operation, or removal.
///
/// A change of nothing but the desired state that leads to the same operation lets it go on, so that a shutdown is not
/// begun again when the task shall also be removed.
async fn contradicted(wanted: &mut watch::Receiver<Wanted>, task: &Arc<Task>, state: TaskState, operation: Operation) {
    loop {
        new_wish(wanted).await;
        let serves = match &*wanted.borrow() {
            Wanted::Gone { .. } => false,
            Wanted::Task(newer) => {
                let same = Task { desired_state: task.desired_state, ..newer.as_ref().clone() };
                same_definition(&same, task) && Step::of(state, newer.desired_state) == Step::Call(operation)
            }
        };
        if !serves {
            return;
        }
    }
}

/// Whether two definitions of a task ask for the same, whatever is reported of it and whenever they were written.
pub(crate) fn same_definition(a: &Task, b: &Task) -> bool {
    let bare = |task: &Task| Task { meta: b.meta, status: TaskStatus::default(), ..task.clone() };
    bare(a) == bare(b)
}

#[cfg(test)]
mod progress_tests;
#[cfg(test)]
mod tests;
